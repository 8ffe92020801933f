from base64 import b64encode
from typing import Any

from tests.specs.spec import Label, Spec


def snomed(code: str) -> dict[str, Any]:
    return {"coding": [{"system": "http://snomed.info/sct", "code": code}]}


ABOUT = {"subject": {"reference": "Patient/p"}}
STAY = {**ABOUT, "encounter": {"reference": "Encounter/stay"}}
MORNING, NOON, EVENING = (f"2020-05-04T{hour}:00:00Z" for hour in ("08", "12", "20"))
DAYS = {"start": "2020-05-01T08:00:00Z", "end": "2020-05-03T08:00:00Z"}
CT = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}


def document(name: str, *, creation: str | None = None, **more: Any) -> dict[str, Any]:
    attachment = {"contentType": "text/plain", "data": b64encode(name.encode()).decode()}
    made = {"creation": creation} if creation else {}
    return {
        "resourceType": "DocumentReference",
        "id": name,
        "status": "current",
        "category": [snomed("371530004")],
        "content": [{"attachment": {**attachment, **made}}],
        **STAY,
        **more,
    }


def device(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DeviceUseStatement",
        "id": name,
        "status": status,
        "device": {"display": name},
        **ABOUT,
        **more,
    }


SPEC = Spec(
    title="Where the best date is missing",
    says="""
        A document counts from its own `date`, even where its file was made before, or in a month or
        year that has the date in it: it was signed then. Without a date it counts from when the
        file was made, then from the end of what it is about (R4 and R5 say that in two places).
        Harm without the date of a record was known when it was detected, if that is later than when
        it was done. The use of a device that goes on is known from its start, one that ended from
        its end, unless somebody wrote down when it was told. A picture that nobody dated was there
        when its file was made. Drugs, procedures and studies that go on are known from their start.
        Images are known from when the study began; it says what they are by its own modalities,
        else those of its series, and what is only registered or was cancelled has none. What was
        measured, or a device used, several times is known from the last of them and began with the
        first, in whichever order they are written.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "Encounter",
            "id": "stay",
            "status": "finished",
            "class": {"code": "IMP"},
            "period": {"start": "2020-05-01T08:00:00Z", "end": "2020-05-30T08:00:00Z"},
            **ABOUT,
        },
        document("signed", date=EVENING, creation=MORNING, context={"period": DAYS}),
        document("made", creation=NOON, context={"period": DAYS}),
        document("made in May", date=EVENING, creation="2020-05", context={"period": DAYS}),
        document("made later", date=NOON, creation=EVENING, context={"period": DAYS}),
        document("about", context={"period": DAYS}),
        document("about R5", period=DAYS),
        {
            "resourceType": "AdverseEvent",
            "id": "found-later",
            "actuality": "actual",
            "event": snomed("1912002"),
            "date": MORNING,
            "detected": EVENING,
            **STAY,
        },
        device("walker", "active", timingPeriod=DAYS),
        device("sling", "completed", timingPeriod=DAYS),
        device("brace", "completed", timingPeriod=DAYS, recordedOn=NOON),
        device("crutches", "completed", timingTiming={"event": [NOON, EVENING, MORNING]}),
        {
            "resourceType": "Observation",
            "id": "weight",
            "status": "final",
            "code": snomed("27113001"),
            "effectiveTiming": {"event": [EVENING, MORNING]},
            "valueInteger": 80,
            **STAY,
        },
        {
            "resourceType": "Media",
            "id": "photograph",
            "status": "completed",
            "modality": snomed("260386001"),
            "content": {"contentType": "image/jpeg", "creation": MORNING},
            **STAY,
        },
        {
            "resourceType": "MedicationAdministration",
            "id": "drip",
            "status": "in-progress",
            "medicationCodeableConcept": snomed("387390002"),
            "effectivePeriod": DAYS,
            **ABOUT,
        },
        {
            "resourceType": "Procedure",
            "id": "ventilation",
            "status": "in-progress",
            "code": snomed("40617009"),
            "performedPeriod": DAYS,
            **ABOUT,
        },
        {
            "resourceType": "ImagingStudy",
            "id": "scan",
            "status": "available",
            "started": NOON,
            "modality": [CT],
            "series": [{"uid": "1.2.3", "modality": {"code": "CT"}}],
            **STAY,
        },
        {
            "resourceType": "ImagingStudy",
            "id": "film",
            "status": "available",
            "started": EVENING,
            "series": [{"uid": "1.2.4", "modality": {"code": "DX"}}],
            **STAY,
        },
        *(
            {
                "resourceType": "ImagingStudy",
                "id": status,
                "status": status,
                "started": NOON,
                "modality": [CT],
                **STAY,
            }
            for status in ("registered", "cancelled", "entered-in-error")
        ),
    ],
    timeline="""
        time                | occurred            | code                            | value
        2020-05-01 08:00:00 |                     | ADMINISTERED//SNOMED//387390002 |
        2020-05-01 08:00:00 |                     | DEVICE//TEXT//WALKER            |
        2020-05-01 08:00:00 |                     | ENCOUNTER_START//IMP            |
        2020-05-01 08:00:00 |                     | SNOMED//40617009                |
        2020-05-03 08:00:00 | 2020-05-01 08:00:00 | DEVICE//TEXT//SLING             |
        2020-05-03 08:00:00 | 2020-05-01 08:00:00 | NOTE//SNOMED//371530004         | "about R5"
        2020-05-03 08:00:00 | 2020-05-01 08:00:00 | NOTE//SNOMED//371530004         | "about"
        2020-05-04 08:00:00 |                     | MEDIA//SNOMED//260386001        |
        2020-05-04 12:00:00 | 2020-05-01 08:00:00 | DEVICE//TEXT//BRACE             |
        2020-05-04 12:00:00 |                     | IMAGING//CT                     |
        2020-05-04 12:00:00 | 2020-05-01 08:00:00 | NOTE//SNOMED//371530004         | "made"
        2020-05-04 20:00:00 | 2020-05-04 08:00:00 | ADVERSE_EVENT//SNOMED//1912002  |
        2020-05-04 20:00:00 | 2020-05-04 08:00:00 | DEVICE//TEXT//CRUTCHES          |
        2020-05-04 20:00:00 |                     | IMAGING//DX                     |
        2020-05-04 20:00:00 | 2020-05-01 08:00:00 | NOTE//SNOMED//371530004         | "made in May"
        2020-05-04 20:00:00 | 2020-05-01 08:00:00 | NOTE//SNOMED//371530004         | "made later"
        2020-05-04 20:00:00 | 2020-05-01 08:00:00 | NOTE//SNOMED//371530004         | "signed"
        2020-05-04 20:00:00 | 2020-05-04 08:00:00 | SNOMED//27113001                | 80
        2020-05-30 08:00:00 |                     | ENCOUNTER_END//IMP              |
    """,
    accounts={
        "projected": 19,
        "skipped": {
            "ImagingStudy: registered": 1,
            "ImagingStudy: cancelled": 1,
            "ImagingStudy: entered-in-error": 1,
        },
    },
    task="appendectomy_by_the_next_stay",
    labels=(Label(prediction_time="2020-05-01 08:00:00", value=False),),
)
