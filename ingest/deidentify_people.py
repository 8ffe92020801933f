"""Say what a person's record, a reference or a film's header adds to what is known of a patient."""

import json
import re
from collections.abc import Mapping
from typing import Any

from ingest.deidentify_fold import tokens_of
from ingest.deidentify_terms import Terms

__all__ = ["add_film", "add_person", "add_said", "add_shown", "name_parts", "names_of", "read_json"]

_HOUSES = frozenset(
    ["hospital", "clinic", "department", "laboratory", "laboratories", "university", "institute"]
)
"""Words that are no person's, though a reference to a Practitioner may show them."""

_NO_PERSON = _HOUSES | frozenset(
    """
    hospital hospitals clinic clinics health healthcare center centre medical medicine group
    department dept institute laboratory lab labs laboratories inc llc ltd gmbh klinik klinikum
    krankenhaus praxis university universitat pharmacy apotheke practice care system systems service
    services ward unit emergency station abteilung team nurse nursing physician doctor staff surgery
    therapy internal family general primary radiology cardiology oncology neurology pathology
    anesthesiology dermatology urology nephrology psychiatry pediatrics gynecology obstetrics
    orthopedics ophthalmology bank blood registry office company corporation foundation association
    """.split()  # noqa: SIM905 - one a line would be a page
)


def add_person(terms: Terms, person: Any, *, own: bool) -> None:
    """Add a Patient, RelatedPerson, Practitioner or a part of one (`contact`)."""
    if not isinstance(person, dict):
        return
    for name in names_of(person):
        terms.add_name(*name_parts(name))
        if isinstance(name.get("text"), str):
            terms.add_words_of_name(name["text"])
    for telecom in _listed(person.get("telecom")):
        if isinstance(telecom.get("value"), str):
            terms.add_contact(telecom["value"])
    for address in _listed(person.get("address")) if own else ():
        _add_address(terms, address)
    for identifier in _listed(person.get("identifier")):
        if isinstance(identifier.get("value"), str):
            terms.add_id(identifier["value"], own=own)
    if own and isinstance(person.get("id"), str):
        terms.add_id(person["id"], own=True)
    if own and isinstance(person.get("birthDate"), str):
        terms.add_birth(person["birthDate"])
    for part in (*_listed(person.get("contact")), *_listed(person.get("contained"))):
        add_person(terms, part, own=own)
    for extension in _listed(person.get("extension")) if own else ():
        if "maidenname" in str(extension.get("url")).lower().replace("-", ""):
            terms.add_words_of_name(str(extension.get("valueString") or ""))
        for kind in ("valueHumanName", "valueAddress", "valueContactPoint", "valueIdentifier"):
            if isinstance(extension.get(kind), dict):
                field = {"valueHumanName": "name", "valueAddress": "address"}.get(kind)
                field = field or ("telecom" if kind == "valueContactPoint" else "identifier")
                add_person(terms, {field: extension[kind]}, own=True)


def add_shown(terms: Terms, words: str, *, person: bool) -> None:
    """Add what a reference shows; whom it refers to may be a department.

    >>> terms = Terms()
    >>> for words in ("Dr. Adam Careful", "Mercy Hospital", "Radiology"):
    ...     add_shown(terms, words, person=False)
    >>> "careful" in terms.phrases, "mercy" in terms.phrases, "radiology" in terms.phrases
    (True, False, False)
    """
    tokens = tokens_of(words)
    if person:
        somebody = not _HOUSES & set(tokens)
    else:
        somebody = 2 <= len(tokens) <= 5 and not _NO_PERSON & set(tokens)
    if somebody:
        terms.add_words_of_name(words.partition("(")[0])


def add_said(terms: Terms, kind: str, value: str) -> None:
    """Add a row of what is known of a subject (deidentify_known.py)."""
    if kind in ("person", "staff"):
        add_person(terms, read_json(value), own=kind == "person")
    elif kind in ("shown", "role"):
        words = read_json(value)
        if isinstance(words, str):
            add_shown(terms, words, person=kind == "shown")
    elif kind in ("id", "own"):
        terms.add_id(value, own=kind == "own")
    elif kind == "film":
        add_film(terms, read_json(value))


def add_film(terms: Terms, said: dict[str, list[str]]) -> None:
    """Add who a DICOM header says that the patient is (dicom_profile.py)."""
    for name in said["names"]:
        family, *given = [part.strip() for part in name.split("^")][:3]
        terms.add_name([part for part in given if part], family)
    for place in said["places"]:
        terms.add_place([place])
    for contact in said["contacts"]:
        terms.add_contact(contact)
    for identifier in said["ids"]:
        terms.add_id(identifier, own=True)


def _add_address(terms: Terms, address: dict[str, Any]) -> None:
    lines = address.get("line")
    text = address.get("text")
    written = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    for line in _listed(address.get("_line")):  # parts of a street's name (iso21090-ADXP)
        parts = [str(part.get("valueString") or "") for part in _listed(line.get("extension"))]
        written += [*parts, " ".join(parts)]
    if isinstance(text, str):
        wide = {address.get("state"), address.get("country")}
        for part in filter(None, map(str.strip, re.split(r"[,;\n]", text))):
            if any(letter.isdigit() for letter in part):
                written.append(part)
            elif part not in wide:
                terms.add_place(city=part)
    terms.add_place(written, str(address.get("city") or ""), str(address.get("postalCode") or ""))
    terms.add_place(city=str(address.get("district") or ""))


def name_parts(name: Mapping[str, Any]) -> tuple[list[str], str]:
    """Give the given names and the family name of a FHIR HumanName, whatever is wrong with it."""
    given = name.get("given")
    firsts = [part for part in given if isinstance(part, str)] if isinstance(given, list) else []
    family = name.get("family")
    return firsts, family if isinstance(family, str) else ""


def names_of(person: Any) -> list[dict[str, Any]]:
    """List a person's names."""
    return _listed(person.get("name")) if isinstance(person, dict) else []


def _listed(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def read_json(text: str) -> Any:
    """Read JSON, or None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
