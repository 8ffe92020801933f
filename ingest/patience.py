"""Try again what may succeed the next time, and wait in between as the server asks.

429, 5xx, timeouts, dropped connections and answers that break off are tried again (`may_pass` says
which statuses), with waits that double and carry a random part, so that several workers do not come
back all at once. Where the server sends Retry-After, that is the wait. Both are bounded: a fetch
that has to end says so, and goes on where it stopped when it is run again.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from ingest.origins import OutOfReachError

__all__ = ["Passing", "Patience", "Retrying", "describe", "may_pass", "retry_after_s"]

_TOO_EARLY = (408, 425, 429)
_NEVER = (501, 505)  # not implemented; not that version of HTTP
_T = TypeVar("_T")
_LONGEST_BACK_OFF_S = 60.0


class Passing(Exception):  # noqa: N818 - no error yet: another attempt may do
    """An attempt that failed in a way that may be over at the next one."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        wait_s: float | None = None,
        progress: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.wait_s = wait_s
        """What the server's Retry-After asks for."""
        self.progress = progress
        """Whether the attempt brought part of what was asked for; counting then starts anew."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Bound how often and how long a request is tried again."""

    attempts: int = 6
    """Attempts at one request."""

    first_wait_s: float = 1.0
    """Before the second attempt; it doubles each time, up to a minute."""

    longest_wait_s: float = 300.0
    """For one wait that a server asks for: over it, the fetch ends and says so."""

    timeout_s: float = 60.0
    """Without a byte from the server."""

    longest_answer_s: float = 900.0
    """From the first byte of a page or an attachment to its last."""

    longest_export_s: float = 14 * 86400.0
    """Polling for one bulk export; some hospitals' take days."""

    pause: Callable[[float], None] | None = None
    """What to wait with; None waits in earnest, and ends when the fetch is stopped."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "pause" and value <= 0:
                raise ValueError(f"{name} must be positive; got {name}={value}")


class Retrying:
    """Call what may fail in passing, from any number of threads."""

    def __init__(self, patience: Patience, server: str) -> None:
        self._patience = patience
        self._server = server
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End all waiting, in whatever thread."""
        self._stopped.set()

    def call(self, what: str, attempt: Callable[[], _T]) -> _T:
        """Call until it succeeds; `what` says in words what for, and names no patient.

        Raises:
            OutOfReachError: it failed as often as patience allows, or is to wait for too long.
        """
        failures, tries = 0, 0
        while True:
            tries += 1
            try:
                return attempt()
            except Passing as failure:
                failures = 1 if failure.progress else failures + 1
                if failures >= self._patience.attempts:
                    raise OutOfReachError(
                        f"{self._server} {failure} when asked for {what}, {tries} times; what "
                        "landed is kept, so run the same again later to go on",
                        status=failure.status,
                    ) from None
                wait_s, status = self._wait_s(failures, failure.wait_s), failure.status
            if wait_s > self._patience.longest_wait_s:
                raise OutOfReachError(
                    f"{self._server} asks to wait {wait_s:.0f} s for {what}, over the limit of "
                    f"{self._patience.longest_wait_s:.0f} s; run the same again then to go on",
                    status=status,
                )
            self.pause(wait_s)

    def pause(self, seconds: float) -> None:
        """Wait, unless the fetch is stopped meanwhile.

        Raises:
            OutOfReachError: it was stopped.
        """
        if self._patience.pause is not None:
            self._patience.pause(seconds)
        else:
            self._stopped.wait(seconds)
        if self._stopped.is_set():
            raise OutOfReachError("stopped")

    def _wait_s(self, failures: int, asked_s: float | None) -> float:
        if asked_s is not None:
            return asked_s + random.uniform(0.0, min(0.1 * asked_s, 1.0))  # noqa: S311
        longest_s = min(self._patience.first_wait_s * 2 ** (failures - 1), _LONGEST_BACK_OFF_S)
        return longest_s * random.uniform(0.5, 1.0)  # noqa: S311


def may_pass(status: int) -> bool:
    """Say whether a status may be over at the next attempt.

    Servers say 500 for passing troubles, too, and what stands before them has numbers of its own.

    >>> [may_pass(status) for status in (429, 500, 520, 404, 501)]
    [True, True, True, False, False]
    """
    return status in _TOO_EARLY or (status >= 500 and status not in _NEVER)


def describe(error: httpx.HTTPError) -> str:
    """Say what went wrong on the line; the text of httpx's errors may carry a URL."""
    if isinstance(error, httpx.TimeoutException):
        return "did not answer in time"
    if isinstance(error, httpx.ConnectError):
        return "could not be reached"
    if isinstance(error, httpx.DecodingError):
        return "sent compressed bytes that are damaged"
    return "dropped the connection"


def retry_after_s(headers: httpx.Headers) -> float | None:
    """Read Retry-After as seconds, whether it says seconds or a date.

    >>> retry_after_s(httpx.Headers({"Retry-After": "120"}))
    120.0
    >>> said = {"Retry-After": "Mon, 06 May 2024 08:00:30 GMT"}
    >>> retry_after_s(httpx.Headers({**said, "Date": "Mon, 06 May 2024 08:00:00 GMT"}))
    30.0
    """
    said = headers.get("Retry-After", "").strip()
    if said.isdecimal() and said.isascii():
        return float(said)
    try:
        until = parsedate_to_datetime(said)
        # By the server's own clock where it shows it, since ours may go differently.
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
