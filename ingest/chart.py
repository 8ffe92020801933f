"""Write one simulated patient's FHIR R4 resources, and say which films to draw."""

import base64
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ingest.course import Course
from ingest.oracle import Statistics
from ingest.phantom import Film, derive_uid
from ingest.phrasebook import Phrasebook, as_html, write_note
from ingest.vocabulary import (
    CONDITIONS,
    CVX,
    HEART_FAILURE,
    HISTORY_CLASSES,
    LOINC,
    MEDICATIONS,
    PROCEDURES,
    RXNORM,
    SMOKING,
    SNOMED,
    TERMS,
    TREATMENTS,
    VITAL_SIGNS,
    concept,
    instant,
    modality,
    quantity,
    series,
    written_value,
)
from ingest.world import FINDINGS, Measurement, World

__all__ = ["RESOURCE_TYPES", "Chart"]

RESOURCE_TYPES = (
    "Condition",
    "DocumentReference",
    "Encounter",
    "FamilyMemberHistory",
    "ImagingStudy",
    "Immunization",
    "MedicationRequest",
    "Observation",
    "Patient",
    "Procedure",
)


class Chart:
    """Turn one patient's statistics and course into resources; the same rng gives the same."""

    def __init__(
        self,
        world: World,
        book: Phrasebook,
        statistics: Statistics,
        course: Course,
        row: int,
        seed: int,
        rng: np.random.Generator,
    ) -> None:
        self.films: list[tuple[Film, float, float]] = []
        """Film, drawn heart and drawn opacity of each DICOM file; filled by `resources`."""
        self._world, self._book, self._statistics = world, book, statistics
        self._course, self._row, self._seed, self._rng = course, row, seed, rng
        self._pid = course.patient_id
        self._out: list[dict[str, Any]] = []

    def resources(self) -> list[dict[str, Any]]:
        """Build all resources of the patient."""
        self._patient()
        self._visits()
        self._comorbidities()
        self._irrelevant()
        self._heart_failure()
        s, row, end = self._statistics, self._row, self._course.index_end
        if s.has_note[row]:
            self._note(end - timedelta(minutes=2), "index", s.stated[row], s.hedged[row])
        if s.has_image[row]:
            taken = end - timedelta(minutes=20)
            self._film(taken, "index", float(s.heart[row]), float(s.opacity[row]))
        self._afterwards()
        return self._out

    def _patient(self) -> None:
        c = self._course
        self._out.append(
            {
                "resourceType": "Patient",
                "id": self._pid,
                "identifier": [
                    {
                        "type": concept(f"{TERMS}/v2-0203", "MR", "Medical record number"),
                        "system": "urn:oid:2.16.840.1.113883.19.5",
                        "value": self._record_number,
                    }
                ],
                "name": [{"family": "Simulated", "given": [self._pid[:6]]}],
                "gender": "female" if c.female else "male",
                "birthDate": f"{c.birth:%Y-%m-%d}",
            }
        )

    def _visits(self) -> None:
        s, row, c, rng = self._statistics, self._row, self._course, self._rng
        last = s.visited.shape[1] - 1
        for v in np.flatnonzero(s.visited[row]):
            if v == last:
                start, end, kind = c.index_start, c.index_end, ("AMB", "ambulatory")
                key = "index"
            else:
                days = round(-float(s.years[row, v]) * 365.25)
                start = c.index_start - timedelta(days=days, minutes=int(rng.integers(0, 300)))
                end = start + timedelta(minutes=int(rng.integers(20, 90)))
                kind, key = HISTORY_CLASSES[rng.integers(len(HISTORY_CLASSES))], f"v{v}"
            self._encounter(key, kind, start, end)
            at = start + timedelta(minutes=5)
            measured = {
                name: float(s.values[name][row, v])
                for name in self._world.events.measurements
                if s.seen[name][row, v]
            }
            self._measure(measured, at, key)
            if rng.random() < 0.05:
                m = list(self._world.events.measurements.values())[rng.integers(len(s.values))]
                value = written_value(m, 6.0 * (1 if rng.random() < 0.5 else -0.5))
                self._observe(m, value, at, key, "entered-in-error")
        if rng.random() < 0.7:
            code, text = SMOKING[rng.integers(len(SMOKING))]
            smoking = self._observation(
                concept(LOINC, "72166-2", "Tobacco smoking status"),
                c.index_start + timedelta(minutes=4),
                "index",
                "social-history",
            )
            smoking["valueCodeableConcept"] = concept(SNOMED, code, text)

    def _measure(self, measured: dict[str, float], at: datetime, encounter: str) -> None:
        kinds = self._world.events.measurements
        pressure = {n: v for n, v in measured.items() if kinds[n].code in ("8480-6", "8462-4")}
        for name, value in measured.items():
            if name not in pressure:
                self._observe(kinds[name], value, at, encounter)
        if pressure:
            panel = self._observation(
                concept(LOINC, "85354-9", "Blood pressure panel"), at, encounter, "vital-signs"
            )
            panel["component"] = [
                {
                    "code": concept(LOINC, kinds[name].code, kinds[name].display),
                    "valueQuantity": quantity(kinds[name], value),
                }
                for name, value in pressure.items()
            ]

    def _observe(
        self, m: Measurement, value: float, at: datetime, encounter: str, status: str = "final"
    ) -> None:
        category = "vital-signs" if m.code in VITAL_SIGNS else "laboratory"
        code = concept(LOINC, m.code, m.display)
        observation = self._observation(code, at, encounter, category)
        observation["status"] = status
        observation["valueQuantity"] = quantity(m, value)

    def _observation(
        self, code: dict[str, Any], at: datetime, encounter: str, category: str
    ) -> dict[str, Any]:
        wait = timedelta(minutes=15 if category == "laboratory" else 0)  # still within the visit
        return self._add(
            "Observation",
            status="final",
            category=[concept(f"{TERMS}/observation-category", category)],
            code=code,
            subject=self._subject,
            encounter={"reference": f"Encounter/{self._pid}-{encounter}"},
            effectiveDateTime=instant(at),
            issued=instant(at + wait),
        )

    def _comorbidities(self) -> None:
        c, rng = self._course, self._rng
        for j, (name, kind) in enumerate(self._world.events.comorbidities.items()):
            if not self._statistics.comorbid[self._row, j]:
                continue
            recorded = c.index_start - timedelta(days=int(rng.integers(20, 2500)))
            onset = recorded - timedelta(days=int(rng.integers(0, 1500)))
            known = (f"{onset:%Y}", f"{onset:%Y-%m}", f"{onset:%Y-%m-%d}")[rng.integers(3)]
            self._condition((kind.code, kind.display), recorded, known)
            if name in TREATMENTS and rng.random() < 0.7:
                self._prescribe(TREATMENTS[name], recorded)

    def _irrelevant(self) -> None:
        c, rng, events = self._course, self._rng, self._world.events

        def before(most: int = 1500) -> datetime:
            return c.index_start - timedelta(days=int(rng.integers(1, most)))

        count = min(int(rng.poisson(events.irrelevant_conditions)), len(CONDITIONS))
        for i in rng.permutation(len(CONDITIONS))[:count]:
            self._condition(CONDITIONS[i], before(), None)
        count = min(int(rng.poisson(events.irrelevant_medications)), len(MEDICATIONS))
        for i in rng.permutation(len(MEDICATIONS))[:count]:
            self._prescribe(MEDICATIONS[i], before(700))
        if rng.random() < 0.5:
            self._add(
                "Immunization",
                status="completed" if rng.random() < 0.95 else "not-done",
                vaccineCode=concept(CVX, "140", "Influenza, seasonal, injectable, preserv free"),
                patient=self._subject,
                occurrenceDateTime=instant(before(400)),
            )
        if rng.random() < 0.3:
            code, text = PROCEDURES[rng.integers(len(PROCEDURES))]
            self._add(
                "Procedure",
                status="completed" if rng.random() < 0.9 else "not-done",
                code=concept(SNOMED, code, text),
                subject=self._subject,
                performedDateTime=instant(before(700)),
            )
        if rng.random() < 0.1:
            self._add(
                "FamilyMemberHistory",
                status="completed",
                patient=self._subject,
                date=instant(before(700)),
                relationship=concept(f"{TERMS}/v3-RoleCode", "FTH", "father"),
                condition=[{"code": concept(SNOMED, *HEART_FAILURE)}],
            )

    def _heart_failure(self) -> None:
        c, rng = self._course, self._rng
        if c.prior:
            self._condition(HEART_FAILURE, c.prior, instant(c.prior))
        if c.diagnosed and c.onset:
            self._condition(HEART_FAILURE, c.diagnosed, instant(c.onset), icd="I50.9")
        if rng.random() < self._world.follow_up.refuted:
            days = float(rng.uniform(-300, 20 if c.lost else 300))
            at = c.index_end + timedelta(minutes=round(days * 1440))
            status = ("refuted", "entered-in-error")[rng.integers(2)]
            self._condition(HEART_FAILURE, at, None, status=status)

    def _afterwards(self) -> None:
        """Write what comes after the index visit, which gives the outcome away to whoever looks."""
        c, rng, follow = self._course, self._rng, self._world.follow_up
        shift = 1.8 if c.outcome else -0.8
        for k, start in enumerate(c.later_visits):
            key, end = f"w{k}", start + timedelta(minutes=30)
            self._encounter(key, ("HH", "home health"), start, end)
            measured = {
                name: written_value(
                    m, shift * np.sign(m.level + m.trend) + 0.5 * rng.standard_normal()
                )
                for name, m in self._world.events.measurements.items()
                if rng.random() < m.seen
            }
            self._measure(measured, start + timedelta(minutes=5), key)
            if rng.random() < 0.3:
                condition = CONDITIONS[rng.integers(len(CONDITIONS))]
                self._condition(condition, start + timedelta(minutes=10), None)
            if rng.random() < follow.later_note:
                stated = np.full(len(FINDINGS), 1 if c.outcome else -1)
                told = "Heart failure, new." if c.outcome else "Well."
                self._note(start + timedelta(minutes=25), key, stated, stated == 0, told)
            if rng.random() < follow.later_image:
                heart, opacity = shift + 0.5 * rng.standard_normal(2)
                self._film(start + timedelta(minutes=15), key, float(heart), float(opacity))
        if c.contact:
            self._encounter(
                "contact", ("VR", "virtual"), c.contact, c.contact + timedelta(minutes=15)
            )

    def _note(
        self, at: datetime, key: str, stated: np.ndarray, hedged: np.ndarray, told: str = ""
    ) -> None:
        text = write_note(self._book, self._world, stated, hedged, self._rng)
        if told:
            text += f"Diagnosis: {told}\n"
        kind = "text/plain"
        if self._rng.random() < self._world.notes.html:
            kind, text = "text/html", as_html(text)
        self._add(
            "DocumentReference",
            status="current",
            docStatus="final",
            type=concept(LOINC, "34117-2", "History and physical note"),
            category=[concept(LOINC, "34117-2", "History and physical note")],
            subject=self._subject,
            date=instant(at),
            content=[
                {
                    "attachment": {
                        "contentType": f"{kind}; charset=utf-8",
                        "data": base64.b64encode(text.encode()).decode("ascii"),
                    }
                }
            ],
            context={"encounter": [{"reference": f"Encounter/{self._pid}-{key}"}]},
        )

    def _film(self, at: datetime, key: str, heart: float, opacity: float) -> None:
        rng, images = self._rng, self._world.images
        uid = {
            part: derive_uid(self._seed, part, self._pid, key)
            for part in ("study", "series", "film")
        }
        film = Film(
            patient_id=self._record_number,
            sex="F" if self._course.female else "M",
            view="AP" if rng.random() < images.ap else "PA",
            inverted=bool(rng.random() < images.inverted),
            taken=at,
            study_uid=uid["study"],
            series_uid=uid["series"],
            instance_uid=uid["film"],
            accession=f"{self._pid[:13].upper()}{len(self.films)}",
        )
        self.films.append((film, heart, opacity))
        prefix = "urn:oid:" if rng.random() < 0.9 else ""  # some servers leave it out
        self._add(
            "ImagingStudy",
            identifier=[
                {"system": "urn:dicom:uid", "value": prefix + film.study_uid},
                {
                    "type": concept(f"{TERMS}/v2-0203", "ACSN", "Accession ID"),
                    "value": film.accession,
                },
            ],
            status="available",
            modality=[modality()],
            subject=self._subject,
            encounter={"reference": f"Encounter/{self._pid}-{key}"},
            started=instant(at),
            numberOfSeries=1,
            numberOfInstances=1,
            series=[series(film.series_uid, film.instance_uid)],
        )

    def _encounter(self, key: str, kind: tuple[str, str], start: datetime, end: datetime) -> None:
        self._out.append(
            {
                "resourceType": "Encounter",
                "id": f"{self._pid}-{key}",
                "status": "finished",
                "class": {"system": f"{TERMS}/v3-ActCode", "code": kind[0], "display": kind[1]},
                "subject": self._subject,
                "period": {"start": instant(start), "end": instant(end)},
            }
        )

    def _condition(
        self,
        code: tuple[str, str],
        recorded: datetime,
        onset: str | None,
        *,
        status: str = "confirmed",
        icd: str | None = None,
    ) -> None:
        named = concept(SNOMED, *code)
        if icd and self._rng.random() < 0.5:
            named["coding"].append({"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": icd})
        condition = self._add(
            "Condition",
            verificationStatus=concept(f"{TERMS}/condition-ver-status", status),
            category=[concept(f"{TERMS}/condition-category", "encounter-diagnosis")],
            code=named,
            subject=self._subject,
            recordedDate=instant(recorded),
        )
        if status != "entered-in-error":  # FHIR's con-5: then it has no clinical status
            condition["clinicalStatus"] = concept(f"{TERMS}/condition-clinical", "active")
        if onset:
            condition["onsetDateTime"] = onset

    def _prescribe(self, code: tuple[str, str], at: datetime) -> None:
        self._add(
            "MedicationRequest",
            status="active" if self._rng.random() < 0.9 else "cancelled",
            intent="order",
            medicationCodeableConcept=concept(RXNORM, *code),
            subject=self._subject,
            authoredOn=instant(at),
        )

    def _add(self, kind: str, **fields: Any) -> dict[str, Any]:
        resource = {"resourceType": kind, "id": f"{self._pid}-{len(self._out)}", **fields}
        self._out.append(resource)
        return resource

    @property
    def _subject(self) -> dict[str, str]:
        return {"reference": f"Patient/{self._pid}"}

    @property
    def _record_number(self) -> str:
        return f"M{self._pid.upper()}"
