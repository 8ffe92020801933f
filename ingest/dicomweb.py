"""Fetch the images of studies from a DICOMweb server: QIDO-RS to list them, WADO-RS to get them.

First each study is listed (its series, then the instances of each), then the series are fetched,
several at a time, with `transfer-syntax=*`: the bytes that the archive holds, nothing transcoded. A
series comes in one answer (Orthanc gives it six times as fast so as instance by instance), and what
that leaves out is asked for by itself. What holds no picture (reports, segmentations, plans) is
counted and not fetched. What the server does not know, or goes on failing over, is counted as
missing, and the rest is fetched all the same; only failing over one after the other ends the fetch.

Every request goes through `ingest.fetching`. How studies are listed is in `ingest.qido`, how files
are read in `ingest.wado`, how they land and a killed fetch goes on in `ingest.study_landing`.
"""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from ingest.errors import LimitError, UsageError
from ingest.fetching import Auth, Fetcher
from ingest.origins import OutOfReachError, SourceError
from ingest.parallel import in_parallel
from ingest.patience import Passing, Patience
from ingest.qido import NOT_HERE, Bounds, Lister, is_uid
from ingest.study_landing import FetchedStudies, Instance, Series, StudyLanding
from ingest.wado import DICOM, save_files

__all__ = ["Bounds", "fetch_dicomweb"]

_WHOLE_SERVER = (401, 407, 429, 503)
_IN_A_ROW = 5
_NO_SERIES = (400, 405, 406, 501)  # how servers say that they give only instances


def fetch_dicomweb(
    url: str,
    into: Path,
    *,
    studies: Sequence[str] | None = None,
    search: str | None = None,
    modalities: Sequence[str] = (),
    auth: Auth | None = None,
    allow_origins: frozenset[str] = frozenset(),
    bounds: Bounds | None = None,
    workers: int = 4,
    patience: Patience | None = None,
    progress: bool = False,
) -> FetchedStudies:
    """Land in a directory the images of studies; what landed there is not fetched again.

    With neither `studies` nor `search`, all studies of the server.

    Args:
        url: The base URL, such as `https://pacs.example.org/dicom-web`.
        into: A directory for this server alone, in the raw zone; it becomes its owner's only.
        studies: Study Instance UIDs, with or without `urn:oid:`; see `ingest.studies`.
        search: A search of studies, such as `PatientID=123&ModalitiesInStudy=DX`.
        modalities: Only series of these (`DX`, `CT`); none given is all that hold pictures.
        auth: Where tokens come from (`ingest.signing`).
        allow_origins: Other origins that may answer for an instance, without a token.
        bounds: What the server may give.
        workers: Requests at a time.
        patience: How often and how long to ask again.
        progress: Show bars.

    Raises:
        UsageError: options that cannot be.
        SourceError: the server refuses, fails for too long, or makes no sense.
        LimitError: a search finds more than is allowed.
        StoreError: another fetch is at work on `into`.
    """
    asked = _asked(studies, search)
    wanted = frozenset(modality.strip().upper() for modality in modalities)
    known = None if studies is None else [uid.strip().removeprefix("urn:oid:") for uid in studies]
    uids = None if known is None else {uid for uid in known if is_uid(uid)}
    odd = len(set(known or ()) - (uids or set()))
    with (
        Fetcher(url, auth=auth, patience=patience, allow_origins=allow_origins) as fetcher,
        StudyLanding(into, str(fetcher.base)) as landing,
    ):
        work = _Work(fetcher, landing, bounds or Bounds(), wanted)
        told = json.dumps([asked, sorted(uids) if uids is not None else None, sorted(wanted)])
        if not landing.begin(hashlib.sha256(told.encode()).hexdigest()):
            landing.find(work.search(asked) if uids is None else uids)
        unlisted = landing.unlisted()
        bar = {"unit": "study", "total": len(unlisted), "disable": not progress}
        stop = fetcher.retrying.stop
        use = {"workers": workers, "stop": stop}
        in_parallel(unlisted, work.list_study, bar={"desc": "listing", **bar}, **use)
        bar |= {"unit": "series", "total": landing.wanted_count()}
        in_parallel(landing.wanted(), work.fetch, bar={"desc": "fetching", **bar}, **use)
        landing.finish()
        missing = Counter({"study: not a UID": odd} if odd else {})
        fetched = landing.account(requests=fetcher.requests, missing=missing)
        if unlisted and not fetched.landed:
            work.check_base(fetched.missing)
    return fetched


class _Work:
    """List and fetch, from any number of threads."""

    def __init__(
        self, fetcher: Fetcher, landing: StudyLanding, bounds: Bounds, modalities: frozenset[str]
    ) -> None:
        self._fetcher, self._landing = fetcher, landing
        self._bounds, self._lister = bounds, Lister(fetcher, bounds, modalities)
        self._failed_in_a_row = 0
        self._in_series = True
        self._guard = threading.Lock()

    def search(self, query: Sequence[tuple[str, str]]) -> list[str]:
        """Give the UIDs of the studies that a search finds."""
        found, odd = self._lister.search(query)
        for reason, n in odd.items():
            self._landing.count("missing", reason, n)
        return found

    def list_study(self, study: str) -> None:
        """Note what a study consists of."""
        try:
            listing = self._lister.study(study)
        except LimitError:
            self._landing.miss_study(study, "over a limit")
        except SourceError as error:
            self._landing.miss_study(study, self._reason(error))
        else:
            self._went_well()
            if listing is None:
                self._landing.miss_study(study, "not found")
            else:
                self._landing.add(study, listing)

    def fetch(self, series: Series) -> None:
        """Fetch what is wanted of a series: at once where that is most of it, then one by one."""
        left = {one.sop: one for one in series.wanted if not self._is_here(one)}
        before = len(left) + 1
        while self._in_series and len(left) > 1 and 2 * len(left) > series.size:
            if len(left) == before:
                break
            before = len(left)
            self._fetch_series(left, series.size)
        for one in left.values():
            self._fetch_one(one)

    def _is_here(self, one: Instance) -> bool:
        """Say whether its file has its name already, though the state does not know."""
        if self._landing.place(one).is_file():
            self._landing.land(one)
            return True
        return False

    def _fetch_series(self, left: dict[str, Instance], most: int) -> None:
        """Fetch a whole series in one answer, which is much faster, and take out what came.

        Whatever goes wrong with it is no matter yet, but for what is wrong with the server itself:
        each instance that did not come is asked for by itself.
        """
        some = next(iter(left.values()))

        def attempt() -> None:
            try:
                self._receive(f"studies/{some.study}/series/{some.series}", "a series", left, most)
            except Passing as failure:
                if failure.status in _WHOLE_SERVER:
                    raise

        try:
            self._fetcher.retrying.call("a series", attempt)
        except LimitError:
            pass
        except SourceError as error:
            if error.status in _NO_SERIES:
                self._in_series = False
            elif error.status not in NOT_HERE:
                self._reason(error)

    def _fetch_one(self, one: Instance) -> None:
        path = f"studies/{one.study}/series/{one.series}/instances/{one.sop}"

        def attempt() -> None:
            left = {one.sop: one}
            self._receive(path, "an instance", left, 1)
            if left:
                raise Passing("sent another instance than was asked for", status=200)

        try:
            self._fetcher.retrying.call("an instance", attempt)
        except LimitError:
            self._landing.miss(one, f"over the cap of {self._bounds.instance_bytes} bytes")
        except SourceError as error:
            self._landing.miss(one, self._reason(error))

    def _receive(self, path: str, what: str, left: dict[str, Instance], most: int) -> None:
        """Land what an answer brings of what is left, and take it out; `most` files are read."""
        scratch = self._landing.part(next(iter(left.values())))
        use: dict[str, Any] = {"what": what, "accept": DICOM, "foreign": True}
        try:
            with self._fetcher.open(self._fetcher.link(path), **use) as response:
                files = save_files(
                    *(response, scratch, left),
                    cap_bytes=self._bounds.instance_bytes,
                    longest_s=self._fetcher.patience.longest_answer_s,
                )
                for number, sop in enumerate(files, start=1):
                    if self._fetcher.retrying.is_stopped:
                        raise OutOfReachError("stopped")
                    if sop:
                        self._landing.land(left[sop], scratch)
                        del left[sop]
                        self._went_well()
                    if number > most:
                        break
        except (Passing, LimitError):
            if left:  # else all is here, however the answer ended
                raise
        finally:
            scratch.unlink(missing_ok=True)

    def check_base(self, missing: Mapping[str, int]) -> None:
        """Refuse where nothing came and everything was refused, as at a URL that is no DICOMweb.

        Raises:
            SourceError: it is none, or lets us see nothing.
        """
        if not any(" answered 4" in reason for reason in missing):
            return
        # A server that answers a search does know what it is asked for.
        self._lister.check()
        refused = {reason: n for reason, n in missing.items() if reason.endswith("answered 403")}
        if refused:
            raise SourceError(f"{self._fetcher.origin} gave nothing that was asked for: {refused}")

    def _reason(self, error: SourceError) -> str:
        """Say why one thing is missing; raise what is no matter of this one thing."""
        if error.status in NOT_HERE:
            return f"answered {error.status}"
        if self._fetcher.retrying.is_stopped or error.status in _WHOLE_SERVER:
            raise error
        if error.status is None and not isinstance(error, OutOfReachError):
            raise error
        with self._guard:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= _IN_A_ROW:
                raise error
        if isinstance(error, OutOfReachError):
            return "the server went on failing over it"
        return f"answered {error.status}"

    def _went_well(self) -> None:
        with self._guard:
            self._failed_in_a_row = 0


def _asked(studies: Sequence[str] | None, search: str | None) -> list[tuple[str, str]]:
    if search is None:
        return []
    if studies is not None:
        raise UsageError("studies are given or searched for, not both")
    query = httpx.QueryParams(search.strip().removeprefix("studies").lstrip("?")).multi_items()
    if not query or any(not value or name in ("limit", "offset") for name, value in query):
        raise UsageError(
            "a search of studies is NAME=VALUE&…, such as ModalitiesInStudy=DX, without limit and "
            "offset"
        )
    return query
