"""Hold the records that matter to what is new, chosen and resolved as among all records.

See ingest/additions.py for what this is a part of.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.accounting import require_one_outcome
from ingest.conventions import Conventions
from ingest.extracts import Extract, Extracts
from ingest.indexing import STATE
from ingest.landing import LandedFile
from ingest.lines import FILE_STEP, Lines, Part
from ingest.projection import (
    Batches,
    Threads,
    choose_newest,
    create_tables,
    name_files,
    project_batches,
    read_heads,
)
from ingest.record_index import RecordIndex
from ingest.references import run_script
from ingest.ripples import add_pulled, find_dependents, pull

__all__ = ["Surroundings", "Unsuited", "Zone"]

_LARGEST_SHARE = 0.3
"""Of the old records: where more must be read again, a full build is not much slower."""

_SMALLEST_SHARE = 20_000
"""Records that may be read again whatever their share."""

_MOST_ROUNDS = 8
_FIRST_AGAIN = 1 << 24  # number of the first batch of old lines; the new ones count from 0
_SMALLEST_BATCH, _LARGEST_BATCH = 1 << 18, 32 << 20  # bytes

_SMALL_FILE = 4 << 20
"""Bytes under which a file is read from its start rather than line by line."""

_OUTCOME = STATE.replace("SELECT ", "SELECT t.file, t.position, ", 1)


class Unsuited(Exception):  # noqa: N818 - no error: the full build is as right
    """What is new cannot be added by itself; a full build takes it in."""


@dataclass(frozen=True, kw_only=True)
class Zone:
    """What landed: all files, and those with FHIR records, each with its NDJSON."""

    files: list[LandedFile]
    fhir: list[tuple[LandedFile, Path]]
    path: Path


class Surroundings:
    """Read, choose, resolve and project what is new, and what of the old it bears on."""

    def __init__(
        self,
        index: RecordIndex,
        zone: Zone,
        conventions: Conventions,
        settings: Mapping[str, Any],
        *,
        progress: bool,
    ) -> None:
        self.index, self.zone, self.conventions = index, zone, conventions
        self._settings, self._progress = dict(settings), progress
        self.counts: dict[str, int] = {}
        parts = [Part(file=f, path=p, order=n) for n, (f, p) in enumerate(zone.fhir)]
        new = parts[index.fhir_files :]
        # So small a batch that every core gets one: planning a type's SQL takes longer than running
        # it here, and a file is mostly of one type.
        size = sum(part.file.size for part in new) // (os.cpu_count() or 1)
        self._new = Batches(new, most_bytes=min(max(size, _SMALLEST_BATCH), _LARGEST_BATCH))
        self._hands = Threads(conventions)
        self._room = Path(self._settings["temp_directory"])
        self._extracts = ExitStack()
        self._of_new, self._of_old = Extracts(self._room), Extracts(self._room)
        self.con = duckdb.connect()

    def close(self) -> None:
        """Let go of the connection, and of what was kept on disk."""
        self._extracts.close()
        self.con.close()

    def settle(self) -> None:
        """Read what is new and whatever it bears on; choose and resolve; until nothing is lacking.

        Raises:
            Unsuited: that is a large part of the store, or there is no end to it.
        """
        also = np.array([], np.int64)
        for _ in range(_MOST_ROUNDS):
            self._begin()
            pull(self.con)
            if len(also):
                self.con.register("also", pa.table({"place": also}))
                add_pulled(self.con, "SELECT place FROM also")
            pulled = _places(self.con, "pulled")
            if len(pulled) > max(_SMALLEST_SHARE, _LARGEST_SHARE * self._old_records()):
                raise Unsuited("a large part of the old records must be read again")
            old = Batches(self._parts_of(pulled), first=_FIRST_AGAIN)
            batches = old.read("reading again", progress=self._progress)
            use = (batches, {}, self._of_old, self._hands)
            read_heads(self.con, *use, traced=False)
            choose_newest(self.con)
            run_script(self.con, "provider")
            find_dependents(self.con)
            lacking = _places(self.con, "lacking")
            if not len(lacking):
                return
            also = np.union1d(also, lacking)
        raise Unsuited("what is new bears on ever more records")

    def project(self) -> None:
        """Project what is new and what depends on it; of old records keep what became different.

        Leaves `renewed` (place, file, position): old records of which something is different, or
        may be; and only theirs and the new ones' rows in `projected`, `outcome` and `undated`.
        """
        redone = _places(self.con, "dependent")

        def extracts() -> Iterator[Extract]:
            yield from self._of_new
            wanted = pa.array(redone, pa.int64())
            for extract in self._of_old:
                fields = {
                    kind: table
                    if kind == "Patient"
                    else table.filter(pc.is_in(table.column("place"), wanted))
                    for kind, table in extract.fields.items()
                }
                yield Extract(number=extract.number, fields=fields, places=wanted)

        files = enumerate(self.zone.fhir)
        parts = {n: Part(file=file, path=path, order=n) for n, (file, path) in files}
        project_batches(self.con, extracts(), parts, self._hands, self.conventions)
        first_new = self.index.fhir_files * FILE_STEP
        self.con.execute(
            f"""
            CREATE TABLE renewed AS
            SELECT n.place, n.file, n.position FROM ({_OUTCOME}) n JOIN old.state s USING (place)
            WHERE n.place IN (FROM dependent)
                OR (n.status IN ('superseded', 'deleted') AND n.status <> s.status)
            """
        )
        for table in ("projected", "outcome", "undated"):
            self.con.execute(
                f"""
                DELETE FROM {table} WHERE rowid IN (
                    SELECT t.rowid FROM {table} t JOIN landed o USING (file)
                    WHERE o.number * {FILE_STEP}::BIGINT + t.position < {first_new}
                        AND o.number * {FILE_STEP}::BIGINT + t.position NOT IN
                            (SELECT place FROM renewed))
                """
            )
        require_one_outcome(self.con)
        [(without,)] = self.con.execute(
            "SELECT count(*) FROM dependent ANTI JOIN renewed USING (place)"
        ).fetchall()
        if without:
            raise Unsuited(f"{without} records came to nothing")

    def _begin(self) -> None:
        self.con.close()
        self.con = duckdb.connect(config=self._settings)
        create_tables(self.con, self.conventions)
        name_files(self.con, [file for file, _ in self.zone.fhir])
        self.index.attach(self.con)
        new = self.zone.fhir[self.index.fhir_files :]
        self.counts = {file.id: 0 for file, _ in new}
        self._extracts.close()
        self._of_new = self._extracts.enter_context(Extracts(self._room))
        self._of_old = self._extracts.enter_context(Extracts(self._room))
        batches = self._new.read("reading", progress=self._progress)
        use = (batches, self.counts, self._of_new, self._hands)
        read_heads(self.con, *use, traced=True)

    def _old_records(self) -> int:
        return sum(segment["rows"] for segment in self.index.segments)

    def _parts_of(self, places: np.ndarray) -> list[Part]:
        numbers, positions = places // FILE_STEP, places % FILE_STEP
        here = {int(n): positions[numbers == n] for n in np.unique(numbers)}
        large = [
            n
            for n in here
            if self.zone.fhir[n][0].kind == "ndjson"
            and not self.zone.fhir[n][1].name.lower().endswith(".gz")
            and self.zone.fhir[n][0].size > _SMALL_FILE
        ]
        lengths = self._lengths(large)
        parts = []
        for number, wanted in here.items():
            file, path = self.zone.fhir[number]
            lines = Lines(positions=wanted)
            if number in lengths and lengths[number].sum() == file.size:
                length = lengths[number]
                starts = np.cumsum(length) - length
                lines = Lines(
                    positions=wanted, starts=starts[wanted - 1], lengths=length[wanted - 1]
                )
            parts.append(Part(file=file, path=path, order=number, lines=lines))
        return parts

    def _lengths(self, numbers: Sequence[int]) -> dict[int, np.ndarray]:
        """Give the length in bytes of each line of these files, in order."""
        if not numbers:
            return {}
        found = self.con.execute(
            f"SELECT place, bytes::BIGINT AS bytes FROM old.trace"
            f" WHERE place // {FILE_STEP} IN ({', '.join(map(str, numbers))}) ORDER BY place"
        ).fetchnumpy()
        of = found["place"] // FILE_STEP
        return {n: found["bytes"][of == n].astype(np.int64) for n in numbers}


def _places(con: duckdb.DuckDBPyConnection, table: str) -> np.ndarray:
    found = con.execute(f"SELECT DISTINCT place FROM {table} ORDER BY place").fetchnumpy()
    return np.asarray(found["place"], np.int64)
