"""Keep the page to this machine and to its own uploads.

What stands between a client and a file, from the outside in:

1. `Guard`, around the whole application: requests whose Host or Origin is another machine's name
   are refused (a web site that points its own name at 127.0.0.1 could else read the page), bodies
   are capped, of Gradio's API only the routes that the page uses are answered (none that serves a
   file by its path), and a JSON body that names a file outside the upload directory is refused.
2. Gradio's own check, which `gradio.mount_gradio_app` leaves off: `close_gradio_files` turns it on.
3. The handler of uploads, which asks `uploaded_files` once more before it opens anything. Alone
   that would not do: Gradio copies what is named into the upload directory before a handler runs.
"""

import hmac
import ipaddress
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.errors import InputError, UsageError

__all__ = [
    "Guard",
    "check_address",
    "close_gradio_files",
    "is_loopback",
    "login_check",
    "uploaded_files",
]

ANSWERED = frozenset(
    {
        "app_id",
        "cancel",
        "heartbeat",
        "login_check",
        "queue",
        "reset",
        "startup-events",
        "theme.css",
        "upload",
        "upload_progress",
        "user",
    }
)
"""Of `/gradio_api/…`, what the page needs. Not among them: file, proxy, stream, component_server,
monitoring, run history, and whatever a later Gradio adds."""

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
"""The kinds of body, besides JSON, that are handed on: FastAPI never reads these as JSON."""

JSON_BYTES = 2**20
"""The largest JSON body; the page's own are some hundred bytes."""

SECURITY_HEADERS: Mapping[str, str] = {
    # Gradio builds its components from inline scripts and styles; nothing comes from elsewhere.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """ASGI middleware: refuse what the page never asks for, before anything else reads it."""

    def __init__(
        self, app: ASGIApp, *, uploads: Path, upload_bytes: int, loopback_only: bool = True
    ):
        self._app = app
        self._uploads = uploads
        self._upload_bytes = upload_bytes
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with an error, or hand on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page uses no WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        refusal = self._refuse(scope, headers)
        if refusal is None and scope["method"] in {"POST", "PUT", "PATCH"}:
            refusal, receive = await self._check_body(scope, headers, receive)
        if refusal is not None:
            status, words = refusal
            await PlainTextResponse(words, status)(scope, receive, send)
            return
        await self._app(scope, receive, _with_security_headers(scope, send))

    def _refuse(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        name = _host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None or (self._loopback_only and not is_loopback(name)):
            return 421, "this server answers only for its own address"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
            return 403, "requests from other origins are refused"
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] != "GET":
            return 403, "requests from other sites are refused"
        path = str(scope["path"])
        api = path.removeprefix("/gradio_api/")
        if api != path and api.partition("/")[0] not in ANSWERED:
            return 404, "not found"
        if path.startswith("/monitoring"):
            return 404, "not found"
        return None

    async def _check_body(
        self, scope: Scope, headers: Headers, receive: Receive
    ) -> tuple[tuple[int, str] | None, Receive]:
        upload = scope["path"].rstrip("/") == "/gradio_api/upload"
        most = self._upload_bytes if upload else JSON_BYTES
        length = headers.get("content-length", "")
        if not length.isdigit():
            return (411, "a length is required"), receive
        if int(length) > most:
            return (413, "too large"), receive
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if upload or kind in FORMS or not int(length):
            return None, receive
        if kind != "application/json":  # FastAPI reads application/anything+json as JSON too
            return (415, "only JSON and forms are read"), receive
        body = b"".join([part async for part in _body(receive)])
        try:
            content = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return (400, "not JSON"), receive
        if any(not _is_upload(path, self._uploads) for path in _paths(content)):
            return (403, "only files that were uploaded here can be named"), receive
        # What was checked is what is handed on, byte for byte as we understood it.
        checked = json.dumps(content).encode()
        for number, (key, _) in enumerate(scope["headers"]):
            if key == b"content-length":
                scope["headers"][number] = (key, str(len(checked)).encode())
        return None, _replay(checked, receive)


def close_gradio_files(blocks: gr.Blocks) -> None:
    """Turn on Gradio's check of the files that a client names, which mounting leaves off.

    Blocks sets `has_launched` only in `launch()`; without it any path is read
    (gradio/processing_utils.py, `_check_allowed`).
    """
    if not hasattr(blocks, "has_launched"):
        raise RuntimeError(
            "this Gradio has no Blocks.has_launched: how its file check is turned on must be "
            f"found anew; got gradio {gr.__version__}"
        )
    blocks.has_launched = True
    blocks.allowed_paths = []


def uploaded_files(paths: Sequence[str], uploads: Path) -> list[Path]:
    """Give the paths as files of the upload directory.

    Raises:
        InputError: one of them is elsewhere, a link to elsewhere, or no file.
    """
    if not all(_is_upload(path, uploads) for path in paths):
        raise InputError("only files that were uploaded here can be used")
    return [Path(path).resolve() for path in paths]


def is_loopback(host: str) -> bool:
    """Say whether a name or address means this machine alone.

    >>> [is_loopback(h) for h in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "evil.example")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(host: str, auth: Path | None) -> None:
    """Refuse an address that others can reach, unless there is a login.

    Raises:
        UsageError: another address than loopback and no login file.
    """
    if auth is None and not is_loopback(host):
        raise UsageError(
            "without a login the page is served on this machine only (127.0.0.1); "
            f"got --host {host}; add --auth FILE with lines NAME:PASSWORD"
        )


def login_check(auth: Path) -> Callable[[str, str], bool]:
    """Read NAME:PASSWORD lines and return a check that takes the same time for any guess.

    Raises:
        UsageError: the file is missing, readable by others, or has no such line.
    """
    try:
        mode = auth.stat().st_mode
        lines = auth.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"--auth {auth} cannot be read as text") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise UsageError(f"--auth {auth} can be read by others; chmod 600 {auth}")
    logins = [tuple(line.split(":", 1)) for line in lines if line.strip() and line[0] != "#"]
    if not logins or any(len(login) != 2 or not all(login) for login in logins):
        raise UsageError(f"--auth {auth} must have lines NAME:PASSWORD")

    def allowed(name: str, password: str) -> bool:
        given = f"{name}:{password}".encode()
        # Every line is compared, so that time does not tell which name exists.
        return sum(hmac.compare_digest(given, ":".join(login).encode()) for login in logins) > 0

    return allowed


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_upload(path: str, uploads: Path) -> bool:
    try:
        real = Path(path).resolve(strict=True)
        return real.is_file() and real.is_relative_to(uploads.resolve())
    except (OSError, ValueError):
        return False


def _paths(content: Any) -> Iterator[str]:
    """List what a JSON body names as files, wherever it stands: Gradio walks values in full."""
    todo = [content]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"]
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)


async def _body(receive: Receive):
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()  # what follows is the client's going away
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_security_headers(scope: Scope, send: Send) -> Send:
    # Patients' data must not stay in a browser's cache; the page's own scripts may.
    private = not str(scope["path"]).startswith(("/assets/", "/static/", "/svelte/"))

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(SECURITY_HEADERS)
            if private:
                headers["cache-control"] = "no-store"
        await send(message)

    return sending
