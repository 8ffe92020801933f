"""Land DICOM files that a server gives, and remember which studies and instances there are.

    DIRECTORY/                  owner-only
      STUDY/SERIES/SOP.dcm      one instance, whole, byte by byte as the server sent it; the names
                                are SHA-256 of the UIDs (of study and series the first 16 digits)
      .fetch/                   hidden, so that it is no source
        state.sqlite            which studies were listed, and what became of each instance
        ….part                  being written
        lock

A file appears under its name when it is whole and on disk. The state learns of it after that: a
fetch that is killed in between finds the file and asks for nothing.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ingest.fetch_state import FetchState

__all__ = ["FetchedStudies", "Instance", "Listing", "Series", "StudyLanding"]

_TABLES = (
    "CREATE TABLE IF NOT EXISTS study ("
    " uid TEXT PRIMARY KEY, listed INT DEFAULT 0, detail TEXT) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS instance ("
    " study TEXT, series TEXT, sop TEXT, modality TEXT, outcome TEXT, detail TEXT,"
    " PRIMARY KEY (study, series, sop)) WITHOUT ROWID",
)
_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Name one DICOM object on the server."""

    study: str
    series: str
    sop: str
    modality: str
    """Of its series; `unknown` where the server does not say."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Name what is to be fetched of one series."""

    wanted: tuple[Instance, ...]

    size: int
    """Its instances, the others included."""


@dataclass(kw_only=True)
class Listing:
    """Hold what a study consists of."""

    instances: list[Instance] = field(default_factory=list)
    """Those to be fetched."""

    pictureless: list[tuple[Instance, str]] = field(default_factory=list)
    """Those that hold no picture, with their kind."""

    unasked: Counter[str] = field(default_factory=Counter)
    """Series of modalities that were not asked for."""

    missing: Counter[str] = field(default_factory=Counter)
    """What cannot be fetched, by kind and reason."""


@dataclass(frozen=True, kw_only=True)
class FetchedStudies:
    """Say what a fetch of studies brought."""

    directory: Path
    """Where the files are: a source for `ingest`."""

    landed: dict[str, int]
    """Instances that are there, of all runs, by modality."""

    fresh: int
    """Instances that this run landed: none where all had landed before."""

    requests: int
    """Requests that this run sent."""

    skipped: dict[str, int]
    """Instances that hold no picture and were not fetched, by kind (`SR`, `SEG`, …)."""

    unasked: dict[str, int]
    """Series that were left out since their modality was not asked for, by modality."""

    missing: dict[str, int]
    """Studies, series and instances that were asked for and are not here, by kind and reason."""


class StudyLanding(FetchState):
    """Write instances into a directory; for many threads.

    Raises:
        UsageError, StoreError, InputError: see `FetchState`.
    """

    def __init__(self, into: Path, server: str) -> None:
        self.fresh = 0
        """Instances that this run landed."""
        super().__init__(into, server)
        for table in _TABLES:
            self.rows(table)

    def begin(self, asking: str) -> bool:
        """Go on with what was asked before and not finished, else begin anew.

        What landed stays in either case, and is not fetched again while it lies there. Gives
        whether the studies of this question are known already.
        """
        with self.transaction():
            goes_on = self.note("asking") == asking
            if goes_on:
                # What was missing may be there by now: the run that missed it did not end well.
                self.rows(
                    "UPDATE instance SET outcome = 'wanted', detail = NULL"
                    " WHERE outcome = 'missing'"
                )
                self.rows("UPDATE study SET listed = 0, detail = NULL WHERE detail IS NOT NULL")
            else:
                self.rows("DELETE FROM instance WHERE outcome <> 'landed'")
                self.rows("DELETE FROM study")
                self.rows("DELETE FROM tally")
                self.forget("found")
                self.remember("asking", asking)
        self._look_after_landed("wanted" if goes_on else None)
        return self.note("found") is not None

    def find(self, studies: Iterable[str]) -> None:
        """Note which studies the question is about."""
        with self.transaction():
            for uid in studies:
                self.rows("INSERT OR IGNORE INTO study (uid) VALUES (?)", uid)
            self.remember("found", "1")

    def unlisted(self) -> list[str]:
        """Give the studies whose instances are not known yet."""
        return [uid for (uid,) in self.rows("SELECT uid FROM study WHERE NOT listed ORDER BY uid")]

    def add(self, study: str, listing: Listing) -> None:
        """Note what a study consists of, in one step."""
        added = "INSERT OR IGNORE INTO instance VALUES (?, ?, ?, ?, ?, ?)"
        with self.transaction():
            for one in listing.instances:
                self.rows(added, one.study, one.series, one.sop, one.modality, "wanted", None)
            for one, kind in listing.pictureless:
                self.rows(added, one.study, one.series, one.sop, one.modality, "skipped", kind)
            for modality, n in listing.unasked.items():
                self.count("unasked", modality, n)
            for reason, n in listing.missing.items():
                self.count("missing", reason, n)
            self.rows("UPDATE study SET listed = 1 WHERE uid = ?", study)

    def miss_study(self, study: str, reason: str) -> None:
        """Say why a study's instances are not known."""
        self.rows("UPDATE study SET listed = 1, detail = ? WHERE uid = ?", reason, study)

    def wanted(self) -> Iterator[Series]:
        """Give the series of which something is to be fetched, however many, holding few."""
        some = (
            "SELECT DISTINCT study, series FROM instance"
            " WHERE outcome = 'wanted' AND (study, series) > (?, ?) ORDER BY study, series LIMIT ?"
        )
        each = "SELECT sop, modality, outcome FROM instance WHERE study = ? AND series = ?"
        last = ("", "")
        while found := self.rows(some, *last, _AT_ONCE):
            for study, series in found:
                rows = self.rows(each, study, series)
                wanted = tuple(
                    Instance(study=study, series=series, sop=sop, modality=modality)
                    for sop, modality, outcome in rows
                    if outcome == "wanted"
                )
                yield Series(wanted=wanted, size=len(rows))
            last = found[-1]

    def wanted_count(self) -> int:
        """Count what `wanted` gives."""
        some = "SELECT DISTINCT study, series FROM instance WHERE outcome = 'wanted'"
        [(n,)] = self.rows(f"SELECT count(*) FROM ({some})")
        return n

    def place(self, one: Instance) -> Path:
        """Say where an instance's file goes."""
        return self.into / _name(one.study)[:16] / _name(one.series)[:16] / f"{_name(one.sop)}.dcm"

    def part(self, one: Instance) -> Path:
        """Say where it, or what comes with it, is written first."""
        name = _name(f"{one.study} {one.series} {one.sop}")
        return self.hidden / f"{name[:32]}.part"

    def land(self, one: Instance, part: Path | None = None) -> None:
        """Give what lies whole in `part` its name; without, its file has it already."""
        place = self.place(one)
        if part is not None:
            for directory in (place.parent.parent, place.parent):
                directory.mkdir(mode=0o700, exist_ok=True)
            part.replace(place)
        with self.transaction():
            self._settle(one, "landed", None)
            self.fresh += part is not None

    def miss(self, one: Instance, reason: str) -> None:
        """Say why an instance is not here."""
        self._settle(one, "missing", reason)

    def finish(self) -> None:
        """End the question: asked again, it begins with what the server has by then."""
        for part in self.hidden.glob("*.part"):
            part.unlink()
        self.forget("asking")

    def account(self, *, requests: int, missing: Counter[str]) -> FetchedStudies:
        """Say what has landed; `missing` is added to what is known to be missing."""
        grouped = "SELECT {}, count(*) FROM {} WHERE {} GROUP BY 1 ORDER BY 1"
        landed = self.rows(grouped.format("modality", "instance", "outcome = 'landed'"))
        skipped = self.rows(grouped.format("detail", "instance", "outcome = 'skipped'"))
        lost = Counter(self.counts("missing")) + missing
        for kind, table, where in (
            ("study", "study", "detail IS NOT NULL"),
            ("instance", "instance", "outcome = 'missing'"),
        ):
            for reason, n in self.rows(grouped.format("detail", table, where)):
                lost[f"{kind}: {reason}"] += n
        return FetchedStudies(
            directory=self.into,
            landed=dict(landed),
            fresh=self.fresh,
            requests=requests,
            skipped=dict(skipped),
            unasked=self.counts("unasked"),
            missing=dict(sorted(lost.items())),
        )

    def _look_after_landed(self, outcome: str | None) -> None:
        """Find what was removed since, or lost with the power; None forgets it until listed."""
        asked = (
            "SELECT study, series, sop FROM instance WHERE outcome = 'landed'"
            " AND (study, series, sop) > (?, ?, ?) ORDER BY study, series, sop LIMIT ?"
        )
        last = ("", "", "")
        while found := self.rows(asked, *last, _AT_ONCE):
            for study, series, sop in found:
                one = Instance(study=study, series=series, sop=sop, modality="")
                if self.place(one).is_file():
                    continue
                if outcome is None:
                    gone = "DELETE FROM instance WHERE study = ? AND series = ? AND sop = ?"
                    self.rows(gone, study, series, sop)
                else:
                    self._settle(one, outcome, None)
            last = found[-1]

    def _settle(self, one: Instance, outcome: str, detail: str | None) -> None:
        settled = (
            "UPDATE instance SET outcome = ?, detail = ? WHERE study = ? AND series = ? AND sop = ?"
        )
        self.rows(settled, outcome, detail, one.study, one.series, one.sop)


def _name(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()
