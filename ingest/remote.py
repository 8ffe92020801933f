"""Land what servers hold in the raw zone, so that it is registered as any directory is.

    store.raw/fetched/SHA256/       one server's, named by the hash of its base URL
    store.raw/fetched/SHA256.json   what it did not give, by reason (of images by themselves): the
                                    report says so; and up to when each question is answered

What landed there is not fetched again, and a fetch that was killed goes on where it stopped. So the
same question sends nothing; what has changed since it was answered is asked for by `since`. Up to
when a question is answered is the earliest time of all that it consists of: patients, and types.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ingest.errors import InputError, UsageError
from ingest.fetching import Auth
from ingest.landing import RawZone
from ingest.origins import SourceError, origin_of
from ingest.questions import LATE

__all__ = ["Remote", "answered_until", "is_url", "land_images", "land_records", "not_fetched"]


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

    since: datetime | Literal["last"] | None = None
    """Only what changed since then, or since the same question was last answered."""

    images: str | None = None
    """The base URL of a DICOMweb server, for the studies that the records name."""

    image_search: str | None = None
    """A search of studies there, in place of those that the records name."""

    auth: Auth | None = field(default=None, repr=False)
    """Where tokens for the FHIR server come from, and for a DICOMweb server of the same origin."""

    image_auth: Auth | None = field(default=None, repr=False)
    """Where tokens for the DICOMweb server come from, if it has its own."""

    allow_origins: frozenset[str] = frozenset()
    """Other origins that files may come from, without a token."""

    def __post_init__(self) -> None:
        if self.patients is not None and self.search is not None:
            raise UsageError("--patients and --search exclude each other; give one")
        if self.patients is not None and not self.patients:
            raise UsageError("--patients names no patient; leave it out to ask for everybody")
        if self.export and (self.patients is not None or self.search or self.include):
            raise UsageError(
                "--export asks for everything; leave out --patients, --search, --include"
            )
        if self.image_search and not self.images:
            raise UsageError("--studies is a search of a DICOMweb server; give it by --dicomweb")
        if self.images:
            try:
                origin_of(self.images)
            except SourceError:
                raise UsageError("--dicomweb is the http or https URL of a server") from None
        if self.image_auth is not None and not self.images:
            raise UsageError("a token for a DICOMweb server needs one; give it by --dicomweb")

    @property
    def question(self) -> str:
        """A name for what is asked of a FHIR server, whatever the time since which it changed.

        Patients who are new to a list come whole, as do types; an export is one question.
        """
        wishes = [self.patients is not None, self.search, self.export, sorted(self.include)]
        wishes.append(sorted(self.types) if self.export else [])
        return hashlib.sha256(json.dumps(wishes).encode()).hexdigest()[:16]


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
        UsageError: the raw zone holds records of another server, or `since` is the last time and
            there was none.
    """
    into = _place(zone, url)
    for other in (zone.path / "fetched").iterdir():
        if other != into and any(other.glob("*.ndjson*")):
            raise UsageError(
                "this store has the records of another server, and ids such as Patient/1 of two "
                "servers are different people; make a store for each"
            )
    until = _until(into)
    last = until.get(remote.question)
    if remote.since == "last" and last is None:
        raise UsageError(
            "--since last: no fetch from this server that asked the same (a list of patients or "
            "none, search, export, include) has finished; give a time, or leave --since out"
        )
    shared = {"auth": remote.auth, "allow_origins": remote.allow_origins, "progress": progress}
    if remote.export:
        from ingest.bulk_export import export_bulk

        before = None if last is None else datetime.fromisoformat(last)
        since = remote.since
        if since == "last":
            since = before and before - LATE
        use = {"level": remote.export, "types": remote.types, "since": since}
        fetched = export_bulk(url, into, **use, **shared)
        as_of = _later(fetched.as_of, since, before)
    else:
        from ingest.fhir_server import fetch_fhir

        fetched = fetch_fhir(
            url,
            into,
            patients=remote.patients,
            search=remote.search,
            include=remote.include,
            types=remote.types or None,
            since=remote.since,
            **shared,
        )
        as_of = fetched.as_of
    lacking = dict(fetched.missing)
    lacking |= {f"{kind}: the server lets nobody search it": 1 for kind in fetched.unasked}
    if as_of is not None:
        until.pop(remote.question, None)
        until[remote.question] = as_of.astimezone(UTC).isoformat()
    _note(into, until, not_fetched=lacking)
    if not fetched.files:
        raise InputError("the server gave no record of what was asked for")
    return into


def land_images(
    zone: RawZone,
    remote: Remote,
    records: Sequence[Path],
    *,
    servers: Sequence[str] = (),
    progress: bool = False,
) -> Path | None:
    """Fetch images from a DICOMweb server; give the directory where they are, if there are any.

    Args:
        zone: The raw zone.
        remote: With `images`.
        records: NDJSON whose ImagingStudy resources name the studies, unless there is a search.
        servers: The FHIR servers that `remote.auth` is for; without any, it is for this server.
        progress: Whether to show bars.

    Raises:
        SourceError: what `fetch_dicomweb` raises.
    """
    from ingest.dicomweb import fetch_dicomweb
    from ingest.studies import study_uids

    studies = None if remote.image_search else study_uids(records)
    if studies == []:
        return None
    into, auth = _place(zone, str(remote.images)), _image_auth(remote, servers)
    try:
        fetched = fetch_dicomweb(
            str(remote.images),
            into,
            studies=studies,
            search=remote.image_search,
            auth=auth,
            allow_origins=remote.allow_origins,
            progress=progress,
        )
    except SourceError as error:
        if error.status == 401 and auth is None and remote.auth is not None:
            raise SourceError(
                f"{error}; it is another server than the one that the token is for, so give its "
                "own (--dicomweb-token, --dicomweb-client-id)",
                status=error.status,
            ) from None
        raise
    # The FHIR server may have the same base URL, and then its note is here.
    _note(into, _until(into), images_not_fetched=fetched.missing)
    return fetched.directory if sum(fetched.landed.values()) else None


def _later(
    as_of: datetime | None, since: datetime | None, before: datetime | None
) -> datetime | None:
    """Say up to when an export's question is answered, by this one and those before."""
    if as_of is None or before is None:
        return as_of
    if since is not None and since > before:  # what changed in between was not asked for
        return before
    return max(as_of, before)  # asked without `since` again, it is recalled with its old time


def _image_auth(remote: Remote, servers: Sequence[str]) -> Auth | None:
    """Say what to ask the DICOMweb server with: never with a token for another origin."""
    if remote.image_auth is not None or remote.auth is None or not servers:
        return remote.image_auth or remote.auth
    images = origin_of(str(remote.images))
    home = [url for url in servers if origin_of(url) == images]
    if not home:
        return None
    from ingest.signing import finding_at

    return finding_at(remote.auth, home[0])


def not_fetched(zone: RawZone) -> dict[str, int]:
    """Say what servers did not give, of all that was asked for: reason and count."""
    found: dict[str, int] = {}
    for told in _notes(zone):
        # Of one base URL both are counted in one state, and what images lack is the later.
        lacking = {**told["not_fetched"], **told.get("images_not_fetched", {})}
        for reason, n in lacking.items():
            found[reason] = found.get(reason, 0) + n
    return found


def answered_until(zone: RawZone) -> str | None:
    """Say up to when (ISO 8601, UTC) the question that was asked last is answered, if any was."""
    times = [time for told in _notes(zone) for time in told["until"].values()]
    return times[-1] if times else None


def _notes(zone: RawZone) -> list[dict[str, Any]]:
    return [_read(note) for note in sorted((zone.path / "fetched").glob("*.json"))]


def _read(note: Path) -> dict[str, Any]:
    told = json.loads(note.read_text("utf-8"))
    return told if "until" in told else {"not_fetched": told, "until": {}}  # an older version's


def _until(into: Path) -> dict[str, str]:
    """Give the questions that were answered, the last one last, and up to when each is."""
    note = into.with_suffix(".json")
    return _read(note)["until"] if note.exists() else {}


def _note(into: Path, until: Mapping[str, str], **lacking: Mapping[str, int]) -> None:
    """Keep the times, and what is lacking: `not_fetched`, `images_not_fetched`, or as it was."""
    note = into.with_suffix(".json")
    partial = note.with_suffix(".partial")
    before = _read(note) if note.exists() else {"not_fetched": {}}
    told = {**before, "until": dict(until)} | {kind: dict(n) for kind, n in lacking.items()}
    partial.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    partial.replace(note)


def _place(zone: RawZone, url: str) -> Path:
    name = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    place = zone.path / "fetched" / name
    place.mkdir(parents=True, exist_ok=True)
    return place
