"""Name codes: `SYSTEM//CODE`, from the codings of a FHIR CodeableConcept.

The first coding by the order below is the code; the others are its parents. A system that is not
in the table is named by the last part of its URL, so that `…/CodeSystem/mimic-d-items` becomes
`MIMIC_D_ITEMS`; where that part is another system's name, or says what an event is, `LOCAL_` comes
before it (`LOCAL_NOTE`; `HL7_` where it is HL7's). Two systems whose URLs end alike have one name,
unless a code map tells them apart.
A code without system is `LOCAL//…`, a concept with words only is `TEXT//…`.

A user's `Naming` (ingest/code_map.py reads it from a file) goes before the table: it names systems,
says which standard code a local one stands for (the local one becomes a parent), and what codes
without a system are called.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

__all__ = [
    "DIED",
    "DOTTING",
    "PLAIN",
    "ROLES",
    "Concept",
    "Naming",
    "is_known",
    "name_coding",
    "name_concept",
    "plain_system",
    "system_prefix",
]

_SYSTEMS = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RXNORM",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://hl7.org/fhir/sid/icd-9-cm/diagnosis": "ICD9CM",
    "http://hl7.org/fhir/sid/icd-9-cm/procedure": "ICD9PROC",
    "http://terminology.hl7.org/CodeSystem/icd9cm": "ICD9CM",
    "http://hl7.org/fhir/sid/icd-10-pcs": "ICD10PCS",
    "http://www.cms.gov/Medicare/Coding/ICD10": "ICD10PCS",
    "http://id.who.int/icd/release/11/mms": "ICD11",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "ICD10GM",
    "http://fhir.de/CodeSystem/bfarm/ops": "OPS",
    "http://hl7.org/fhir/sid/cvx": "CVX",
    "http://hl7.org/fhir/sid/ndc": "NDC",
    "http://www.ama-assn.org/go/cpt": "CPT",
    "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets": "HCPCS",
    "http://www.whocc.no/atc": "ATC",
    "http://dicom.nema.org/resources/ontology/DCM": "DCM",
    "http://www.radlex.org": "RADLEX",
    "http://radlex.org": "RADLEX",
    "http://fdasis.nlm.nih.gov": "UNII",
    # MIMIC-IV on FHIR writes ICD codes without their dot, under its own URLs.
    "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd9": "ICD9CM",
    "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd10": "ICD10CM",
    "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-procedure-icd9": "ICD9PROC",
    "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-procedure-icd10": "ICD10PCS",
}
_OIDS = {
    "2.16.840.1.113883.6.1": "LOINC",
    "2.16.840.1.113883.6.96": "SNOMED",
    "2.16.840.1.113883.6.88": "RXNORM",
    "2.16.840.1.113883.6.90": "ICD10CM",
    "2.16.840.1.113883.6.3": "ICD10",
    "2.16.840.1.113883.6.103": "ICD9CM",
    "2.16.840.1.113883.6.104": "ICD9PROC",
    "2.16.840.1.113883.6.4": "ICD10PCS",
    "2.16.840.1.113883.12.292": "CVX",
    "2.16.840.1.113883.6.69": "NDC",
    "2.16.840.1.113883.6.12": "CPT",
    "2.16.840.1.113883.6.73": "ATC",
}
_ORDER = (
    *("LOINC", "SNOMED", "RXNORM", "CVX", "ICD10CM", "ICD10", "ICD10GM", "ICD9CM"),
    *("ICD10PCS", "ICD9PROC", "OPS", "CPT", "HCPCS", "ATC", "NDC"),
)
_NAMES = frozenset({*_SYSTEMS.values(), *_OIDS.values()})
_RANK = {prefix: rank for rank, prefix in enumerate(_ORDER)}
_TEXT_LENGTH = 60
_HL7 = re.compile(r"https?://(terminology\.)?hl7\.org/")

_ROLES = """
    ABSENT ADMINISTERED ADMIT_SOURCE ADVERSE_EVENT ALLERGY ANSWER CARE_PLAN DISPENSED DISPOSITION
    ENCOUNTER_END ENCOUNTER_START ENCOUNTER_TYPE FAMILY FLAG GENDER GOAL IMAGE IMAGING IMMUNIZATION
    IMPRESSION MEDIA MEDS_BIRTH MEDS_DEATH NOTE NOTE_UNREAD ORDER OUTCOME PRIORITY PROVISIONAL
    REASON REPORT SERVICE SPECIMEN STATED TEXT TRANSFER VIEW"""
ROLES = frozenset(_ROLES.split())
"""First parts of codes that say what an event is, which no system is called."""

DIED = frozenset(
    {
        *("EXP", "DIED", "EXPIRED", "DEAD", "DECEASED"),
        *("PATDISCHARGESTATUS//20", "PATDISCHARGESTATUS//40", "PATDISCHARGESTATUS//41"),
        "PATDISCHARGESTATUS//42",
        "SNOMED//419099009",  # dead
        "SNOMED//371828006",  # patient deceased during stay
    }
)
"""Discharge dispositions, in upper case, that say that the stay ended in death: words alone (HL7's
`exp`, MIMIC's `DIED`), UB-04's 20 and 40 to 42, SNOMED."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """Name a concept for the store."""

    code: str | None
    """`SYSTEM//CODE`, or None where there is neither code nor text."""

    display: str | None = None
    """What a person calls it."""

    parents: tuple[str, ...] = field(default=())
    """The concept's other codings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Naming:
    """Hold what a site says of its own code systems; equal to itself alone, so that it is a key."""

    systems: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Prefix and dotting (of `DOTTING`, or empty for the prefix's own) by `plain_system`."""

    codes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Standard code (`LOINC//2951-2`) by `plain_system` (empty for none) and local code."""

    default_prefix: str = "LOCAL"
    """What a code without a system, or with one that has no name, is put under."""


PLAIN = Naming()
"""No user's map: the table and the systems' own names."""


def plain_system(system: str) -> str:
    """Write a system as the tables have it: no last slash, `http`, an OID bare.

    >>> plain_system("https://loinc.org/"), plain_system("urn:oid:2.16.840.1.113883.6.1")
    ('http://loinc.org', '2.16.840.1.113883.6.1')
    """
    key = system.strip().rstrip("/").replace("https://", "http://", 1)
    return key.removeprefix("urn:oid:")


def system_prefix(system: str | None, naming: Naming = PLAIN) -> str:
    """Give a code system's name in codes.

    >>> system_prefix("http://snomed.info/sct"), system_prefix("urn:oid:2.16.840.1.113883.6.1")
    ('SNOMED', 'LOINC')
    >>> system_prefix("http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-d-items")
    'MIMIC_D_ITEMS'
    >>> system_prefix(None), system_prefix("https://kh.example/note"), system_prefix("LOINC")
    ('LOCAL', 'LOCAL_NOTE', 'LOINC')
    """
    if not system:
        return naming.default_prefix
    own = naming.systems.get(plain_system(system)) if naming.systems else None
    known = own[0] if own else _known_prefix(system)
    if known:
        return known
    tail = system.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    name = "".join(c if c.isalnum() or c == "." else "_" for c in tail).strip("_").upper()
    # A bare word is what somebody calls the system; a URL that ends in it is somebody else's.
    if name in ROLES or (name in _NAMES and "/" in system):
        return f"HL7_{name}" if _HL7.match(system) else f"LOCAL_{name}"
    return name or naming.default_prefix


def is_known(system: str | None) -> bool:
    """Say whether a code system is one of the table's, not named by its URL."""
    return bool(system) and _known_prefix(system) is not None


def name_coding(coding: Any, naming: Naming = PLAIN) -> Concept | None:
    """Name one Coding, or give None where it has no code; what it is mapped to comes first.

    >>> name_coding({"system": "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd9",
    ...              "code": "V462"}).code
    'ICD9CM//V46.2'
    """
    if not isinstance(coding, dict):
        return None
    code, system, display = coding.get("code"), coding.get("system"), coding.get("display")
    if not isinstance(code, str | int) or isinstance(code, bool) or not str(code).strip():
        return None
    system = system if isinstance(system, str) else None
    prefix = system_prefix(system, naming)
    written = " ".join(str(code).split()).replace("//", "/")
    words = display if _is_words(display) else None
    dotted = _dotting(system, prefix, naming)(written)
    local = f"{prefix}//{dotted}"
    if naming.codes:
        standard = naming.codes.get((plain_system(system or ""), written))
        if standard is not None and standard != local:
            return Concept(code=standard, display=words, parents=(local,))
    return Concept(code=local, display=words)


@lru_cache(maxsize=1 << 16)
def name_concept(text: str | None, naming: Naming = PLAIN) -> Concept:
    """Name a CodeableConcept or a Coding, given as JSON text; of a list, the first with a name.

    >>> name_concept('{"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}').code
    'LOINC//8480-6'
    >>> name_concept('{"text": "chest  pain"}').code
    'TEXT//CHEST PAIN'
    """
    nothing = Concept(code=None)
    try:
        content = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return nothing
    for item in content if isinstance(content, list) else [content]:
        found = _name(item, naming)
        if found is not None:
            return found
    return nothing


def _name(content: Any, naming: Naming) -> Concept | None:
    if not isinstance(content, dict):
        return None
    codings = content.get("coding") if "coding" in content else [content]
    codings = codings if isinstance(codings, list) else []
    named = [c for c in (name_coding(coding, naming) for coding in codings) if c]
    words = content.get("text")
    if not named:
        if not _is_words(words):
            words = next((c.get("display") for c in codings if isinstance(c, dict)), None)
        if not _is_words(words):
            return None
        short = " ".join(words.split())[:_TEXT_LENGTH].upper().replace("//", "/")
        return Concept(code=f"TEXT//{short}", display=words.strip())
    named.sort(key=_preference)
    first = named[0]
    others = (name for c in named for name in (str(c.code), *c.parents))
    others_say = next((c.display for c in named if c.display), None)
    return Concept(
        code=first.code,
        display=first.display or (words.strip() if _is_words(words) else others_say),
        parents=tuple(dict.fromkeys(name for name in others if name != first.code)),
    )


def _preference(concept: Concept) -> tuple[int, bool]:
    """Order codings: by the table; of one system what was sent before what was mapped to."""
    prefix = str(concept.code).partition("//")[0]
    mapped = bool(concept.parents)
    return _RANK.get(prefix, len(_RANK) if mapped else len(_RANK) + 1), mapped


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _known_prefix(system: str) -> str | None:
    key = system.strip().rstrip("/")
    return (
        _SYSTEMS.get(key)
        or _SYSTEMS.get(key.replace("https://", "http://", 1))
        or _OIDS.get(key.removeprefix("urn:oid:"))
        or ("SNOMED" if key.startswith("http://snomed.info/sct/") else None)
    )


def _dot_icd10(code: str) -> str:
    return f"{code[:3]}.{code[3:]}" if len(code) > 3 and "." not in code else code


def _dot_icd9(code: str) -> str:
    whole = 4 if code[:1].upper() == "E" else 3
    return f"{code[:whole]}.{code[whole:]}" if len(code) > whole and "." not in code else code


def _dot_icd9_procedure(code: str) -> str:
    return f"{code[:2]}.{code[2:]}" if len(code) > 2 and "." not in code else code


DOTTING: dict[str, Callable[[str], str]] = {
    "none": str,
    "icd10": _dot_icd10,
    "icd9": _dot_icd9,
    "icd9-procedure": _dot_icd9_procedure,
}
"""How a system's codes that came without their dot get it."""

_DOTTED = {
    "ICD10CM": _dot_icd10,
    "ICD10GM": _dot_icd10,
    "ICD9CM": _dot_icd9,
    "ICD9PROC": _dot_icd9_procedure,
}


def _dotting(system: str | None, prefix: str, naming: Naming) -> Callable[[str], str]:
    own = naming.systems.get(plain_system(system)) if naming.systems and system else None
    if own and own[1]:
        return DOTTING[own[1]]
    return _DOTTED.get(prefix, str)
