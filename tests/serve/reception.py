"""The real application on a real port, before a predictor that remembers what reached it."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import httpx
import pandas as pd
import uvicorn

__all__ = ["FORM", "GRADIO_LEAVES_LOOPS", "Remembering", "ask", "blocks_of", "running"]

FORM = {"_type": "gradio.FileData"}

GRADIO_LEAVES_LOOPS = "ignore:unclosed (event loop|<socket):ResourceWarning"
"""Gradio makes an event loop for each page and never closes it (gradio/utils.py, safe_get_lock)."""


class Remembering:
    """Take uploads as a Predictor does, remember their bytes, and fail with a telling text."""

    def __init__(self, place: Path, store: Path | None = None):
        self.run = place
        self.store = store
        self.read: list[bytes] = []
        self.paths: list[Path] = []

    def patients(self, split: str = "held_out") -> pd.DataFrame:
        return pd.DataFrame({"subject_id": [], "prediction_time": []})

    def predict_upload(self, files: Sequence[Path], **asked: Any) -> None:
        self.paths += files
        self.read += [file.read_bytes() for file in files]
        raise RuntimeError("Jane Roe, born 1950-01-01, /srv/secret")


@contextlib.contextmanager
def running(app: fastapi.FastAPI) -> Iterator[httpx.Client]:
    """Serve on a free port of 127.0.0.1."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    server.should_exit = True
    thread.join(30)


def blocks_of(app: fastapi.FastAPI) -> gr.Blocks:
    """Find the page that was mounted."""
    return next(r.app.get_blocks() for r in app.routes if hasattr(getattr(r, "app", 0), "blocks"))


def ask(
    client: httpx.Client, app: fastapi.FastAPI, handler: str, data: list[Any], session: str = "s1"
) -> tuple[int, str]:
    """Call a handler as a browser does, by the queue; give the status and all that came back."""
    fns = blocks_of(app).fns
    index = next(i for i, fn in fns.items() if getattr(fn.fn, "__name__", "") == handler)
    body = {"data": data, "fn_index": index, "session_hash": session, "event_data": None}
    joined = client.post("/gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return joined.status_code, joined.text
    told = []
    with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                told.append(line)
                if json.loads(line[5:]).get("msg") in {"process_completed", "close_stream"}:
                    break
    return 200, "\n".join(told)
