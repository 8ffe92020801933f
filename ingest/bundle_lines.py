"""Write what a long document holds as lines, while it is being read."""

from dataclasses import dataclass
from typing import Any, TextIO

from ingest.wrapping import EMPTY, dump_line, wrap_document, wrap_entry

__all__ = ["BundleLines", "Landed"]


@dataclass(frozen=True, kw_only=True)
class Landed:
    """Say what a document was."""

    kind: str
    """`bundle`, `resource`, or `ndjson` where it is lines after all."""

    problem: str | None = None
    """Why it can't be used."""


class BundleLines:
    """Write the lines of a Bundle's entries, one entry after another."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines = self._problems = 0
        self.entries = 0
        """How many were written."""

        self.newest_first = False
        """Whether it is a history, as shows at its end: then it is written once more."""

        self.total: int | None = None
        """Of a history, how many entries there are: what comes first is newest."""

        self.split = True
        """Whether entries may be written before it is known to be a Bundle."""

    def restart(self) -> None:
        """Forget what was written: of a name that comes twice the last is meant."""
        self._out.seek(0)
        self._out.truncate()
        self.entries = self._lines = self._problems = 0

    def add(self, entry: Any) -> None:
        """Write an entry's lines."""
        for line in wrap_entry(entry):
            if self.total is not None:
                line = {**line, "order": self.total - self.entries}
            self._write(line)
        self.entries += 1

    def add_document(self, document: Any) -> None:
        """Write the lines of a document that was read whole, and those alone."""
        self.restart()
        for line in wrap_document(document):
            self._write(line)

    def end(self, landed: "Landed", damage: str | None) -> "Landed":
        """Say what was landed of a file with this damage: of a bad document no line stands."""
        unread = landed.problem is not None or (landed.kind == "resource" and self._problems)
        if landed.kind == "bundle" and landed.problem is None and not self._lines:
            self._write(dict(EMPTY))
        if damage is not None and unread:
            landed = Landed(kind=landed.kind, problem=damage)
        elif damage is not None and landed.kind != "ndjson":
            self._write({"problem": damage})
        if landed.problem is not None or landed.kind == "ndjson":
            self.restart()
        return landed

    def _write(self, line: dict[str, Any]) -> None:
        self._lines += 1
        self._problems += "problem" in line
        self._out.write(dump_line(line) + "\n")
