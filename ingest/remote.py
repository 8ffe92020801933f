"""Land what servers hold in the raw zone, so that it is registered as any directory is.

    store.raw/fetched/SHA256/       one server's, named by the hash of its base URL
    store.raw/fetched/SHA256.json   what it did not give, by reason: the report says so

What landed there is not fetched again, and a fetch that was killed goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ingest.errors import InputError, UsageError
from ingest.fetching import Auth
from ingest.landing import RawZone

__all__ = ["Remote", "is_url", "land_images", "land_records", "not_fetched"]


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Say how servers are asked, and for what."""

    patients: tuple[str, ...] | None = None
    """Ids, or identifiers as `system|value`; None is everybody."""

    search: str | None = None
    """A search relative to the FHIR server's base, such as `Patient?birthdate=ge1950`."""

    export: str | None = None
    """Bulk Data: `system`, `patient` or `group/ID` in place of searches."""

    include: tuple[str, ...] = ()
    """`_include` and `_revinclude` of the searches."""

    types: tuple[str, ...] = ()
    """Resource types; none means all that ingest supports."""

    since: datetime | None = None
    """Only what changed since then."""

    images: str | None = None
    """The base URL of a DICOMweb server, for the studies that the records name."""

    image_search: str | None = None
    """A search of studies there, in place of those that the records name."""

    auth: Auth | None = field(default=None, repr=False)
    """Where tokens for the servers come from."""

    allow_origins: frozenset[str] = frozenset()
    """Other origins that files may come from, without a token."""

    def __post_init__(self) -> None:
        if self.patients is not None and self.search is not None:
            raise UsageError("--patients and --search exclude each other; give one")
        if self.export and (self.patients is not None or self.search or self.include):
            raise UsageError(
                "--export asks for everything; leave out --patients, --search, --include"
            )
        if self.image_search and not self.images:
            raise UsageError("--studies is a search of a DICOMweb server; give it by --dicomweb")


def is_url(source: str | Path) -> bool:
    """Say whether a source is a server.

    >>> is_url("https://fhir.example.org/r4"), is_url("exports/https")
    (True, False)
    """
    return str(source).startswith(("https://", "http://"))


def land_records(zone: RawZone, url: str, remote: Remote, *, progress: bool = False) -> Path:
    """Fetch a FHIR server's records; give the directory where they are.

    Raises:
        InputError: the server gave none; and what `fetch_fhir` and `export_bulk` raise.
        UsageError: the raw zone holds records of another server.
    """
    into = _place(zone, url)
    for other in (zone.path / "fetched").iterdir():
        if other != into and any(other.glob("*.ndjson*")):
            raise UsageError(
                "this store has the records of another server, and ids such as Patient/1 of two "
                "servers are different people; make a store for each"
            )
    shared = {"auth": remote.auth, "allow_origins": remote.allow_origins, "progress": progress}
    if remote.export:
        from ingest.bulk_export import export_bulk

        fetched = export_bulk(
            url, into, level=remote.export, since=remote.since, types=remote.types, **shared
        )
    else:
        from ingest.fhir_server import fetch_fhir

        fetched = fetch_fhir(
            url,
            into,
            patients=remote.patients,
            search=remote.search,
            include=remote.include,
            since=remote.since,
            types=remote.types or None,
            **shared,
        )
    lacking = dict(fetched.missing)
    lacking |= {f"{kind}: the server lets nobody search it": 1 for kind in fetched.unasked}
    _note(into, lacking)
    if not fetched.files:
        raise InputError("the server gave no record of what was asked for")
    return into


def land_images(
    zone: RawZone, remote: Remote, records: Sequence[Path], *, progress: bool = False
) -> Path | None:
    """Fetch images from a DICOMweb server; give the directory where they are, if there are any.

    Args:
        zone: the raw zone.
        remote: with `images`.
        records: NDJSON whose ImagingStudy resources name the studies, unless there is a search.
        progress: whether to show bars.
    """
    from ingest.dicomweb import fetch_dicomweb
    from ingest.studies import study_uids

    studies = None if remote.image_search else study_uids(records)
    if studies == []:
        return None
    into = _place(zone, str(remote.images))
    fetched = fetch_dicomweb(
        str(remote.images),
        into,
        studies=studies,
        search=remote.image_search,
        auth=remote.auth,
        allow_origins=remote.allow_origins,
        progress=progress,
    )
    _note(into, fetched.missing)
    return fetched.directory if sum(fetched.landed.values()) else None


def not_fetched(zone: RawZone) -> dict[str, int]:
    """Say what servers did not give, of all that was asked for: reason and count."""
    found: dict[str, int] = {}
    for note in sorted((zone.path / "fetched").glob("*.json")):
        for reason, n in json.loads(note.read_text("utf-8")).items():
            found[reason] = found.get(reason, 0) + n
    return found


def _note(into: Path, lacking: Mapping[str, int]) -> None:
    note = into.with_suffix(".json")
    partial = note.with_suffix(".partial")
    partial.write_text(json.dumps(dict(lacking), indent=1) + "\n", "utf-8")
    partial.replace(note)


def _place(zone: RawZone, url: str) -> Path:
    name = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    place = zone.path / "fetched" / name
    place.mkdir(parents=True, exist_ok=True)
    return place
