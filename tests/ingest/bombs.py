"""Measure what files add to an ingest: seconds of the processor, and memory at its peak.

    python -m tests.ingest.bombs ingest PLACE FILE …
    python -m tests.ingest.bombs land PLACE FILE …

ingests PLACE/neighbours, which everything is loaded for, then the same with the files beside it; or
lands the files alone.
"""

import json
import sys
import time
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from ingest.build import ingest
from ingest.landing import RawZone
from tests.benchmarks.peak import ask_child, peak_mebibytes
from tests.ingest.exports import PATIENT, observation, write_ndjson

__all__ = ["Cost", "cost_of", "landing_cost", "write_gzip", "write_swollen_zip"]

_MEBIBYTE = 1 << 20


class Cost:
    """Hold what files took, and what was said of them."""

    def __init__(self, place: Path, files: Sequence[Path]) -> None:
        self.seconds, self.mebibytes = _ask("ingest", place, *files)
        rows = pq.read_table(place / "second.raw" / "quarantine.parquet").to_pylist()
        self.quarantined = {row["name"]: row["reason"] for row in rows}
        report = json.loads((place / "second" / "ingest_report.json").read_text("utf-8"))
        self.projected = {name: file["projected"] for name, file in report["files"].items()}


def cost_of(place: Path, *files: Path) -> Cost:
    """Ingest files beside two records that are well."""
    neighbours = place / "neighbours.ndjson"
    write_ndjson(neighbours, PATIENT, observation("a", {"valueInteger": 1}))
    return Cost(place, files)


def write_gzip(path: Path, start: bytes, filling: bytes, mebibytes: int, end: bytes = b"") -> Path:
    """Write a .gz of a filling that is repeated, without ever holding what it stands for."""
    block = (filling * (_MEBIBYTE // len(filling)))[:_MEBIBYTE]
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with path.open("wb") as out:
        parts: Iterable[bytes] = (start, *[block] * mebibytes, end)
        out.writelines(map(packer.compress, parts))
        out.write(packer.flush())
    return path


def write_swollen_zip(path: Path, name: str, blocks: int) -> Path:
    """Write a zip64 of two members: a record that is well, and `blocks` times 16 MiB of nothing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # After a full flush nothing refers to what came before, so that a block may stand again.
    block = packer.compress(bytes(16 * _MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    content = block * blocks + packer.flush()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("well.ndjson", json.dumps(observation("z", {"valueInteger": 1})))
        info = zipfile.ZipInfo(name)
        with archive.open(info, "w", force_zip64=True) as member:
            member.write(content)
        # zipfile took it for what it is, and would have to deflate gigabytes to say otherwise.
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, blocks * 16 * _MEBIBYTE
    return path


def landing_cost(place: Path, *files: Path) -> tuple[float, float]:
    """Land files, and give the seconds and the mebibytes that it took."""
    seconds, mebibytes = _ask("land", place, *files)
    return seconds, mebibytes


def _ask(what: str, *paths: Path) -> list[float]:
    return ask_child("tests.ingest.bombs", [what, *map(str, paths)], 2)


def _ingest(place: Path, *files: Path) -> tuple[float, float]:
    taken = []
    for name, sources in (("first", []), ("second", list(files))):
        begun, before = time.process_time(), peak_mebibytes()
        ingest([place / "neighbours.ndjson", *sources], place / name, public=True)
        taken.append((time.process_time() - begun, peak_mebibytes() - before))
    (alone, _), (together, more) = taken
    return together - alone, more


def _land(place: Path, *files: Path) -> tuple[float, float]:
    begun, before = time.process_time(), peak_mebibytes()
    raw = RawZone(place / "landed.raw")
    with raw.locked():
        raw.register(list(files), timezone="UTC", mapping=None)
    return time.process_time() - begun, peak_mebibytes() - before


if __name__ == "__main__":
    do = {"ingest": _ingest, "land": _land}[sys.argv[1]]
    print(*do(*map(Path, sys.argv[2:])))
