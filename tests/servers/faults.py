"""Faults that a server can be told to have: an ASGI layer that does them on the real socket."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Answer",
    "Asked",
    "Cut",
    "Drop",
    "Fault",
    "FaultyLayer",
    "Redirect",
    "Slow",
    "Status",
    "Torn",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Status:
    """Answer with a status, and perhaps when to come back."""

    code: int
    retry_after: str | None = None
    issue: str | None = None
    diagnostics: str = ""


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class Cut:
    """Promise the whole body, send a part of it, and close the connection."""

    share: float = 0.5


@dataclass(frozen=True)
class Torn:
    """Send half of the body as if that were all: well-formed HTTP, broken JSON."""


@dataclass(frozen=True)
class Slow:
    """Say nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Redirect:
    """Send to another URL."""

    url: str


@dataclass(frozen=True)
class Answer:
    """Answer with these bytes."""

    body: bytes
    encoding: str = "identity"


Fault = Answer | Status | Drop | Cut | Torn | Slow | Redirect


@dataclass(frozen=True)
class Asked:
    """What the server saw of a request."""

    label: str
    method: str
    path: str
    query: str
    headers: dict[str, str]

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization")


@dataclass
class FaultyLayer:
    """Note every request, and do to it the fault that its label and its number call for."""

    app: Callable[[Scope, Receive, Send], Awaitable[None]]
    label: Callable[[str, str], str]
    """Method and path → a word such as `search`, `everything`, `file`."""

    asked: list[Asked] = field(default_factory=list)
    plan: dict[str, dict[int, Fault]] = field(default_factory=lambda: defaultdict(dict))
    always: dict[str, Fault] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    in_flight: int = 0
    most_in_flight: int = 0
    """Requests that were under way at one time."""

    lock: Any = field(default_factory=threading.Lock)

    def misbehave(self, label: str, *numbers: int, fault: Fault) -> None:
        """Do a fault to the requests of these numbers (from 1) of a label; without any, to all."""
        if not numbers:
            self.always[label] = fault
        for number in numbers:
            self.plan[label][number] = fault

    def seen(self, *labels: str) -> list[Asked]:
        with self.lock:
            return [asked for asked in self.asked if not labels or asked.label in labels]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._answer(scope, receive, send)
        finally:
            self.in_flight -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        label = self.label(scope["method"], scope["path"])
        headers = {k.decode(): v.decode("latin-1") for k, v in scope["headers"]}
        query = scope["query_string"].decode()
        with self.lock:
            self.asked.append(Asked(label, scope["method"], scope["path"], query, headers))
            self.counts[label] += 1
            fault = self.plan[label].get(self.counts[label], self.always.get(label))
        # uvicorn's own object for this request: the way to its socket.
        transport = receive.__self__.transport  # type: ignore[attr-defined]
        match fault:
            case Drop():
                transport.abort()
            case Status():
                await _answer(send, fault)
            case Answer(body, encoding):
                packed = (b"content-encoding", encoding.encode())
                await _start(send, 200, [packed, (b"content-length", b"%d" % len(body))])
                await send({"type": "http.response.body", "body": body})
            case Redirect(url):
                await _start(send, 307, [(b"location", url.encode()), (b"content-length", b"0")])
                await send({"type": "http.response.body", "body": b""})
            case Cut() | Torn():
                await self._cut(scope, receive, send, fault, transport)
            case Slow(seconds):
                await asyncio.sleep(seconds)
                await self.app(scope, receive, send)
            case _:
                await self.app(scope, receive, send)

    async def _cut(
        self, scope: Scope, receive: Receive, send: Send, fault: Cut | Torn, transport: Any
    ) -> None:
        start: Message = {}
        body = bytearray()

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self.app(scope, receive, hold)
        kept = bytes(body[: int(len(body) * (fault.share if isinstance(fault, Cut) else 0.5))])
        promised = len(body) if isinstance(fault, Cut) else len(kept)
        headers = [(k, v) for k, v in start["headers"] if k != b"content-length"]
        await _start(send, start["status"], [*headers, (b"content-length", b"%d" % promised)])
        await send(
            {"type": "http.response.body", "body": kept, "more_body": isinstance(fault, Cut)}
        )
        if isinstance(fault, Cut):
            await asyncio.sleep(0.02)  # so that what was sent arrives before the end does
            transport.close()


async def _start(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _answer(send: Send, fault: Status) -> None:
    body = b""
    headers = [(b"content-type", b"application/fhir+json")]
    if fault.issue:
        issue = {"severity": "error", "code": fault.issue, "diagnostics": fault.diagnostics}
        body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
    if fault.retry_after is not None:
        headers.append((b"retry-after", fault.retry_after.encode()))
    await _start(send, fault.code, [*headers, (b"content-length", b"%d" % len(body))])
    await send({"type": "http.response.body", "body": body})
