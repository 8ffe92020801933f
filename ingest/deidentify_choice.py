"""Keep whether a store is de-identified: it is chosen once, and holds for all that comes later.

The choice stands in the raw zone (`deidentify.json`), which the store is a function of, and in the
store's report. A store that mixed both would be taken for a de-identified one. Training takes it
into the run's `run.json`, so that an upload at serving time is scrubbed as the records were that
the model was trained on.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ingest.deidentify_dates import shift_days
from ingest.errors import MedweaveError, StoreError, UsageError
from ingest.landing import LandedFile, RawZone

__all__ = [
    "FLAGGED",
    "Deidentification",
    "choosing",
    "read_choice",
    "settle_choice",
    "with_neutral_names",
    "write_choice",
]

FLAGGED = "metadata/burned_in_annotation.parquet"
"""Which images of a de-identified store have writing in the picture, or may have."""


@dataclass(frozen=True, kw_only=True)
class Deidentification:
    """Say how a store is de-identified."""

    shifts_dates: bool = True
    """Whether dates are shifted, one number of days a subject; else they stay as they are."""

    in_place: bool = False
    """Shift by no day, and read and write dates as a shift does: of an upload, whose dates a person
    is to see, and which a model is to read as it read the records of a store with shifted dates."""

    @classmethod
    def of_report(cls, report: dict[str, Any]) -> "Deidentification | None":
        """Read the choice that a store's report states; None where it is not de-identified."""
        said = report.get("deidentified")
        if not said:
            return None
        dates = said["dates"]
        return cls(shifts_dates=dates in ("shifted", "in place"), in_place=dates == "in place")

    def stated(self) -> dict[str, Any]:
        """Give what the report states."""
        if not self.shifts_dates:
            return {"dates": "kept"}
        return {"dates": "in place" if self.in_place else "shifted"}

    def days_of(self, subject_id: int, secret: bytes) -> int:
        """Give by how many days a subject's dates are shifted."""
        moves = self.shifts_dates and not self.in_place
        return shift_days(subject_id, secret) if moves else 0

    def for_upload(self) -> "Deidentification":
        """Give how an upload is scrubbed that a model reads beside records scrubbed like this."""
        return replace(self, in_place=self.shifts_dates)

    def flagged_images(self, store: Path) -> list[tuple[str, str]]:
        """List the images with burned-in annotation: path, and `stated` or `suspected`."""
        place = store / FLAGGED
        if not place.is_file():
            return []
        table = pq.read_table(place)
        return list(zip(table["image"].to_pylist(), table["burned_in"].to_pylist(), strict=True))


def settle_choice(
    zone: RawZone, store: Path, *, deidentify: bool | None, keep_dates: bool
) -> Deidentification | None:
    """Give what holds for a raw zone and its store; a new one begins with what is asked for.

    Args:
        zone: the raw zone, before anything new is registered.
        store: the store, whether it is there or not.
        deidentify: what is asked for; None takes what the store began with.
        keep_dates: whether dates are to stay.

    Raises:
        UsageError: what is asked for is not what the store began with.
        StoreError: the choice that the raw zone keeps is damaged.
    """
    if keep_dates and not deidentify:
        raise UsageError("--keep-dates is of --deidentify; without it dates are kept anyway")
    asked = Deidentification(shifts_dates=not keep_dates) if deidentify else None
    begun = _begun(zone, store)
    if begun is None:
        if deidentify is None:
            asked = _chosen(zone)  # by an ingest that failed before anything landed
        write_choice(zone.path, asked)
        return asked
    [was] = begun
    if deidentify is not None and asked != was:
        raise UsageError(
            f"{store} began {_words(was)} and can't go on {_words(asked)}: "
            "one store is not both; ingest into another"
        )
    return was


def read_choice(store: Path) -> Deidentification | None:
    """Read how a store is de-identified; None where it is not, or has no report.

    Raises:
        StoreError: the report is damaged.
    """
    report = store / "ingest_report.json"
    if not report.is_file():
        return None
    try:
        return Deidentification.of_report(json.loads(report.read_text("utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(report) from None


def with_neutral_names(files: list[LandedFile]) -> list[LandedFile]:
    """Name each file by its id and kind: a file's own name may be a patient's."""
    return [replace(file, name=f"{file.id}.{file.kind}") for file in files]


def write_choice(raw: Path, choice: Deidentification | None) -> None:
    """Write the choice into a raw zone: one that is new begins with it."""
    place = raw / "deidentify.json"
    if choice is None:
        place.unlink(missing_ok=True)
        return
    place.touch(mode=0o600)
    place.write_text(json.dumps(vars(choice)) + "\n", "utf-8")


@contextmanager
def choosing(
    zone: RawZone, store: Path, *, deidentify: bool | None, keep_dates: bool, public: bool
) -> Iterator[Deidentification | None]:
    """Settle the choice, and hold to it in what an ingest leaves in the raw zone and tells people.

    Raises:
        UsageError: as settle_choice, and where the key would be the published one.
    """
    if deidentify and public:
        raise UsageError(
            "--public and --deidentify exclude each other: with the published key anybody could "
            "undo the pseudonyms and the shifts of the dates"
        )
    choice = settle_choice(zone, store, deidentify=deidentify, keep_dates=keep_dates)
    try:
        yield choice
    except MedweaveError as error:
        if choice is not None and error.args:
            error.args = (_without_names(str(error.args[0]), zone), *error.args[1:])
        raise
    except OSError as error:
        if choice is not None and error.filename and not _is_ours(error.filename, zone, store):
            error.filename = "a file of the sources"
        raise
    finally:
        _close_to_others(zone.path)


def _without_names(words: str, zone: RawZone) -> str:
    """Name landed files by their ids: what they are called may be what a patient is called."""
    for file in zone.files():
        words = words.replace(str(file.path), f"file {file.id}")
        if len(file.name) > 3:
            words = words.replace(file.name, f"{file.id}.{file.kind}")
    return words


def _is_ours(name: object, zone: RawZone, store: Path) -> bool:
    """Say whether a file is of the raw zone or the store, and so not named by a stranger."""
    place = Path(str(name))
    building = str(place).startswith(str(store.with_name(f".{store.name}.")))
    return building or any(place.is_relative_to(home) for home in (zone.path, store))


def _close_to_others(raw: Path) -> None:
    """Let nobody but the owner read a raw zone: directories 0700, files 0600."""
    for place, folders, files in os.walk(raw):
        for name, mode in [*((f, 0o700) for f in folders), *((f, 0o600) for f in files)]:
            path = Path(place) / name
            with suppress(FileNotFoundError):  # another's temporary file
                if not path.is_symlink() and path.stat().st_mode & 0o777 != mode:
                    path.chmod(mode)


def _begun(zone: RawZone, store: Path) -> list[Deidentification | None] | None:
    """Give the choice that holds, in a list; None where nothing has begun."""
    if not (store / "ingest_report.json").is_file():
        return [_chosen(zone)] if zone.files() else None
    return [read_choice(store)]


def _chosen(zone: RawZone) -> Deidentification | None:
    """Give the choice that the raw zone keeps."""
    kept = zone.path / "deidentify.json"
    if not kept.is_file():
        return None
    try:
        return Deidentification(**json.loads(kept.read_text("utf-8")))
    except (ValueError, TypeError):
        raise _damaged(kept) from None


def _damaged(place: Path) -> StoreError:
    return StoreError(f"{place} is damaged; put it back, or start a new store")


def _words(choice: Deidentification | None) -> str:
    if choice is None:
        return "without --deidentify"
    return "with --deidentify" + ("" if choice.shifts_dates else " --keep-dates")
