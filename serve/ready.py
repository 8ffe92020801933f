"""Keep a child process ready for the next upload, so that nobody waits for its imports.

Each upload still has a child of its own, which ends with it: none has ever seen two patients. The
next one is started once the last has ended, and has by then ingested a small record of nobody and
opened the database that the upload will be projected in.
"""

import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from ingest.errors import LimitError
from ingest.limits import Caps, LimitedChild

__all__ = ["ReadyChild"]

_NOBODY = [
    {"resourceType": "Patient", "id": "nobody", "gender": "unknown", "birthDate": "1900-01-01"},
    {
        "resourceType": "Observation",
        "id": "nothing",
        "status": "final",
        "code": {"text": "nothing"},
        "subject": {"reference": "Patient/nobody"},
        "effectiveDateTime": "1900-01-01T00:00:00Z",
        "valueQuantity": {"value": 1, "code": "mg/(24.h)"},  # loads the parser of units, too
    },
]


class ReadyChild:
    """Lend a child that runs `serve.upload:ingest_upload`, warmed up beforehand if there was time.

    Safe for many threads: who finds none ready gets a new one, which starts cold.
    """

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._lock = threading.Lock()
        self._ready: LimitedChild | None = None
        self._maker: threading.Thread | None = None
        self._closed = False

    @property
    def caps(self) -> Caps:
        """What a child may take."""
        return self._caps

    def prepare(self) -> None:
        """Begin to make a child ready, in the background; once is enough."""
        with self._lock:
            busy = self._maker is not None and self._maker.is_alive()
            if self._closed or self._ready is not None or busy:
                return
            self._maker = threading.Thread(target=self._make, name="ready-child", daemon=True)
            self._maker.start()

    def wait(self, seconds: float) -> bool:
        """Wait until a child is ready; say whether one is."""
        maker = self._maker
        if maker is not None:
            maker.join(seconds)
        return self._ready is not None

    @contextlib.contextmanager
    def lend(self) -> Iterator[LimitedChild]:
        """Give a child for one upload; it ends with the context.

        Once one was prepared, the next one is, too.
        """
        with self._lock:
            child, self._ready = self._ready, None
        if child is not None and child.pid is None:  # it died while it waited
            child.close()
        try:
            with child or _new(self._caps) as lent:
                yield lent
        finally:
            if self._maker is not None:
                self.prepare()

    def close(self) -> None:
        """End the child that waits; none is made after this."""
        with self._lock:
            self._closed, child, self._ready = True, self._ready, None
        if child is not None:
            child.close()

    def _make(self) -> None:
        child = _new(self._caps)
        try:
            with tempfile.TemporaryDirectory(prefix="medweave-upload-") as name:
                incoming = Path(name) / "incoming"
                incoming.mkdir()
                lines = "".join(json.dumps(resource) + "\n" for resource in _NOBODY)
                (incoming / "nobody.ndjson").write_text(lines, "utf-8")
                use = {"timezone": "UTC", "tasks": [], "prepare": True}
                child.call(place=name, written_bytes=2**20, **use)
        except (LimitError, OSError):  # an upload will find none ready, and say what is wrong
            child.close()
            return
        with self._lock:
            if not self._closed and self._ready is None:
                self._ready = child
                return
        child.close()


def _new(caps: Caps) -> LimitedChild:
    return LimitedChild("serve.upload:ingest_upload", caps)
