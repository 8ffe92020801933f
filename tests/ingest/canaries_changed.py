"""Canaries of what was changed, or made, after its own date, where nothing says when it was stored:

known at the end of the stay, or when the file that is read was made.
"""

from tests.ingest.canaries import CODE, JUNE, MARCH, STAY, TEXT, canary, record

__all__ = ["CHANGED_SOME_TIME"]

FORM = {"contentType": "text/plain", "data": TEXT}
LETTER = {
    "resourceType": "DocumentReference",
    "id": "$-canary",
    "status": "current",
    "type": CODE,
    "date": MARCH,
    "context": {"period": {"start": MARCH, "end": MARCH}},
    "content": [{"attachment": FORM}],
}

CHANGED_SOME_TIME = {
    "DocumentReference-amended": canary(
        "NOTE//SNOMED//CANARY", LETTER | {"docStatus": "amended"} | STAY, two_clocks=True
    ),
    "DocumentReference-made-later": canary(
        "NOTE//SNOMED//CANARY",
        LETTER | {"content": [{"attachment": {**FORM, "creation": JUNE}}]},
        two_clocks=True,
    ),
    "DocumentReference-second-form": canary(
        "NOTE//SNOMED//CANARY",
        LETTER
        | {
            "content": [
                {"attachment": {"contentType": "image/png", "data": TEXT, "creation": MARCH}},
                {"attachment": {**FORM, "creation": JUNE}},
            ]
        },
        two_clocks=True,
    ),
    "DiagnosticReport-amended": canary(
        "REPORT//SNOMED//CANARY",
        record(
            "DiagnosticReport",
            status="amended",
            code=CODE,
            conclusion="The canary sang.",
            effectiveDateTime=MARCH,
            **STAY,
        ),
        two_clocks=True,
    ),
    "QuestionnaireResponse-amended": canary(
        "ANSWER//SONGS//1//SNOMED//CANARY",
        record(
            "QuestionnaireResponse",
            status="amended",
            questionnaire="http://kh.example/Questionnaire/songs",
            authored=MARCH,
            item=[{"linkId": "1", "answer": [{"valueCoding": CODE["coding"][0]}]}],
            **STAY,
        ),
        two_clocks=False,
    ),
}
