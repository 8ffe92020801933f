"""Say what to ask a FHIR server: from what a user wants, and from what the server offers.

    `Patient/ID/$everything`     for each patient, where the CapabilityStatement offers it
    `TYPE?patient=Patient/ID`    for each patient and type, where it does not
    `TYPE`                       for each type, where no patients are named

A question is the URL of the first page of a chain; its name is that URL. Its topic is the same URL
without a time: for each topic the state keeps up to when it is answered, whichever fetch did so.
Who belongs to a cohort does not depend on what changed, but may do so only the next time: such a
question carries the time in its fragment, which is not sent.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlencode

from ingest.errors import UsageError

__all__ = ["LATE", "Asking", "Offer", "Question", "instant"]

LATE = timedelta(minutes=5)
"""How much earlier than the last answer the next one begins: transactions that began before it may
commit after it, with the time of their beginning. What comes again is left out."""

_PATIENT = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
_SEARCH = re.compile(r"([A-Z][A-Za-z]{2,40})(?:\?([^#]*))?")
_INCLUDE = re.compile(
    r"(?:(_include|_revinclude)(:iterate)?=)?(([A-Z]\w+):[\w\-*]+(?::([A-Z]\w+))?)"
)

# What $everything brings along, and a search by patient only if it is asked to.
_INCLUDES = {
    "Encounter": "Encounter:location",
    "MedicationAdministration": "MedicationAdministration:medication",
    "MedicationDispense": "MedicationDispense:medication",
    "MedicationRequest": "MedicationRequest:medication",
    "MedicationStatement": "MedicationStatement:medication",
}
_UNSEARCHED = ("Binary",)  # hardly a server searches it; what refers to it leads to it
_NO_PATIENT = ("Location", "Medication")


@dataclass(frozen=True, kw_only=True)
class Question:
    """A chain of pages, named by the URL of its first."""

    first: str

    what: str
    """In words that name no patient."""

    patient: str = ""
    """Id of the one patient whom it is about."""

    cohort: bool = False
    """Whether the Patients that it finds are to be asked for."""

    expected: bool = False
    """Whether finding nothing means that the patient is unknown."""

    since: datetime | None = None
    """Only what changed since then; None is all."""

    @property
    def topic(self) -> str:
        """What it asks about, whatever the time: the URL of the question that asks for all."""
        return self.first if self.since is None else self.first.removesuffix(self._time)

    @property
    def _time(self) -> str:
        if self.since is None:
            return ""
        time = instant(self.since)
        if self.cohort:
            return f"#{time}"
        if "/$everything?" in self.first:
            return "&" + urlencode({"_since": time})
        return "&" + urlencode({"_lastUpdated": f"ge{time}"})

    def changed(self, since: datetime) -> "Question":
        """Ask only for what changed since a time."""
        timed = replace(self, since=since, expected=False)
        return replace(timed, first=f"{self.topic}{timed._time}")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a server's CapabilityStatement says that may be asked."""

    everything: bool

    parameters: dict[str, list[str]]
    """Search parameters of each type that can be searched; an empty list says nothing."""

    includes: dict[str, list[str]]
    """What each type's search can be asked to bring along."""

    @classmethod
    def of(cls, statement: dict[str, Any]) -> "Offer":
        """Read a CapabilityStatement."""
        parameters: dict[str, list[str]] = {}
        includes: dict[str, list[str]] = {}
        operations: list[Any] = []
        for rest in _objects(statement.get("rest")):
            operations += _objects(rest.get("operation"))
            for resource in _objects(rest.get("resource")):
                kind = str(resource.get("type"))
                does = [i.get("code") for i in _objects(resource.get("interaction"))]
                if not does or "search-type" in does:
                    named = [p.get("name") for p in _objects(resource.get("searchParam"))]
                    parameters[kind] = [name for name in named if isinstance(name, str)]
                    brought = resource.get("searchInclude")
                    includes[kind] = brought if isinstance(brought, list) else []
                if kind == "Patient":
                    operations += _objects(resource.get("operation"))
        return cls(
            everything=any(_is_everything(operation) for operation in operations),
            parameters=parameters,
            includes=includes,
        )


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a user wants of a server; see `ingest.fhir_server.fetch_fhir`."""

    patients: Sequence[str] | None
    search: str | None
    include: Sequence[str]
    since: datetime | Literal["last"] | None
    types: Sequence[str]
    page_size: int

    def __post_init__(self) -> None:
        if self.patients is not None and self.search is not None:
            raise UsageError("patients and a search exclude each other; give one")
        if self.search is not None and not _SEARCH.fullmatch(self.search):
            raise UsageError("a search is written as Type?parameter=value, relative to the server")
        if self.patients is not None and not self.patients:
            raise UsageError("the list of patients is empty; leave it out to ask for everybody")
        if isinstance(self.since, datetime) and self.since.tzinfo is None:
            raise UsageError("since needs a time zone; got a time without one")
        if self.page_size < 1:
            raise UsageError(f"page_size must be positive; got {self.page_size}")
        for number, name in enumerate(self.patients or (), start=1):
            if "|" not in name and not _PATIENT.fullmatch(name):
                # Not the value itself: it may be anything of a patient's.
                raise UsageError(f"patient {number} is neither an id nor a system|identifier")
        for clause in self.include:
            self._check_include(clause)

    @property
    def name(self) -> str:
        """A name that the same wishes have again, and no others."""
        named = None if self.patients is None else sorted(self.patients)
        wishes = [named, self.search, sorted(self.include), str(self.since)]
        return hashlib.sha256(json.dumps([*wishes, sorted(self.types)]).encode()).hexdigest()

    @property
    def by_patient(self) -> bool:
        """Whether it goes from patients to their records."""
        return self.patients is not None or (self.search or "").partition("?")[0] == "Patient"

    def _check_include(self, clause: str) -> None:
        """Refuse what would be left out of every question in silence."""
        kind, _, value = _include(clause)
        if not kind:
            raise UsageError(
                f"{clause!r} does not say what it leads to; write _revinclude={value}:Type"
            )
        if self.search is not None and not self.by_patient:
            asked = {self.search.partition("?")[0]}
        else:
            asked = {*self.types} - {*_UNSEARCHED, *(_NO_PATIENT if self.by_patient else ())}
            if self.search is not None or any("|" in name for name in self.patients or ()):
                asked.add("Patient")
        if kind not in asked:
            raise UsageError(f"{clause!r} goes with a search of {kind}, and none is made of it")

    def ids(self) -> list[str]:
        """List the patients who are named by their id."""
        named = [_PATIENT.fullmatch(name) for name in self.patients or () if "|" not in name]
        return list(dict.fromkeys(match[1] for match in named if match))

    def first(self, base: str, offer: Offer) -> list[Question]:
        """List what can be asked before any patient is known."""
        if self.search is not None:
            kind, _, query = self.search.partition("?")
            query = _joined(query, _encoded(self._included(kind)))
            first = self._url(base, kind, query)
            return [Question(first=first, what="a page of the search", cohort=self.by_patient)]
        if self.patients is not None:
            brought = _encoded(self._included("Patient"))
            queries = [
                _joined(urlencode({"identifier": name}), brought)
                for name in dict.fromkeys(self.patients)
                if "|" in name
            ]
            what = "a patient by identifier"
            return [
                Question(first=self._url(base, "Patient", query), what=what, cohort=True)
                for query in queries
            ]
        asked = [kind for kind in self.types if kind in offer.parameters]
        return [
            Question(first=self._search(base, offer, kind), what=f"a page of {kind}")
            for kind in asked
            if kind not in _UNSEARCHED
        ]

    def of_patient(
        self, base: str, offer: Offer, patient: str, *, landed: bool
    ) -> Iterator[Question]:
        """List what is asked about one patient, whose Patient may have `landed` already."""
        if offer.everything and not self.include:
            first = f"{base}Patient/{patient}/$everything?_count={self.page_size}"
            yield Question(first=first, what="a page of Patient/$everything", patient=patient)
            return
        for kind in self.types:
            name = self._patient_parameter(offer, kind)
            if name and not (landed and kind == "Patient"):
                # With the type, although `patient` can have no other: several servers (Medplum's
                # among them) find nothing by the bare id, and do not say so.
                value = patient if name == "_id" else f"Patient/{patient}"
                first = self._search(base, offer, kind, (name, value))
                yield Question(
                    first=first,
                    what=f"a page of {kind}",
                    patient=patient,
                    expected=kind == "Patient",
                )

    def unasked(self, offer: Offer) -> tuple[str, ...]:
        """List the types that the server lets nobody search, and so were not asked for."""
        if self.search is not None and not self.by_patient:
            return ()
        if self.by_patient:
            if offer.everything and not self.include:
                return ()
            left = [t for t in self.types if not self._patient_parameter(offer, t)]
            return tuple(t for t in left if t not in (*_UNSEARCHED, *_NO_PATIENT))
        left = [t for t in self.types if t not in offer.parameters]
        return tuple(t for t in left if t not in _UNSEARCHED)

    def _patient_parameter(self, offer: Offer, kind: str) -> str:
        if kind not in offer.parameters or kind in (*_UNSEARCHED, *_NO_PATIENT):
            return ""
        if kind == "Patient":
            return "_id"
        listed = offer.parameters[kind] or ["patient"]
        return next((name for name in ("patient", "subject") if name in listed), "")

    def _search(self, base: str, offer: Offer, kind: str, *query: tuple[str, str]) -> str:
        able = offer.includes.get(kind, [])
        own = _INCLUDES.get(kind)
        brought = [("_include", own)] if own and (own in able or "*" in able) else []
        brought += self._included(kind)
        return self._url(base, kind, _encoded([*query, *dict.fromkeys(brought)]))

    def _included(self, kind: str) -> list[tuple[str, str]]:
        """Give the parameters of the includes that go with searches of a type."""
        told = [_include(clause) for clause in self.include]
        return [(name, value) for of, name, value in told if of == kind]

    def _url(self, base: str, kind: str, query: str) -> str:
        counted = re.search(r"(?:^|&)_count=", query)
        size = "" if counted else f"_count={self.page_size}"
        return f"{base}{kind}?{_joined(query, size)}"


def _include(clause: str) -> tuple[str, str, str]:
    """Give the type whose search an include goes with, its parameter and its value.

    >>> _include("Observation:device"), _include("_revinclude=Provenance:target:Observation")[:2]
    (('Observation', '_include', 'Observation:device'), ('Observation', '_revinclude'))
    """
    found = _INCLUDE.fullmatch(clause)
    if not found:
        raise UsageError(f"{clause!r} is no include; write Type:parameter")
    name, iterate, value, source, target = found.groups(default="")
    kind = target if name == "_revinclude" else source
    return kind, f"{name or '_include'}{iterate}", value


def _encoded(query: Sequence[tuple[str, str]]) -> str:
    return urlencode(query, safe=":/")


def _joined(*queries: str) -> str:
    return "&".join(query for query in queries if query)


def instant(time: datetime) -> str:
    """Write a time as FHIR does; two compare as their times do."""
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _is_everything(operation: dict[str, Any]) -> bool:
    said = f"{operation.get('name')} {operation.get('definition')}"
    return bool(re.search(r"(?:^|[\s/-])\$?everything\b", said)) and "Encounter" not in said


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
