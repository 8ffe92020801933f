"""Write de-identified DICOM copies of the films that a de-identified store holds.

    OUT/SUBJECT/UID.dcm    named by the pseudonym and the new SOP Instance UID
    OUT/films.csv          subject_id, code, the store's image, and the copy of each

The films are read from where they landed, and changed in a limited child (dicom_profile.py). Texts
that stay are scrubbed of what the patient's records and other films say, which the raw zone keeps.
"""

import csv
import hashlib
import hmac
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ingest.deidentify_choice import Deidentification
from ingest.deidentify_known import KNOWN, read_kept
from ingest.errors import LimitError, StoreError, UsageError
from ingest.identity import load_or_create_key
from ingest.landing import LandedFile, RawZone
from ingest.limits import Caps, LimitedChild
from ingest.store import RecordStore

__all__ = ["export_dicom"]


def export_dicom(
    store: Path,
    out: Path,
    *,
    raw: Path | None = None,
    key: Path | None = None,
    with_burned_in: bool = False,
    progress: bool = False,
) -> dict[str, int]:
    """Write the copies; give how many were written, and how many not, by reason.

    Args:
        store: made with --deidentify.
        out: a directory that is new or empty.
        raw: the raw zone, if it is not STORE.raw.
        key: the key of the pseudonyms, if it is not in the raw zone.
        with_burned_in: write films, too, that have or may have writing in the picture.
        progress: whether to show a bar on stderr.

    Raises:
        UsageError: the store is not de-identified, or another key is given.
        StoreError: the store or its raw zone is damaged, or `out` holds something.
    """
    records = RecordStore(store)
    choice = Deidentification.of_report(records.report())
    if choice is None:
        raise UsageError(
            f"{store} is not de-identified, and so has no pseudonyms for its films; "
            "ingest with --deidentify into another store"
        )
    zone = RawZone((raw or store.resolve().with_name(store.resolve().name + ".raw")).resolve())
    if not zone.files():
        raise StoreError(f"{zone.path} holds no manifest; say with --raw where the raw zone is")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} holds something; name a new directory")
    if not (zone.path / KNOWN).is_file():
        raise StoreError(
            f"{zone.path} holds no {KNOWN}, with which films are scrubbed, for an older version of "
            "Medweave made the store; ingest one of its sources again, which builds it anew"
        )
    secret = load_or_create_key(zone.path, key=key)
    uid_key = hmac.digest(secret, b"medweave dicom uids", "sha256").hex()
    rows = records.images().fetchall()
    flagged = {image for image, _ in choice.flagged_images(store)}
    counts: Counter[str] = Counter()
    read = lru_cache(maxsize=4)(read_kept)  # a patient's films follow one another
    out.mkdir(parents=True, exist_ok=True)
    with (
        LimitedChild("ingest.dicom_profile:write_deidentified", Caps()) as child,
        (out / "films.csv").open("w", encoding="utf-8", newline="") as handle,
    ):
        listed = csv.writer(handle)
        listed.writerow(["subject_id", "code", "image", "film"])
        pairs = _films_of(rows, [file for file in zone.files() if file.kind == "dicom"])
        for (subject, _, _, code, image, _), film in tqdm(pairs, "films", disable=not progress):
            if film is None:
                counts["no DICOM"] += 1
                continue
            if image in flagged and not with_burned_in:
                counts["burned in, or suspected to be"] += 1
                continue
            days = choice.days_of(subject, secret)
            use: dict[str, Any] = {"subject": str(subject), "days": days, "uid_key": uid_key}
            use["known"] = read(zone.path, subject)
            try:
                told, content = child.call(path=str(_unchanged(film)), **use)
            except LimitError:
                counts["could not be read"] += 1
                continue
            target = out / str(subject) / f"{told['uid']}.dcm"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
            listed.writerow([subject, code, image, target.relative_to(out).as_posix()])
            counts["written"] += 1
    return {"written": 0, **counts}


def _films_of(
    rows: list[tuple[Any, ...]], films: list[LandedFile]
) -> list[tuple[tuple[Any, ...], LandedFile | None]]:
    """Pair each event that is an image with its file; a volume with each of its slices' files.

    A film's image has its name; a volume's event has one of its slices as its source.
    """
    by_content = {film.sha256: film for film in films}
    by_id = {film.id: film for film in films}
    pairs: list[tuple[tuple[Any, ...], LandedFile | None]] = []
    volumes: dict[str, tuple[Any, ...]] = {}
    used: set[str] = set()
    with LimitedChild("ingest.dicom_profile:read_identity", Caps()) as child:
        for row in rows:
            film = by_content.get(Path(row[4]).stem)
            one = by_id.get(row[5].partition(":")[0]) if film is None else None
            if one is not None:
                volumes[_series_of(child, one)] = row
                continue
            pairs.append((row, film))
            used |= {film.id} if film is not None else set()
        for film in films if volumes else ():
            row = None if film.id in used else volumes.get(_series_of(child, film))
            if row is not None:
                pairs.append((row, film))
    return pairs


def _series_of(child: LimitedChild, film: LandedFile) -> str:
    try:
        told, _ = child.call(path=str(film.path))
    except LimitError:
        return film.id
    return told["series"] or film.id


def _unchanged(film: LandedFile) -> Path:
    """Give a film's place, if what landed still lies there; an error must not tell its name."""
    try:
        with film.path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        digest = ""
    if digest != film.sha256:
        raise StoreError(f"film {film.id} of the raw zone is gone or changed; ingest it again")
    return film.path
