from base64 import b64encode
from typing import Any

from tests.specs.spec import Label, Spec

LETTER = {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]}
FILM = {"coding": [{"system": "http://loinc.org", "code": "36643-5"}]}
ABOUT = {"subject": {"reference": "Patient/p"}}
CHANGED = {"meta": {"lastUpdated": "2020-06-01T12:00:00Z"}}
WRITTEN = "2020-03-02T16:00:00Z"


def letter(name: str, status: str, **more: Any) -> dict[str, Any]:
    words = f'<div xmlns="http://www.w3.org/1999/xhtml">{name}</div>'
    return {
        "resourceType": "Composition",
        "id": name,
        "status": status,
        "type": LETTER,
        "date": WRITTEN,
        "text": {"status": "generated", "div": words},
        **CHANGED,
        **ABOUT,
        **more,
    }


def document(
    name: str, doc_status: str, creation: str | None = None, **more: Any
) -> dict[str, Any]:
    """Give a document with one form; with `before`, the creation of a film that stands first."""
    data = b64encode(name.encode()).decode()
    film = {"contentType": "image/png", "data": data, "creation": more.pop("before", None)}
    first = [{"attachment": film}] if film["creation"] else []
    return {
        "resourceType": "DocumentReference",
        "id": name,
        "status": "current",
        "docStatus": doc_status,
        "type": LETTER,
        "date": WRITTEN,
        "content": [
            *first,
            {"attachment": {"contentType": "text/plain", "data": data, "creation": creation}},
        ],
        **CHANGED,
        **ABOUT,
        **more,
    }


def answers(name: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": name,
        "status": "amended",
        "questionnaire": "http://kh.example/Questionnaire/intake",
        "authored": WRITTEN,
        "item": [{"linkId": "falls", "answer": [{"valueInteger": 3}]}],
        **CHANGED,
        **ABOUT,
        **more,
    }


def report(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "id": name,
        "status": status,
        "code": FILM,
        "effectiveDateTime": "2020-03-01T08:00:00Z",
        "issued": WRITTEN,
        "conclusion": name,
        **CHANGED,
        **ABOUT,
        **more,
    }


def stay(name: str, status: str, **period: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": status,
        "class": {"code": "IMP"},
        "period": period,
        **ABOUT,
    }


STAMPED = Spec(
    title="Texts that were changed after they were told",
    says="""
        Of a letter, a document or a report that was amended, corrected or appended we have the text
        as it is now, which nobody had when it was first written: it counts from the version that we
        have (`meta.lastUpdated`). So does a report that R5 calls modified, before it is final. What
        was written once counts from its date, whenever its server last stored it; a preliminary or
        deprecated text was what was known in its day. R5 has letters that are only registered, so
        that nothing is written yet, and cancelled ones: neither says anything. Answers that were
        amended count from their amendment, too.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        letter("as written", "final"),
        letter("amended letter", "amended"),
        letter("corrected letter", "corrected"),
        letter("appended letter", "appended"),
        letter("preliminary letter", "preliminary"),
        letter("deprecated letter", "deprecated"),
        letter("registered letter", "registered"),
        letter("cancelled letter", "cancelled"),
        document("as filed", "final"),
        document("amended document", "amended"),
        document("corrected document", "corrected"),
        document("appended document", "appended"),
        document("registered document", "registered"),
        document("cancelled document", "cancelled"),
        document("mistaken document", "entered-in-error"),
        report("as issued", "final"),
        report("amended report", "amended"),
        report("corrected report", "corrected"),
        report("appended report", "appended"),
        report("modified report", "modified"),
        answers("answers"),
    ],
    timeline="""
        time                | occurred            | code                   | value
        2020-03-02 16:00:00 |                     | NOTE//LOINC//18842-5   | "as filed"
        2020-03-02 16:00:00 |                     | NOTE//LOINC//18842-5   | "as written"
        2020-03-02 16:00:00 |                     | NOTE//LOINC//18842-5   | "deprecated letter"
        2020-03-02 16:00:00 |                     | NOTE//LOINC//18842-5   | "preliminary letter"
        2020-03-02 16:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "as issued"
        2020-03-02 16:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-06-01 12:00:00 |                     | ANSWER//INTAKE//falls  | 3
        2020-06-01 12:00:00 |                     | NOTE//LOINC//18842-5   | "amended document"
        2020-06-01 12:00:00 |                     | NOTE//LOINC//18842-5   | "amended letter"
        2020-06-01 12:00:00 |                     | NOTE//LOINC//18842-5   | "appended document"
        2020-06-01 12:00:00 |                     | NOTE//LOINC//18842-5   | "appended letter"
        2020-06-01 12:00:00 |                     | NOTE//LOINC//18842-5   | "corrected document"
        2020-06-01 12:00:00 |                     | NOTE//LOINC//18842-5   | "corrected letter"
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "amended report"
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "appended report"
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "corrected report"
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "modified report"
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-06-01 12:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
    """,
    accounts={
        "projected": 17,
        "skipped": {
            "Composition: registered": 1,
            "Composition: cancelled": 1,
            "DocumentReference: document registered": 1,
            "DocumentReference: document cancelled": 1,
            "DocumentReference: entered-in-error": 1,
        },
    },
    sees={"2020-03-01": set(), "2020-03-03": {"events", "notes"}},
    task="film_reported_so_far",
    labels=(Label(prediction_time="2020-06-01 12:00:00", value=True),),
)

UNSTAMPED: dict[str, Any] = {"meta": None, "issued": None}
OVER = {"encounter": {"reference": "Encounter/over"}}
MADE = "2020-03-09T08:00:00Z"
GOES_ON = {"encounter": {"reference": "Encounter/goes-on"}}

NOT_STAMPED = Spec(
    title="Texts of which nobody says when they were changed",
    says="""
        A report that was corrected at an unknown hour counts from the end of its stay, not from the
        examination that it is of: nobody had that text then. While the stay goes on, or where there
        is none, nobody can say when, and it is left out. Where it was issued, that is when. So it
        is with documents and with answers to a questionnaire. A document's file says when it was
        made: nobody read it before that, amended or not, whatever the document's date is. Of
        several files that of which we have the text counts.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        stay("over", "finished", start="2020-03-01T07:00:00Z", end="2020-03-05T10:00:00Z"),
        stay("goes-on", "in-progress", start="2020-03-01T07:30:00Z"),
        *(
            report(f"{status} in a stay", status, **UNSTAMPED, **OVER)
            for status in ("final", "amended", "corrected", "appended", "modified")
        ),
        report("in a stay that goes on", "corrected", **UNSTAMPED, **GOES_ON),
        report("in no stay", "corrected", **UNSTAMPED),
        report("issued", "corrected", meta=None, **GOES_ON),
        document("amended", "amended", MADE, meta=None),
        document("amended, dated after", "amended", MADE, meta=None, date="2020-03-20T16:00:00Z"),
        document("amended, undated", "amended", MADE, meta=None, date=None),
        document("amended, stored later", "amended", MADE),
        document("final", "final", MADE, meta=None),
        document("made before", "final", "2020-03-01", meta=None),
        document("text made last", "final", MADE, meta=None, before="2020-03-02"),
        document("film made last", "final", "2020-03-02T09:00:00Z", meta=None, before=MADE),
        *(
            document(f"{status}, in a stay", status, **UNSTAMPED, **OVER)
            for status in ("final", "amended", "corrected", "appended")
        ),
        document("filed after the stay", "amended", meta=None, date="2020-03-07T16:00:00Z", **OVER),
        document("in a stay that goes on, too", "amended", meta=None, **GOES_ON),
        document("in no stay, too", "amended", meta=None),
        answers("answers in a stay", meta=None, **OVER),
        answers("answers in a stay that goes on", meta=None, **GOES_ON),
        answers("answers in no stay", meta=None),
    ],
    timeline="""
        time                | occurred            | code                   | value
        2020-03-01 07:00:00 |                     | ENCOUNTER_START//IMP   |
        2020-03-01 07:30:00 |                     | ENCOUNTER_START//IMP   |
        2020-03-01 08:00:00 |                     | NOTE//LOINC//36643-5   | "final in a stay"
        2020-03-01 08:00:00 |                     | REPORT//LOINC//36643-5 |
        2020-03-02 16:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "issued"
        2020-03-02 16:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-03-02 16:00:00 |                     | NOTE//LOINC//18842-5   | "made before"
        2020-03-02 16:00:00 |                     | NOTE//LOINC//18842-5   | "film made last"
        2020-03-02 16:00:00 |                     | NOTE//LOINC//18842-5   | "final, in a stay"
        2020-03-05 10:00:00 |                     | ENCOUNTER_END//IMP     |
        2020-03-05 10:00:00 |                     | ANSWER//INTAKE//falls  | 3
        2020-03-05 10:00:00 |                     | NOTE//LOINC//18842-5   | "amended, in a stay"
        2020-03-05 10:00:00 |                     | NOTE//LOINC//18842-5   | "appended, in a stay"
        2020-03-05 10:00:00 |                     | NOTE//LOINC//18842-5   | "corrected, in a stay"
        2020-03-07 16:00:00 |                     | NOTE//LOINC//18842-5   | "filed after the stay"
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "amended in a stay"
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "appended in a stay"
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "corrected in a stay"
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | NOTE//LOINC//36643-5   | "modified in a stay"
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-03-05 10:00:00 | 2020-03-01 08:00:00 | REPORT//LOINC//36643-5 |
        2020-03-09 08:00:00 |                     | NOTE//LOINC//18842-5   | "amended"
        2020-03-09 08:00:00 |                     | NOTE//LOINC//18842-5   | "amended, undated"
        2020-03-09 08:00:00 |                     | NOTE//LOINC//18842-5   | "final"
        2020-03-09 08:00:00 |                     | NOTE//LOINC//18842-5   | "text made last"
        2020-03-20 16:00:00 |                     | NOTE//LOINC//18842-5   | "amended, dated after"
        2020-06-01 12:00:00 |                     | NOTE//LOINC//18842-5   | "amended, stored later"
    """,
    accounts={
        "projected": 23,
        "skipped": {
            "DiagnosticReport: undated": 2,
            "DocumentReference: undated": 2,
            "QuestionnaireResponse: undated": 2,
        },
    },
    sees={"2020-03-01 07:59:59": {"events"}, "2020-03-01 08:00:00": {"events", "notes"}},
    task="appendectomy_by_the_next_stay",
    labels=(
        Label(prediction_time="2020-03-01 07:00:00", value=False),
        Label(prediction_time="2020-03-01 07:30:00", value=False),
    ),
)

SPECS = (STAMPED, NOT_STAMPED)
