"""Read a long Bundle in XML entry by entry, so that one at a time is held in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO

from ingest.bundle_lines import BundleLines, Landed
from ingest.chunks import read_bytes
from ingest.errors import LimitError
from ingest.fhir_xml import read_xml_bundle
from ingest.opening import open_bytes
from ingest.safe_xml import XmlError

__all__ = ["land_long_xml"]

_PART_BYTES = 1 << 18


def land_long_xml(path: Path, out: TextIO) -> Landed:
    """Write a line for each record of a Bundle, as `read_document` would; of a bad one none.

    Args:
        path: The file.
        out: An empty file that can be written and cut.
    """
    bundle = BundleLines(out)
    landed, damage = _land(path, bundle)
    if bundle.newest_first and landed.problem is None:
        # A history is newest first, and only now it shows how many entries there are.
        bundle.total = bundle.entries
        landed, damage = _land(path, bundle)
    return bundle.end(landed, damage)


def _land(path: Path, bundle: BundleLines) -> tuple[Landed, str | None]:
    bundle.restart()
    with open_bytes(path) as handle:
        parts = _Parts(handle)
        try:
            for name, value in read_xml_bundle(parts, decimal=float):
                if name == "entry":
                    bundle.add(value)
                bundle.newest_first |= (name, value) == ("type", "history")
        except (XmlError, LimitError) as error:
            return Landed(kind="resource", problem=str(error)), parts.damage
        return Landed(kind="bundle"), parts.damage


class _Parts:
    """Give a file's bytes in parts, and keep what damage ends them."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self.damage: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        part = b"-"
        while part and self.damage is None:
            part, self.damage = read_bytes(self._handle, _PART_BYTES)
            yield part
