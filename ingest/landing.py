"""Land every source in the raw zone: a manifest of files, and NDJSON made of what is not NDJSON.

    store.raw/            mode 0700, beside the store and never inside it
      manifest.json       each file's id, place, name, kind, size, SHA-256, source and time
      landed/ID.ndjson    the records of a Bundle or of a single resource, one a line; of a zip,
                          a bad record for each member that can't be read
      unpacked/SHA256/    the members of a zip, each of which is a file of its own
      known.parquet       of a de-identified store: what is known of its patients (names, ids)
      conventions.json    how the site's codes and units are read (ingest/conventions.py)
      mappings/ID.yaml    the mapping that a folder with a CSV came with

NDJSON, DICOM, images and CSV are registered where they lie, not copied; the manifest says what
they were, so that a file that changed or went missing since is noticed, not silently dropped. A
file that is registered again under the same path adds nothing.
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tqdm import tqdm

from ingest.archives import is_zip, unpack_zip
from ingest.documents import read_document
from ingest.errors import InputError, LimitError, MappingError, StoreError, UsageError
from ingest.opening import TORN, open_bytes
from ingest.parallel import cores
from ingest.wrapping import dump_line

__all__ = ["LandedFile", "RawZone", "discover", "kind_of", "require_timezone"]

_LANDED = ("bundle", "resource", "archive")
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_HEAD_BYTES = 4096
_DICM_AT = 128  # DICOM PS3.10 section 7.1: a preamble of 128 bytes, then "DICM"


@dataclass(frozen=True, kw_only=True)
class LandedFile:
    """Name one file of a source: what the raw zone's manifest keeps of it."""

    id: str
    """First 8 hex digits of the file's SHA-256, or of another digest where those are taken."""

    path: Path
    """Where the bytes are."""

    name: str
    """Path relative to the source that was given; unique in the raw zone."""

    kind: str
    """`ndjson`, `bundle`, `resource`, `dicom`, `image`, `csv`, `archive` or `other`."""

    size: int
    """Bytes."""

    sha256: str
    """Of the bytes as they lie (a .gz is hashed compressed)."""

    source: str = ""
    """The path that was given to `ingest`."""

    timezone: str = "UTC"
    """The site's time zone, for times that carry none."""

    mapping: str = ""
    """The id of the mapping that the source came with, or empty."""

    modified_ns: int = 0
    """Modification time; with the size it says whether to hash again."""

    landed: str = ""
    """When, ISO 8601."""


def discover(source: Path) -> list[tuple[Path, str]]:
    """List a source's files with their names, sorted; hidden files are left out.

    Raises:
        InputError: it is not there, or there is nothing in it.
    """
    if source.is_file():
        return [(source.resolve(), source.name)]
    if not source.is_dir():
        raise InputError(f"{source} is not there; give a file or a directory")
    root = source.resolve()
    found = [
        (path, path.relative_to(root).as_posix())
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(root).parts)
    ]
    if not found:
        raise InputError(f"{source} holds no file")
    return found


def kind_of(path: Path) -> str:
    """Say what a file is, by its name and, where the name says little, by its first bytes.

    `.json` is answered as `resource`; whether it is a Bundle shows when it lands.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".ndjson", ".jsonl")):
        return "ndjson"
    if name.endswith(".json"):
        return "resource"
    if name.endswith(".zip") and is_zip(path):
        return "archive"
    if name.endswith(".xml"):
        return "resource" if _is_fhir_xml(path) else "other"
    if name.endswith(".dcm"):
        return "dicom"
    if name.endswith(_IMAGES):
        return "image"
    if name.endswith((".csv", ".tsv")):
        return "csv"
    with path.open("rb") as handle:
        return "dicom" if handle.read(_DICM_AT + 4)[_DICM_AT:] == b"DICM" else "other"


def _is_fhir_xml(path: Path) -> bool:
    with open_bytes(path) as handle:
        try:
            return b"http://hl7.org/fhir" in handle.read(_HEAD_BYTES).replace(b"\0", b"")
        except TORN:
            return False


def require_timezone(name: str) -> None:
    """Refuse a time zone that there isn't.

    Raises:
        UsageError: it is no IANA name.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(
            f"unknown time zone {name!r}; give an IANA name such as Europe/Berlin"
        ) from None


class RawZone:
    """Hold what has landed; the store is a function of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: list[LandedFile] = []
        manifest = path / "manifest.json"
        if manifest.is_file():
            try:
                rows: list[dict[str, Any]] = json.loads(manifest.read_text("utf-8"))["files"]
                self._files = [LandedFile(**{**row, "path": Path(row["path"])}) for row in rows]
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{manifest} is damaged: {type(error).__name__}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second ingest out of this raw zone; it fails at once rather than waits."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        with (self.path / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(f"another ingest is at work on {self.path}; wait for it") from None
            yield

    def files(self) -> list[LandedFile]:
        """List what has landed, in the order in which it did."""
        return list(self._files)

    def ndjson(self, file: LandedFile) -> Path:
        """Say where a FHIR file's records are: where it lies, or as it was landed."""
        return file.path if file.kind == "ndjson" else self._landed(file.sha256)

    def register(
        self,
        sources: list[Path],
        *,
        timezone: str,
        mapping: Path | None,
        leave_out: tuple[Path, ...] = (),
        progress: bool = False,
    ) -> None:
        """Add the sources' files; what is there already, unchanged, is left as it is.

        What lies under `leave_out` (the store, where a source holds it) is none of theirs.

        Raises:
            InputError: a source is missing or empty, or a file that had landed has gone or changed.
            MappingError: a mapping without a CSV that it could map.
        """
        known = {file.path: file for file in self._files}
        own = self.path.resolve()
        listed: list[tuple[Path, Path, str]] = []
        for source in sources:
            left_out = leave_out
            if not source.resolve().is_relative_to(own / "fetched"):
                left_out = (own, *leave_out)
            for path, name in discover(source):
                if not any(path.is_relative_to(place) for place in left_out):
                    opened = self._open_up(path, name, known.get(path))
                    listed += [(source, *file) for file in opened]
        label = self._keep_mapping(mapping) if mapping is not None else ""
        mapped = {s for s, path, _ in listed if label and kind_of(path) == "csv"}
        if label and not mapped:
            raise MappingError(f"{mapping} maps a CSV, and the sources hold none")
        ids = {file.id for file in self._files}
        names = {file.name for file in self._files}
        shown = tqdm(listed, "landing", unit="file", disable=not progress)
        for (source, path, name), digested in zip(shown, self._digests(listed), strict=True):
            stat = path.stat()
            before = known.get(path)
            # A mapping stays with its source when that is given again without it.
            kept = before.mapping if before else ""
            use = {"timezone": timezone, "mapping": label if source in mapped else kept}
            if before and (before.size, before.modified_ns) == (stat.st_size, stat.st_mtime_ns):
                known[path] = replace(before, **use)
                continue
            digest = digested or _digest(path)
            if before and before.sha256 == digest:
                known[path] = replace(before, modified_ns=stat.st_mtime_ns, **use)
                continue
            if before:
                del known[path]  # so that its successor is the last landed
                names.discard(before.name)
            fresh = LandedFile(
                id=_free_id(digest, path, ids),
                path=path,
                name=_free_name(name, source, path, names),
                kind=self._land(path, digest),
                size=stat.st_size,
                sha256=digest,
                source=str(source.resolve()),
                modified_ns=stat.st_mtime_ns,
                landed=datetime.now(UTC).isoformat(timespec="seconds"),
                **use,
            )
            known[path] = fresh
            ids.add(fresh.id)
            names.add(fresh.name)
        self._files = list(known.values())
        self._check_unchanged()
        self._save()

    def _digests(self, listed: Sequence[tuple[Path, Path, str]]) -> Iterator[str | None]:
        """Hash the files that are new, several at a time, in order; None of the others."""
        known = {file.path for file in self._files}
        with ThreadPoolExecutor(cores()) as pool:
            yield from pool.map(
                lambda path: None if path in known else _digest(path), [p for _, p, _ in listed]
            )

    def mapping(self, label: str) -> Path:
        """Say where a mapping that files carry is kept."""
        return self.path / "mappings" / f"{label}.yaml"

    def _keep_mapping(self, mapping: Path) -> str:
        if not mapping.is_file():
            raise InputError(f"{mapping} is not there; --mapping takes a YAML file")
        label = hashlib.sha256(mapping.read_bytes()).hexdigest()[:8]
        self.mapping(label).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mapping, self.mapping(label))
        return label

    def _open_up(
        self, path: Path, name: str, before: LandedFile | None
    ) -> Iterator[tuple[Path, str]]:
        """Give a file, and if it is a zip its members, which are unpacked once."""
        yield path, name
        if not path.name.lower().endswith(".zip") or not is_zip(path):
            return
        stat = path.stat()
        if before and (before.size, before.modified_ns) == (stat.st_size, stat.st_mtime_ns):
            digest = before.sha256
        else:
            digest = _digest(path)
        for member, place, _ in self._members(path, digest):
            if place is not None:
                yield place, f"{name}/{member}"

    def _members(self, path: Path, digest: str) -> list[tuple[str, Path | None, str | None]]:
        folder = self.path.resolve() / "unpacked" / digest
        index = folder / "members.json"
        if not index.is_file():
            shutil.rmtree(folder, ignore_errors=True)  # what a killed run left
            try:
                found = unpack_zip(path, folder)
            except (InputError, LimitError) as error:
                folder.mkdir(parents=True, exist_ok=True)
                found = [("", None, str(error))]
            rows = [(member, place and place.name, reason) for member, place, reason in found]
            partial = index.with_suffix(".partial")
            partial.write_text(json.dumps(rows), "utf-8")
            partial.replace(index)
        rows = json.loads(index.read_text("utf-8"))
        return [(member, place and folder / place, reason) for member, place, reason in rows]

    def _land(self, path: Path, digest: str) -> str:
        kind = kind_of(path)
        if kind == "archive":
            lines = [
                {"problem": f"member {number} of the zip: {reason}"}
                for number, (_, _, reason) in enumerate(self._members(path, digest), 1)
                if reason is not None
            ]
            with self._landing(digest) as out:
                out.writelines(dump_line(line) + "\n" for line in lines)
            return kind
        if kind != "resource":
            return kind
        with self._landing(digest) as out:
            kind = read_document(path, out)
        if kind == "ndjson":
            self._landed(digest).unlink()
        return kind

    def _landed(self, digest: str) -> Path:
        return self.path / "landed" / f"{digest}.ndjson"

    @contextmanager
    def _landing(self, digest: str) -> Iterator[TextIO]:
        target = self._landed(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        try:
            with partial.open("w", encoding="utf-8") as out:
                yield out
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _check_unchanged(self) -> None:
        for file in self._files:
            where = self.ndjson(file) if file.kind in _LANDED else file.path
            if not where.is_file():
                raise InputError(
                    f"{where} had landed and is gone; put it back, or start a new store"
                )
            stat = where.stat()
            if where != file.path or (stat.st_size, stat.st_mtime_ns) == (
                file.size,
                file.modified_ns,
            ):
                continue
            if _digest(where) != file.sha256:
                raise InputError(f"{where} changed since it landed; ingest it again")

    def _save(self) -> None:
        rows = [{**vars(file), "path": str(file.path)} for file in self._files]
        partial = self.path / "manifest.partial"
        partial.write_text(json.dumps({"files": rows}, indent=1) + "\n", "utf-8")
        partial.replace(self.path / "manifest.json")


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _free_id(digest: str, path: Path, taken: set[str]) -> str:
    """Give 8 hex digits that no other file has: a copy of a file is a file of its own."""
    wanted = digest[:8]
    while wanted in taken:
        digest = hashlib.sha256(f"{digest}{path}".encode()).hexdigest()
        wanted = digest[:8]
    return wanted


def _free_name(name: str, source: Path, path: Path, taken: set[str]) -> str:
    """Give a name that no other file has: `Patient.ndjson`, `site/Patient.ndjson`, whole path."""
    root = source.resolve() if source.is_dir() else source.resolve().parent
    return next(n for n in (name, f"{root.name}/{name}", str(path)) if n not in taken)
