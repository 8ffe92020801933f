"""One person's upload goes the way of every record: ingested into a store, in a limited process.

Caps on kinds, count and bytes are checked before anything is read. The rest (parsing of JSON and
DICOM, decoding, projection) happens in a child process with a limit on memory, time and the size
of what it may write. File names are replaced by numbers, since they can carry a patient's name.

A PNG or JPEG says neither whose it is nor when it was taken. In an upload it can only be the one
patient's, and who uploads it has it now: it counts as known at the time of prediction, which
`Uploaded.images_undated` tells. It gets an ImagingStudy that says so and goes the common way.

Where the model was trained on a de-identified store, the upload is scrubbed like it, but that its
dates move by no day, so that who uploads it sees its own: a model knows of times but differences.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fusion.run import read_json
from ingest.build import ingest, raw_zone_of
from ingest.conventions import Conventions
from ingest.database import prepare_database
from ingest.deidentify_choice import Deidentification, with_neutral_names, write_choice
from ingest.errors import InputError, LimitError, StoreError
from ingest.landing import RawZone
from ingest.limits import Caps
from ingest.store import RecordStore
from serve.ready import ReadyChild

__all__ = [
    "UploadError",
    "UploadLimits",
    "Uploaded",
    "child_caps",
    "ingest_upload",
    "uploaded_store",
]

PICTURES = frozenset({".png", ".jpg", ".jpeg"})
KINDS = frozenset({".json", ".ndjson", ".dcm", *PICTURES})
_IMAGES = frozenset({*PICTURES, ".dcm", ".image", ".dicom"})  # the last two of neutral names


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """Bound what one upload may be and may take."""

    files: int = 32
    """Files in one upload."""

    file_bytes: int = 32 * 2**20
    """Bytes of one file."""

    total_bytes: int = 64 * 2**20
    """Bytes of all files together."""

    memory_bytes: int = 4 * 2**30
    """Address space of the child; DuckDB and its threads reserve more than they touch."""

    seconds: float = 120.0
    """Wall-clock time for the whole upload."""

    written_bytes: int = 512 * 2**20
    """The largest file that the child may write."""

    def __post_init__(self) -> None:
        if self.file_bytes > self.total_bytes:
            raise ValueError(
                "file_bytes must not exceed total_bytes; "
                f"got file_bytes={self.file_bytes}, total_bytes={self.total_bytes}"
            )


class UploadError(InputError):
    """An upload that cannot be used; `key` names the sentence that a person is shown."""

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """Hold a store of one patient, made of an upload."""

    store: Path
    """The record store; it is deleted when `uploaded_store` ends."""

    images_unused: int
    """Uploaded images that are not in the store: they joined no patient or were unreadable."""

    images_undated: int
    """Uploaded images without a date, taken as known at the time of prediction."""

    quarantined: int
    """Records of the other files that could not be read."""


@contextlib.contextmanager
def uploaded_store(
    files: Sequence[Path],
    limits: UploadLimits | None = None,
    *,
    timezone: str = "UTC",
    tasks: Sequence[Path] = (),
    conventions: Conventions | None = None,
    deidentification: Deidentification | None = None,
    ready: ReadyChild | None = None,
) -> Iterator[Uploaded]:
    """Ingest one patient's files into a store that exists as long as the context.

    Args:
        files: of the KINDS.
        limits: caps on the upload.
        timezone: of times that carry no zone.
        tasks: task files: the latest time at which one of them asks dates what has no date.
        conventions: how codes and units are read: as in the store that the run was trained on.
        deidentification: how that store is de-identified, if it is.
        ready: where to take the child process from; its caps then hold.

    Raises:
        UploadError: no file of a kind that is read, no patient, or several.
        LimitError: over a cap on files, bytes, memory or time.
    """
    limits = limits or UploadLimits()
    _check_caps(files, limits)
    with tempfile.TemporaryDirectory(prefix="medweave-upload-") as name:
        place = Path(name)
        incoming = place / "incoming"
        incoming.mkdir()
        for number, file in enumerate(files, 1):
            # A name that no identifier in the record can equal.
            shutil.copyfile(file, incoming / f"uploaded-file-{number}{file.suffix.lower()}")
        with (ready or ReadyChild(child_caps(limits))).lend() as child:
            told, _ = child.call(
                place=str(place),
                written_bytes=limits.written_bytes,
                timezone=timezone,
                tasks=[str(task) for task in tasks],
                conventions=(conventions or Conventions()).to_json(),
                deidentification=deidentification and vars(deidentification.for_upload()),
            )
        yield _uploaded(place / "store", told)


def child_caps(limits: UploadLimits) -> Caps:
    """Give what the child of an upload may take."""
    return Caps(memory_bytes=limits.memory_bytes, seconds=limits.seconds)


def ingest_upload(
    place: str,
    written_bytes: int,
    timezone: str,
    tasks: list[str],
    conventions: dict[str, Any] | None = None,
    deidentification: dict[str, bool] | None = None,
    prepare: bool = False,
) -> tuple[dict[str, Any], bytes]:
    """Ingest PLACE/incoming into PLACE/store; this is what the child runs.

    With `prepare`, what the next one needs is made ready afterwards.
    """
    directory = Path(place)
    _limit_child(written_bytes)
    temporary = directory / "tmp"
    temporary.mkdir()
    # What a killed child leaves behind is then deleted with the rest.
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    incoming, store = directory / "incoming", directory / "store"
    try:
        read = Conventions.of_json(conventions) if conventions else None
        if deidentification:
            raw_zone_of(store).mkdir(mode=0o700)
            write_choice(raw_zone_of(store), Deidentification(**deidentification))
        ingest(
            [incoming], store, timezone=timezone, keep_index=False, conventions=read, progress=False
        )
        undated = _date_pictures(incoming, store, [Path(task) for task in tasks])
        if undated:
            ingest([incoming], store, timezone=timezone, keep_index=False, progress=False)
    except LimitError:
        raise
    except (InputError, StoreError) as error:
        return {"refused": type(error).__name__}, b""
    if prepare:
        prepare_database(Conventions())
    if deidentification:  # the report has neutral names
        files = RawZone(raw_zone_of(store)).files()
        told = zip(files, with_neutral_names(files), strict=True)
        undated = [neutral.name for file, neutral in told if Path(file.name).name in undated]
    return {"undated": undated}, b""


def _date_pictures(incoming: Path, store: Path, tasks: Sequence[Path]) -> list[str]:
    """Write an ImagingStudy for each picture that has none; give the files' names.

    None where the patient is not one, or nothing of that one is dated.
    """
    pictures = [file for file in sorted(incoming.iterdir()) if file.suffix in PICTURES]
    if not pictures:
        return []
    last = RecordStore(store).events().aggregate("subject_id, max(time)", "subject_id").fetchall()
    if len(last) != 1 or last[0][1] is None:
        return []
    # Here, for ACES takes seconds to import and most uploads bring no picture.
    from ingest.cohort import prediction_times

    [(subject_id, time)] = last
    moments = [prediction_times(store, task, [subject_id])["prediction_time"] for task in tasks]
    asked = [found.max() for found in moments if len(found)]
    at = max(asked).to_pydatetime() if asked else time
    crosswalk = pq.read_table(raw_zone_of(store) / "crosswalk.parquet").to_pylist()
    [subject] = [row["subject_key"] for row in crosswalk if row["subject_id"] == subject_id]
    studies = [
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "identifier": [{"value": file.stem}],
            "subject": {"reference": subject},
            "started": f"{at.isoformat()}Z",
        }
        for file in pictures
    ]
    lines = "".join(json.dumps(study) + "\n" for study in studies)
    (incoming / "studies.ndjson").write_text(lines, "utf-8")
    return [file.name for file in pictures]


def _check_caps(files: Sequence[Path], limits: UploadLimits) -> None:
    if not files:
        raise UploadError("error_nobody", "an upload needs at least one file; got none")
    if len(files) > limits.files:
        raise LimitError(f"an upload has at most {limits.files} files; got {len(files)}")
    if any(file.suffix.lower() not in KINDS for file in files):
        raise UploadError("error_kind", f"files must end in {', '.join(sorted(KINDS))}")
    sizes = [file.stat().st_size for file in files]
    if max(sizes) > limits.file_bytes:
        raise LimitError(f"a file has at most {limits.file_bytes} bytes; got {max(sizes)}")
    if sum(sizes) > limits.total_bytes:
        raise LimitError(f"an upload has at most {limits.total_bytes} bytes; got {sum(sizes)}")


def _uploaded(store: Path, told: dict[str, Any]) -> Uploaded:
    if "refused" in told:
        raise UploadError("error_input", f"the upload was refused ({told['refused']})")
    report = read_json(store / "ingest_report.json")
    if report["subjects"] == 0:
        raise UploadError("error_nobody", "the upload holds no patient")
    if report["subjects"] > 1:
        raise UploadError("error_several", f"the upload holds {report['subjects']} patients")
    images, records, undated = [], [], 0
    for name, counts in report["files"].items():
        if Path(name).suffix in _IMAGES:
            images.append(counts)
            undated += counts["projected"] if Path(name).name in told["undated"] else 0
        else:
            records.append(counts)
    return Uploaded(
        store=store,
        images_unused=sum(c["records"] - c["projected"] for c in images),
        images_undated=undated,
        quarantined=sum(sum(c["quarantined"].values()) for c in records),
    )


def _limit_child(written_bytes: int) -> None:
    """Bound the CPU time and file sizes of this process and of the decoders that it starts.

    Should this process be killed, a decoder that hangs still ends after its CPU time.
    """
    try:
        import resource
    except ImportError:  # Windows: caps, memory in the parent's hands and time still hold
        return
    for kind, most in ((resource.RLIMIT_CPU, 180), (resource.RLIMIT_FSIZE, written_bytes)):
        with contextlib.suppress(ValueError, OSError):
            # The soft limit alone: who is not root could not raise the hard one again.
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
