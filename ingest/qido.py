"""List what a DICOMweb server holds: QIDO-RS (DICOM PS3.18 section 10.6), page by page.

A study is listed by its series, and each series by its instances, since only series must carry
their modality. URLs are made here from UIDs that are checked to be some; those that a server names
(Retrieve URL) are not used.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from ingest.answers import parse_json
from ingest.errors import LimitError
from ingest.fetching import Fetcher
from ingest.headers import object_kind
from ingest.origins import SourceError
from ingest.study_landing import Instance, Listing

__all__ = ["NOT_HERE", "Bounds", "Lister", "is_uid"]

NOT_HERE = (403, 404, 410)
"""Statuses by which a server says that one thing is not there, or not for us."""

_JSON = "application/dicom+json"
_STUDY, _SERIES, _SOP = "0020000D", "0020000E", "00080018"
_MODALITY, _SOP_CLASS, _COUNT = "00080060", "00080016", "00201209"
_NAMES = {_STUDY: "study", _SERIES: "series", _SOP: "instance"}
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Bound what a server may give."""

    instance_bytes: int = 512 << 20
    """Of one instance; ingest takes no larger file."""

    study_instances: int = 50_000
    """Of one study; the largest CT runs have some ten thousand."""

    studies: int = 1_000_000
    """That a search may find."""

    list_bytes: int = 64 << 20
    """Of one page of a list, unpacked."""

    page_size: int = 500
    """Entries on a page that are asked for; servers give fewer or more as they please."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive; got {name}={value}")


class Lister:
    """Ask one server what it holds, from any number of threads."""

    def __init__(self, fetcher: Fetcher, bounds: Bounds, modalities: frozenset[str]) -> None:
        self._fetcher, self._bounds, self._modalities = fetcher, bounds, modalities

    def search(self, query: Sequence[tuple[str, str]]) -> tuple[list[str], Counter[str]]:
        """Give the UIDs of the studies that a search finds, and what it found without one.

        Raises:
            LimitError: it finds more than is allowed.
            SourceError: the server refuses, fails for too long, or answers with no list.
        """
        most = self._bounds.studies
        found = self._list("studies", query, _STUDY, "a search of studies", most=most)
        return list(found), found.odd

    def check(self) -> None:
        """Ask for any one study, to see whether the server answers such questions at all.

        Raises:
            SourceError: it does not.
        """
        self._page("studies", [("limit", "1")], "a search of studies")

    def study(self, study: str) -> Listing | None:
        """List a study; None where the server knows no series of it.

        Raises:
            LimitError: it has more instances than is allowed.
            SourceError: as for `search`.
        """
        path = f"studies/{study}/series"
        left = self._bounds.study_instances
        found = self._list(path, [], _SERIES, "the series of a study", most=left)
        listing = Listing(missing=Counter(found.odd))
        for series, entry in found.items():
            modality, said = entry.modality, entry.count
            if self._modalities and modality and modality not in self._modalities:
                listing.unasked[_word(modality)] += 1
                continue
            try:
                here = self._list(
                    f"{path}/{series}/instances",
                    *([], _SOP, "the instances of a series"),
                    most=left,
                    said=said,
                )
            except SourceError as error:
                if error.status not in NOT_HERE:
                    raise
                listing.missing[f"series: answered {error.status}"] += 1
                continue
            left -= len(here)
            listing.missing.update(here.odd)
            short = 0 if said is None else said - len(here) - sum(here.odd.values())
            if short > 0:
                listing.missing["instance: counted by the server and not given"] += short
            for sop, held in here.items():
                one = Instance(study=study, series=series, sop=sop, modality=_word(modality))
                kind = _kind(modality, held.sop_class)
                if kind is None:
                    listing.instances.append(one)
                else:
                    listing.pictureless.append((one, kind))
        return listing if found or found.odd else None

    def _list(
        self,
        path: str,
        query: Sequence[tuple[str, str]],
        tag: str,
        what: str,
        *,
        most: int,
        said: int | None = None,
    ) -> "_Found":
        """Ask page by page until nothing new comes.

        A short page is not the last one on every server, and some know neither limit nor offset
        and give all of it each time; so the end is a page that brings nothing new. Where a short
        page brings as many as the server `said` that there are, that is the end, too.
        """
        found, offset, size = _Found(), 0, self._bounds.page_size
        while True:
            paging = [("limit", str(size)), ("offset", str(offset))]
            entries = self._page(path, [*query, *paging], what)
            page: dict[str, _Entry] = {}
            before, named = len(found), 0
            for entry in entries:
                uid = _text(entry, tag)
                if is_uid(uid):
                    named += 1
                    page[uid] = _Entry(
                        modality=_text(entry, _MODALITY).upper(),
                        sop_class=_text(entry, _SOP_CLASS),
                        count=_number(entry, _COUNT),
                    )
                elif not offset:  # of further pages, it may be the same once more
                    found.odd[f"{_NAMES[tag]}: listed without a UID"] += 1
            found.update(page)
            if tag == _SOP and named > len(page) and len(found) > before:
                # An archive may hold two files under one UID; it gives only one of them for it.
                found.odd["instance: listed twice under one UID"] += named - len(page)
            offset += len(entries)
            if len(found) > most:
                raise LimitError(f"{what} gave over {most}; ask for fewer")
            if len(found) == before or (
                len(entries) < size and len(found) + sum(found.odd.values()) == said
            ):
                return found

    def _page(self, path: str, query: Sequence[tuple[str, str]], what: str) -> list[dict[str, Any]]:
        url = self._fetcher.link(path).copy_with(params=list(query))

        def attempt() -> Any:
            answer = self._fetcher.get(
                url, what=what, cap_bytes=self._bounds.list_bytes, accept=_JSON
            )
            # No content is how QIDO-RS says that there is nothing (PS3.18 section 10.6.3).
            return parse_json(answer.content, what) if answer.content.strip() else []

        entries = self._fetcher.retrying.call(what, attempt)
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise SourceError(
                f"{self._fetcher.origin} answered with what is no list when asked for {what}; give "
                "a DICOMweb server's base URL"
            )
        return entries


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """Hold what is needed of an entry: lists are long, and the rest names the patient."""

    modality: str
    sop_class: str
    count: int | None


class _Found(dict[str, _Entry]):
    """Hold entries of a list by UID, and count those that have none."""

    def __init__(self) -> None:
        super().__init__()
        self.odd: Counter[str] = Counter()


def _kind(modality: str, sop_class: str) -> str | None:
    header = Dataset()
    header.Modality, header.SOPClassUID = modality, sop_class
    return object_kind(header)


def _word(modality: str) -> str:
    """Keep a modality as a name to count by; what a server wrote there may be anything."""
    return modality if re.fullmatch("[A-Z0-9]{1,16}", modality) else "unknown"


def is_uid(text: str) -> bool:
    """Say whether a text can stand in a URL as a UID (PS3.5 section 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _text(entry: Mapping[str, Any], tag: str) -> str:
    """Read a value of DICOM JSON (PS3.18 annex F), the first of several."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else None
    return value.strip().strip("\0") if isinstance(value, str) else ""


def _number(entry: Mapping[str, Any], tag: str) -> int | None:
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    try:
        return int(values[0]) if isinstance(values, list) and values else None
    except (TypeError, ValueError, OverflowError):
        return None
