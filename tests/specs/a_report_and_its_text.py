from base64 import b64encode
from typing import Any

from tests.specs.spec import Label, Spec

FILM = {"coding": [{"system": "urn:ris", "code": "CXR"}]}
PNEUMONIA = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "J18"}]}


def form(kind: str, content: str) -> dict[str, str]:
    return {"contentType": kind, "data": b64encode(content.encode()).decode()}


def report(name: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "id": name,
        "status": "final",
        "code": FILM,
        "subject": {"reference": "Patient/p"},
        **more,
    }


SPEC = Spec(
    title="A report and its text",
    says="""
        A film is read after it was taken: its report is known when it was issued, and what it
        reports occurred when the film was taken. Where `issued` is not after the end of the study,
        the end counts. A code of the conclusion stands in a code of its own below the report's. The
        note is the first form of the report that can be read, and the conclusion where there is
        none. A form that can't be read leaves an event that says why, beside the conclusion, too:
        more may stand in it than was concluded. What is only registered, was cancelled or entered
        in error is no report.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        report(
            "read",
            effectiveDateTime="2020-05-04T08:00:00Z",
            issued="2020-05-04T10:00:00Z",
            conclusion="Seen.",
            conclusionCode=[PNEUMONIA],
            presentedForm=[
                form("application/pdf", "%PDF-1.7"),
                form("text/plain", "Pneumonia."),
            ],
        ),
        report(
            "issued-as-it-began",
            effectivePeriod={"start": "2020-05-05T08:00:00Z", "end": "2020-05-05T09:00:00Z"},
            issued="2020-05-05T08:00:00Z",
            conclusion="No change.",
        ),
        report(
            "unread-and-concluded",
            effectiveDateTime="2020-05-06T08:00:00Z",
            conclusion="Better.",
            presentedForm=[form("application/pdf", "%PDF-1.7")],
        ),
        report(
            "unread",
            effectiveDateTime="2020-05-07T08:00:00Z",
            presentedForm=[{"contentType": "image/jpeg", "url": "https://kh.example/1"}],
        ),
        *(
            report(status, status=status, effectiveDateTime="2020-05-04T08:00:00Z")
            for status in ("registered", "cancelled", "entered-in-error")
        ),
    ],
    timeline="""
        time                | occurred            | code                         | value
        2020-05-04 10:00:00 | 2020-05-04 08:00:00 | NOTE//RIS//CXR               | "Pneumonia."
        2020-05-04 10:00:00 | 2020-05-04 08:00:00 | REPORT//RIS//CXR             |
        2020-05-04 10:00:00 | 2020-05-04 08:00:00 | REPORT//RIS//CXR//ICD10//J18 |
        2020-05-05 09:00:00 | 2020-05-05 08:00:00 | NOTE//RIS//CXR               | "No change."
        2020-05-05 09:00:00 | 2020-05-05 08:00:00 | REPORT//RIS//CXR             |
        2020-05-06 08:00:00 |                     | NOTE//RIS//CXR               | "Better."
        2020-05-06 08:00:00 |                     | NOTE_UNREAD//application/pdf | "damaged"
        2020-05-06 08:00:00 |                     | REPORT//RIS//CXR             |
        2020-05-07 08:00:00 |                     | NOTE_UNREAD//image/jpeg      | "not fetched"
        2020-05-07 08:00:00 |                     | REPORT//RIS//CXR             |
    """,
    accounts={
        "projected": 5,
        "skipped": {
            "DiagnosticReport: registered": 1,
            "DiagnosticReport: cancelled": 1,
            "DiagnosticReport: entered-in-error": 1,
        },
    },
    sees={"2020-05-04 09:00:00": set(), "2020-05-04 10:00:00": {"events", "notes"}},
    task="pneumonia_seen_so_far",
    labels=(
        Label(prediction_time="2020-05-06 08:00:00", value=True),
        Label(prediction_time="2020-05-07 08:00:00", value=True),
    ),
)
