"""Write a hospital full of identifiers that are known one by one.

Names are made of syllables, so that none is a word of any language; each of a patient's identifiers
is planted in several places and typed in several ways. It is long, for what a patient has and where
each of it is planted must be read together.
"""

import base64
import json
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pydicom

from tests.ingest.films import write_film
from tests.ingest.papers import write_pdf
from tests.ingest.planted_dates import birth_day, forms_of, halves_of, lists_of, secret_day

_ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "h", "k", "kl", "l", "m", "n", "p", "pl", "r")
_ONSETS += ("s", "t", "tr", "v", "w", "z", "zw")
_VOWELS = "aeiou"
_CODAS = ("l", "n", "r", "s", "x", "ck", "nd", "rt", "")
_ACCENTS = str.maketrans({"a": "ä", "o": "ö", "u": "ü", "e": "é"})


@dataclass(kw_only=True)
class Planted:
    """A hospital on disk, and all that must not come out of it."""

    place: Path
    needles: dict[str, str] = field(default_factory=dict)
    """Each identifier, and what it is."""

    dates: dict[str, list[date]] = field(default_factory=dict)
    """The dates that each patient's notes state, by FHIR id."""

    patients: list[str] = field(default_factory=list)


def plant_hospital(place: Path, *, patients: int, seed: int = 5) -> Planted:
    """Write `place`/fhir and `place`/dicom."""
    rng = random.Random(seed)
    hospital = Planted(place=place)
    names = _Names(rng)
    for number in range(patients):
        _Patient(hospital, names, rng, number).write()
    fhir = place / "fhir"
    (fhir / "README.txt").write_text("notes on the export\n")
    return hospital


class _Names:
    """Make words that nobody has used, each once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def word(self, *, accented: bool = False) -> str:
        rng = self._rng
        while True:
            parts = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(3)]
            word = "".join(parts) + rng.choice(_CODAS)
            if len(word) >= 7 and not any(word in u or u in word for u in self._used):
                self._used.add(word)
                if accented:
                    word = word[0] + word[1:].translate(_ACCENTS)
                return word.capitalize()

    def signs(self, n: int, first: int, last: int) -> str:
        """Give letters of a script without word breaks, none of them twice."""
        while True:
            word = "".join(chr(self._rng.randrange(first, last)) for _ in range(n))
            if len(set(word)) == n and self._used.isdisjoint(word):
                self._used.update(word)
                return word

    def digits(self, n: int) -> str:
        while True:
            number = "".join(self._rng.choice("123456789") for _ in range(n))
            # Without a 0 and "19", a number is no part of a date.
            if number not in self._used and "19" not in number:
                self._used.add(number)
                return number


class _Patient:
    def __init__(self, hospital: Planted, names: _Names, rng: random.Random, number: int) -> None:
        self.hospital, self.rng, self.number, self.names = hospital, rng, number, names

        def word(kind: str, accented: bool = False) -> str:
            return self.needle(names.word(accented=accented), kind)

        def digits(kind: str, n: int, shape: str = "{}") -> str:
            made = names.digits(n)
            self.needle(made, kind)
            return shape.format(*made) if shape != "{}" else made

        self.given = word("given", number % 3 == 0)
        self.middle = word("middle")
        self.family = word("family", number % 4 == 1)
        self.maiden = word("maiden")
        self.old_family = word("family of an older version")
        self.street, self.city = word("street"), word("city")
        self.zip = digits("zip", 5)
        self.box = digits("PO box", 6)
        self.phone = digits("phone", 10, "({}{}{}) {}{}{}-{}{}{}{}")
        self.mobile = "+49 " + digits("mobile", 10, "{}{}{} {}{}{}{}{}{}{}")
        self.mailbox = word("mailbox").lower()
        self.mrn = digits("mrn", 8)
        self.ssn = digits("ssn", 9, "{}{}{}-{}{}-{}{}{}{}")
        self.policy = "K" + digits("policy", 9)
        self.id = "pat-" + digits("fhir id", 7)
        self.visit = "V" + digits("visit", 8)
        self.accession = "A" + digits("accession", 7)
        self.contact = (word("contact's given"), word("contact's family"))
        self.contact_phone = digits("contact's phone", 10, "{}{}{}-{}{}{}-{}{}{}{}")
        self.sister = (word("sister's given"), word("sister's family"))
        self.doctor = (word("doctor's given"), word("doctor's family"))
        self.nurse = (word("nurse's given"), word("nurse's family"))
        self.surgeon = word("surgeon, whom no resource knows")
        self.relative = word("relative in the family history")
        self.serial = "SN" + digits("serial number", 8)
        self.stray_phone = digits("phone that no resource has", 10, "{}{}{}-{}{}{}-{}{}{}{}")
        self.stray_mail = word("mail that no resource has").lower()
        self.film_physician = word("physician of the film")
        self.station = word("station")
        hospital.patients.append(self.id)
        self.born = birth_day(number)
        self.seen = date(2015 + rng.randrange(8), 1 + rng.randrange(12), 13 + rng.randrange(15))

        # Every other patient has a name in Han or Hangul, too.
        script = ((0x5000, 0x9000), (0xAC00, 0xD7A0))[number // 2 % 2]
        self.signs = (names.signs(1, *script), names.signs(2, *script)) if number % 2 else None
        for sign in (self.signs[1], "".join(self.signs)) if self.signs else ():
            self.needle(sign, "name without word breaks")
        if self.signs:
            self.needle(self.signs[0] + "先生", "family name without word breaks")
        for tail in (self.phone, self.contact_phone):
            self.needle(re.sub(r"\D", "", tail)[-7:], "a phone number's last seven digits")
        secret = secret_day(number)
        self.days = [*self.written("secret day", secret), *self.listed("secret day", secret)]
        self.days += self.written("birth date", self.born)

    def written(self, kind: str, day: date) -> list[str]:
        """Write a day in many forms."""
        return [
            self.needle(form, f"{kind}, {re.sub('[0-9]', '9', form)[:12]}")
            for form in forms_of(day)
        ]

    def listed(self, kind: str, day: date) -> Iterator[str]:
        """Write a day and the next; each stands beside a word, so that half of it would show."""
        for form in lists_of(day):
            before, behind = (self.names.word().lower() for _ in range(2))
            first, second = halves_of(form, day)
            self.needle(f"{before} {first}", f"first day of the {kind}'s list")
            self.needle(f"{second} {behind}", f"last day of the {kind}'s list")
            yield f"{before} {self.needle(form, f'{kind} in a list')} {behind}"

    def needle(self, text: str, kind: str) -> str:
        self.hospital.needles[text] = kind
        return text

    def typed(self, name: str) -> str:
        """Type a name in one of many ways."""
        middle = len(name) // 2
        ways = [
            name,
            name.upper(),
            name.lower(),
            name + "'s",
            "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c)),
            unicodedata.normalize("NFD", name),
            name[:middle] + "\u00ad" + name[middle:],
            name[:middle] + "-\n" + name[middle:],
            name[:middle] + "\u200b" + name[middle:],
            " ".join(name.upper()),
            f"_{name}_",
            "".join(chr(ord(c) + 0xFEE0) if c.isascii() else c for c in name),
            name.lower().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue"),
        ]
        return self.rng.choice(ways)

    def write(self) -> None:
        fhir = self.hospital.place / "fhir"
        fhir.mkdir(parents=True, exist_ok=True)
        # File names carry names, too.
        whole = f"{self.family}_{self.given}_{self.mrn}"
        lines = [json.dumps(resource) for resource in self.resources()]
        lines.append('{"resourceType": "Observation", "note": "' + self.family)  # broken
        (fhir / f"{whole}.ndjson").write_text("\n".join(lines) + "\n", "utf-8")
        self.write_films(self.hospital.place / "dicom")

    def person(self, family: str, version: str) -> dict[str, Any]:
        return {
            "resourceType": "Patient",
            "id": self.id,
            "meta": {"versionId": version, "lastUpdated": f"2024-01-0{version}T00:00:00Z"},
            "identifier": [
                {"system": "urn:mrn", "value": self.mrn},
                {"system": "http://hl7.org/fhir/sid/us-ssn", "value": self.ssn},
                {"system": "urn:policy", "value": self.policy},
            ],
            "name": [
                {"family": family, "given": [self.given, self.middle], "prefix": ["Mrs."]},
                *([{"family": self.signs[0], "given": [self.signs[1]]}] if self.signs else []),
            ],
            "telecom": [
                {"system": "phone", "value": self.phone},
                {"system": "phone", "use": "mobile", "value": self.mobile},
                {"system": "email", "value": f"{self.mailbox}@example.org"},
            ],
            "address": [
                {
                    "line": [f"17 {self.street} Street", f"PO Box {self.box}"],
                    "city": self.city,
                    "postalCode": f"{self.zip}-{1000 + self.number}",
                }
            ],
            "contact": [
                {
                    "name": {"given": [self.contact[0]], "family": self.contact[1]},
                    "telecom": [{"system": "phone", "value": self.contact_phone}],
                }
            ],
            "extension": [
                {
                    "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                    "valueString": self.maiden,
                }
            ],
            "gender": "female",
            "birthDate": self.born.isoformat(),
            "text": {"status": "generated", "div": f"<div>{self.given} {self.family}</div>"},
        }

    def resources(self) -> Iterator[dict[str, Any]]:
        yield self.person(self.old_family, "1")
        yield self.person(self.family, "2")
        subject = {"reference": f"Patient/{self.id}", "display": f"{self.given} {self.family}"}
        doctor, nurse = f"prac-{self.number}", f"nurse-{self.number}"
        yield {
            "resourceType": "RelatedPerson",
            "id": f"rel-{self.number}",
            "patient": subject,
            "name": [{"given": [self.sister[0]], "family": self.sister[1]}],
        }
        yield {
            "resourceType": "Practitioner",
            "id": doctor,
            "name": [{"given": [self.doctor[0]], "family": self.doctor[1]}],
        }
        yield {
            "resourceType": "Location",
            "id": f"loc-{self.number}",
            "name": f"Home of {self.given} {self.family}, {self.city}",
        }
        visit = f"enc-{self.visit}"
        yield {
            "resourceType": "Encounter",
            "id": visit,
            "identifier": [{"value": self.visit}],
            "status": "finished",
            "class": {"code": "IMP"},
            "subject": subject,
            "period": {"start": f"{self.seen}T08:00:00Z", "end": f"{self.seen}T18:00:00Z"},
            "participant": [
                {"individual": {"reference": f"Practitioner/{doctor}"}},
                {
                    "individual": {
                        "reference": f"Practitioner/{nurse}",
                        "display": f"{self.nurse[0]} {self.nurse[1]}, RN",
                    }
                },
            ],
            "location": [
                {
                    "location": {"reference": f"Location/loc-{self.number}"},
                    "period": {"start": f"{self.seen}T09:00:00Z"},
                }
            ],
        }
        stamped = {
            "subject": subject,
            "status": "final",
            "effectiveDateTime": f"{self.seen}T10:00:00Z",
            "encounter": {"reference": f"Encounter/{visit}"},
        }
        texts = [
            {"valueString": f"called {self.typed(self.family)} at {self.phone}"},
            {"valueString": self.mrn},
            {"valueInteger": int(self.mrn)},
            {"valueString": f"{self.policy} verified by {self.doctor[1]}"},
            {"valueQuantity": {"value": 5, "unit": f"tablets for {self.given}"}},
            {"valueCodeableConcept": {"text": f"as {self.sister[0]} {self.sister[1]} said"}},
            {
                "valueCodeableConcept": {
                    "text": "the very long answer that is cut off in the middle of " + self.family
                }
            },
        ]
        for n, value in enumerate(texts):
            yield {
                "resourceType": "Observation",
                "id": f"obs-{self.number}-{n}",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                **stamped,
                **value,
            }
        concepts = [
            {"text": f"Seen by Dr. {self.doctor[1]} for {self.given}"},
            {"coding": [{"system": "http://hospital.example/local", "code": self.mrn}]},
            {"coding": [{"system": f"http://hospital.example/{self.family}", "code": "x1"}]},
            {"coding": [{"code": f"WARD-{self.family}", "display": f"Bed of {self.middle}"}]},
            {
                "coding": [
                    {"system": "http://snomed.info/sct", "code": "84114007", "display": "Failure"},
                    {"code": self.visit, "display": f"{self.given}'s own"},
                ]
            },
        ]
        for n, concept in enumerate(concepts):
            yield {
                "resourceType": "Condition",
                "id": f"cond-{self.number}-{n}",
                "subject": subject,
                "code": concept,
                "recordedDate": f"{self.seen}T11:00:00Z",
                "extension": [{"url": "urn:note", "valueString": f"for {self.given}"}],
            }
        yield {
            "resourceType": "MedicationRequest",
            "id": f"med-{self.number}",
            "status": "active",
            "intent": "order",
            "subject": subject,
            "authoredOn": f"{self.seen}T12:00:00Z",
            "medicationCodeableConcept": {"text": f"Ointment of {self.family}, 5 mg"},
            "contained": [
                {
                    "resourceType": "Practitioner",
                    "id": "p",
                    "name": [{"given": [self.nurse[0]], "family": self.nurse[1]}],
                }
            ],
        }
        yield {
            "resourceType": "FamilyMemberHistory",
            "id": f"fam-{self.number}",
            "status": "completed",
            "patient": subject,
            "name": self.relative,
            "date": self.seen.isoformat(),
            "condition": [{"code": {"text": f"Asthma of {self.relative}"}}],
        }
        yield {
            "resourceType": "DeviceUseStatement",
            "id": f"dev-{self.number}",
            "subject": subject,
            "contained": [{"resourceType": "Device", "id": "d", "serialNumber": self.serial}],
        }
        yield {
            "resourceType": "ImagingStudy",
            "id": f"img-{self.number}",
            "status": "available",
            "subject": subject,
            "started": f"{self.seen}T13:00:00Z",
            "identifier": [
                {"value": self.accession},
                {"value": f"urn:oid:1.2.840.99.{self.number + 1}.7"},
            ],
        }
        # An invalid one, whose own field has a name for a name.
        yield {
            "resourceType": "Condition",
            "id": f"odd-{self.number}",
            "subject": subject,
            self.family: 1,
        }
        for n, (mime, content) in enumerate(self.papers()):
            yield {
                "resourceType": "DocumentReference",
                "id": f"note-{self.number}-{n}",
                "status": "current",
                "description": f"Letter on {self.given} {self.family}",
                "subject": subject,
                "author": [{"reference": f"Practitioner/{doctor}"}],
                "date": f"{self.seen}T1{n}:30:00Z",
                "type": {"coding": [{"system": "http://loinc.org", "code": "34117-2"}]},
                "content": [
                    {
                        "attachment": {
                            "contentType": mime,
                            "data": base64.b64encode(content).decode(),
                            "title": f"{self.family}.txt",
                        }
                    }
                ],
            }

    def sentences(self) -> list[str]:
        t = self.typed
        stated = [self.seen + timedelta(days=n) for n in (0, 3, 9)]
        self.hospital.dates[self.id] = stated
        digits = re.sub(r"\D", "", self.phone)
        return [
            f"{t(self.given)} {t(self.family)} was seen on {stated[0]}, BP 120/80.",
            f"{self.family.upper()}, {self.given} (MRN: {self.mrn}) takes metoprolol 5 mg twice.",
            f"Mrs. {self.given[0]}. {self.family} of 17 {self.street} St, {self.city.upper()}.",
            f"She answers at {digits[:3]}.{digits[3:6]}.{digits[6:]} or {digits}; {self.mobile}.",
            f"Mail: {self.mailbox.upper()}@EXAMPLE.ORG. SSN {self.ssn.replace('-', ' ')}.",
            f"Policy {self.policy.lower()}, visit {self.visit}, film {self.accession}, {self.zip}.",
            f"{t(self.contact[0])} {t(self.contact[1])} was called at {self.contact_phone}.",
            f"Her sister {t(self.sister[0])} ({t(self.sister[1])}) smokes 2 packs a day.",
            f"Dr. {self.doctor[1]}, nurse {t(self.nurse[1])} agreed; {t(self.nurse[0])} wrote it.",
            f"Operated by Dr. {self.surgeon} on {stated[1]:%B %d, %Y}.",
            f"Call back at {self.stray_phone}, or write to {self.stray_mail}@mail.example.com.",
            f"née {t(self.maiden)}, once {t(self.old_family)}; file {self.id}, pump {self.serial}.",
            f"{t(self.middle)} was her second name; {self.given}{self.family} is her login.",
            f"{self.relative} has asthma. {t(self.doctor[0])} read it on {stated[2]:%d.%m.%Y}.",
            f"The film was read by {t(self.film_physician)}.",
            f"{self.mailbox} is her portal's, {' '.join(re.findall('..', digits))} her old number.",
            f"Letters to P.O. Box {self.box}, ZIP {self.zip}, or 17 {self.street.upper()}.",
            f"{digits[3:]} / {re.sub('-', '', self.contact_phone)[3:]} by day.",
            f"00{self.mobile[1:]} / {self.phone} by night.",
            *(f"Then: {'; '.join(self.days[n : n + 4])}." for n in range(0, len(self.days), 4)),
            *(
                f"患者{a}{b}诉头痛，{b}来院，{a}先生复查。"
                for a, b in ([self.signs] if self.signs else ())
            ),
            "No effusion. E11.9, HbA1c 7.2 %, EF 55-60 %, 3/5 strength, potassium 4.1 mmol/L.",
        ]

    def papers(self) -> Iterator[tuple[str, bytes]]:
        yield "text/plain; charset=utf-8", "\n".join(self.sentences()).encode()
        body = "".join(f"<p>{line}</p>" for line in self.sentences())
        yield "text/html; charset=utf-8", f"<html><body>{body}</body></html>".encode()
        rows = "".join(f"<paragraph>{line}</paragraph>" for line in self.sentences())
        cda = (
            '<ClinicalDocument xmlns="urn:hl7-org:v3"><recordTarget><patientRole><patient><name>'
            f"<given>{self.given}</given></name></patient></patientRole></recordTarget>"
            f"<title>Letter on {self.given}</title><component><structuredBody><component><section>"
            f"<title>History</title><text>{rows}</text></section></component></structuredBody>"
            "</component></ClinicalDocument>"
        )
        yield "application/hl7-cda+xml", cda.encode()
        plain = [line for line in self.sentences() if line.isascii() and "\n" not in line]
        rtf = r"{\rtf1\ansi " + r"\par ".join(plain) + "}"
        yield "application/rtf", rtf.encode("ascii")
        drawn = [
            f"BT /F1 9 Tf 20 {780 - 12 * n} Td ({_escaped(line)}) Tj ET"
            for n, line in enumerate(plain)
        ]
        yield "application/pdf", write_pdf("\n".join(drawn).encode("ascii"))

    def write_films(self, place: Path) -> None:
        number = self.number + 1
        tags: dict[str, Any] = {
            "PatientName": f"{self.family}^{self.given}^{self.middle}",
            "PatientID": self.mrn,
            "PatientBirthDate": f"{self.born:%Y%m%d}",
            "PatientAddress": f"17 {self.street} Street",
            "PatientTelephoneNumbers": self.phone,
            "ReferringPhysicianName": f"{self.film_physician}^X",
            "AccessionNumber": self.accession,
            "StationName": self.station,
            "InstitutionName": f"Clinic of {self.city}",
            "StudyDescription": f"Chest of {self.given}",
            "SeriesDescription": self.family,
            "ImageComments": f"{self.family} {self.phone}",
            "BodyPartExamined": "CHEST",
            "ContrastBolusAgent": f"for {self.family}",
            "StudyInstanceUID": f"1.2.840.99.{number}.7",
            "SeriesInstanceUID": f"1.2.840.99.{number}.8",
            "SOPInstanceUID": f"1.2.840.99.{number}.9",
            "StudyDate": f"{self.seen:%Y%m%d}",
            "AcquisitionDate": f"{self.seen:%Y%m%d}",
            "AcquisitionTime": "131500",
            "SpecificCharacterSet": "ISO_IR 192",
        }
        film = place / f"{self.family}^{self.given}.dcm"
        # No two films alike: a film is known by its bytes.
        write_film(film, **tags)
        dataset = pydicom.dcmread(film)
        block = dataset.private_block(0x0011, "MAKER OF X-RAYS", create=True)
        block.add_new(0x01, "LO", f"{self.family} {self.mrn}")
        item = pydicom.Dataset()
        item.RequestedProcedureDescription = f"Film of {self.given}"
        item.ScheduledProcedureStepID = self.accession
        item.PatientName = self.family
        dataset.RequestAttributesSequence = pydicom.Sequence([item])
        dataset.preamble = self.mrn.encode().ljust(128, b"\0")
        dataset.save_as(film, enforce_file_format=True)
        if self.number % 5 == 0:
            burned = place / f"US_{self.family}.dcm"
            tags |= {"SOPInstanceUID": f"1.2.840.99.{number}.10", "Modality": "US"}
            write_film(burned, **tags | {"SeriesInstanceUID": f"1.2.840.99.{number}.11"})


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
