"""Three patients: one without a note, one without an image, one whose image comes too late."""

from base64 import b64encode
from typing import Any

from tests.specs.spec import Label, Spec

FILM = {
    "PatientID": "p",
    "StudyDate": "20200510",
    "StudyTime": "120000",
    "AcquisitionDate": "20200510",
    "AcquisitionTime": "120000",
    "ViewPosition": "PA",
}
PATIENT = {"resourceType": "Patient", "id": "p"}


def note(text: str, kind: str = "text/plain") -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": "letter",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]},
        "subject": {"reference": "Patient/p"},
        "date": "2020-05-04T10:00:00Z",
        "content": [
            {"attachment": {"contentType": kind, "data": b64encode(text.encode()).decode()}}
        ],
    }


NO_NOTE = Spec(
    title="A patient with no note",
    says="""
        Nobody is refused for what he or she lacks. A note of a kind that we cannot read is not the
        same as no note: it leaves an event that says why, which is not a note: a task that asks
        for notes has no row here.
    """,
    resources=[PATIENT, note("%PDF-1.7", "application/pdf")],
    images={"film.dcm": FILM},
    timeline="""
        time                | code                         | value
        2020-05-04 10:00:00 | NOTE_UNREAD//application/pdf | "damaged"
        2020-05-10 12:00:00 | IMAGE//DX//PA                | an image
    """,
    sees={"2020-05-03": set(), "2020-05-10 12:00:00": {"events", "images"}},
    task="film_within_a_month",
    labels=(),
)

NO_IMAGE = Spec(
    title="A patient with no image",
    says="""
        The note of 10:00 is there at 10:00: what is known up to and including the prediction time
        may be used. HTML is read as the words that it shows. Whether a film followed is not known:
        nothing is recorded of the 30 days after the note, so there is no label, not a negative one.
    """,
    resources=[PATIENT, note("<p>No <b>effusion</b>.</p><p>Heart enlarged.</p>", "text/html")],
    timeline="""
        time                | code                 | value
        2020-05-04 10:00:00 | NOTE//LOINC//18842-5 | "No effusion.\\n\\nHeart enlarged."
    """,
    sees={"2020-05-04 09:59:59": set(), "2020-05-04 10:00:00": {"notes"}},
    task="film_within_a_month",
    labels=(Label(prediction_time="2020-05-04 10:00:00", value=None),),
)

LATE_IMAGE = Spec(
    title="A patient whose only image comes after the prediction time",
    says="""
        The film is in the store, and at the prediction time it does not exist: the model is given a
        patient without an image, as the clinician was.
    """,
    resources=[PATIENT, note("Short of breath.")],
    images={"film.dcm": FILM},
    timeline="""
        time                | code                 | value
        2020-05-04 10:00:00 | NOTE//LOINC//18842-5 | "Short of breath."
        2020-05-10 12:00:00 | IMAGE//DX//PA        | an image
    """,
    sees={"2020-05-05": {"notes"}, "2020-05-11": {"notes", "images"}},
    task="film_within_a_month",
    labels=(Label(prediction_time="2020-05-04 10:00:00", value=True),),
)

SPECS = (NO_NOTE, NO_IMAGE, LATE_IMAGE)
