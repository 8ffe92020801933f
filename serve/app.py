"""The application: FastAPI with the page mounted, health and readiness, behind the guard."""

import contextlib
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import fastapi
import gradio as gr
import uvicorn
from fastapi.responses import JSONResponse

from ingest.errors import UsageError
from serve.guard import Guard, check_address, close_gradio_files, is_loopback, login_check
from serve.page import build_page
from serve.page_theme import CSS, HEAD_JS, page_theme
from serve.predictor import Predictor
from serve.ready import ReadyChild
from serve.upload import UploadLimits, child_caps

__all__ = ["build_app", "serve"]


def build_app(
    predictor: Predictor,
    uploads: Path,
    *,
    limits: UploadLimits | None = None,
    auth: Path | None = None,
    loopback_only: bool = True,
) -> fastapi.FastAPI:
    """Build the application: /health, /ready and the page at /.

    Args:
        predictor: what answers.
        uploads: an empty directory of this application's own; what is uploaded lands there.
        limits: caps on an upload.
        auth: file with lines NAME:PASSWORD; then the page asks for a login.
        loopback_only: refuse requests that name this machine otherwise than as loopback.
    """
    limits = limits or UploadLimits()
    # Gradio reads these when components are made: where uploads land, and that nothing is reported.
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    app = fastapi.FastAPI(title="Medweave", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/ready")
    def ready() -> JSONResponse:
        """Say whether predictions can be made: the run and the store are still there."""
        places = [predictor.run / "manifest.json"]
        if predictor.store is not None:
            places.append(predictor.store / "metadata" / "dataset.json")
        there = all(place.is_file() for place in places)
        return JSONResponse({"ready": there}, 200 if there else 503)

    page = build_page(predictor, uploads, limits)
    page.queue(max_size=32, default_concurrency_limit=1)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=login_check(auth) if auth else None,
        show_error=False,
        max_file_size=limits.file_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=page_theme(),
        css=CSS,
        head=HEAD_JS,
    )
    close_gradio_files(page)
    app.add_middleware(
        Guard,
        uploads=uploads,
        upload_bytes=limits.total_bytes + 2**16,  # the parts' headers come on top
        loopback_only=loopback_only,
    )
    return app


def serve(
    run: Path,
    store: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: Path | None = None,
    ready: Callable[[str], None] | None = None,
    text: str | None = None,
    image: str | None = None,
) -> None:
    """Serve the page until interrupted.

    Args:
        run: run directory.
        store: record store to pick held-out patients from; without it, uploads only.
        host: address to listen on; other than loopback only with `auth`.
        port: port to listen on.
        auth: file with lines NAME:PASSWORD.
        ready: called with the page's address once it listens; by default it is printed.
        text: where the run's text encoder is now.
        image: where its image encoder is now.

    Raises:
        UsageError: an address that others can reach without a login, a port that is taken, or an
            encoder that cannot be had.
    """
    check_address(host, auth)
    _check_port(host, port)
    # uvicorn hands SIGTERM on once it has stopped: as an exception, so that uploads are deleted.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)
    child = ReadyChild(child_caps(UploadLimits()))
    predictor = Predictor(run, store, ready=child, text=text, image=image)
    child.prepare()
    with (
        contextlib.closing(child),
        tempfile.TemporaryDirectory(prefix="medweave-page-") as uploads,
    ):
        app = build_app(
            predictor, Path(uploads).resolve(), auth=auth, loopback_only=is_loopback(host)
        )
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=3,  # an open page holds a connection for ever
        )
        shown = f"[{host}]" if ":" in host else host
        _Server(config, f"http://{shown}:{port}", ready or _announce).run()


class _Server(uvicorn.Server):
    """Tell when the page can be opened."""

    def __init__(self, config: uvicorn.Config, address: str, ready: Callable[[str], None]):
        super().__init__(config)
        self._address = address
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready(self._address)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _announce(address: str) -> None:
    # The one thing that a person who starts the server must be told.
    print(f"The page is at {address} (Ctrl+C ends it). Not for clinical use.", flush=True)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another --port"
            ) from None
