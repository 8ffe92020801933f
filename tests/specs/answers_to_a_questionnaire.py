from tests.specs.spec import Label, Spec

NO_ALLERGY = {"system": "http://snomed.info/sct", "code": "716186003"}
FORM = "http://kh.example/fhir/Questionnaire/intake|2.1"
ABOUT = {"subject": {"reference": "Patient/p"}}

SPEC = Spec(
    title="Answers to a questionnaire",
    says="""
        Each answer is an event: `ANSWER//`, the questionnaire's name and the question's `linkId`;
        questions in groups and questions that depend on an answer among them. A coded answer
        stands in the code, a yes is 1. The answers are known when they were gathered (`authored`).
        A form that is still being filled in, or was given up, is not vouched for.
    """,
    resources=[
        {"resourceType": "Patient", "id": "p"},
        {
            "resourceType": "QuestionnaireResponse",
            "id": "intake",
            "status": "completed",
            "questionnaire": FORM,
            "authored": "2020-05-04T08:00:00Z",
            "item": [
                {
                    "linkId": "habits",
                    "item": [
                        {
                            "linkId": "SMOKES",
                            "answer": [
                                {
                                    "valueBoolean": True,
                                    "item": [
                                        {
                                            "linkId": "A-DAY",
                                            "answer": [{"valueInteger": 15}],
                                        }
                                    ],
                                }
                            ],
                        },
                        {"linkId": "DRINKS"},
                    ],
                },
                {"linkId": "ALLERGY", "answer": [{"valueCoding": NO_ALLERGY}]},
                {"linkId": "/8302-2", "answer": [{"valueQuantity": {"value": 1.7, "code": "m"}}]},
                {
                    "linkId": "WHY",
                    "answer": [{"valueString": "cough"}, {"valueString": "fever"}],
                },
            ],
            **ABOUT,
        },
        *(
            {
                "resourceType": "QuestionnaireResponse",
                "id": status,
                "status": status,
                "questionnaire": FORM,
                "authored": "2020-05-04T08:00:00Z",
                "item": [{"linkId": "SMOKES", "answer": [{"valueBoolean": True}]}],
                **ABOUT,
            }
            for status in ("in-progress", "stopped", "entered-in-error")
        ),
        {
            "resourceType": "QuestionnaireResponse",
            "id": "empty",
            "status": "completed",
            "questionnaire": FORM,
            "authored": "2020-05-04T08:00:00Z",
            **ABOUT,
        },
    ],
    timeline="""
        time                | code                                       | value
        2020-05-04 08:00:00 | ANSWER//INTAKE//SMOKES                     | 1
        2020-05-04 08:00:00 | ANSWER//INTAKE//A-DAY                      | 15
        2020-05-04 08:00:00 | ANSWER//INTAKE//ALLERGY//SNOMED//716186003 |
        2020-05-04 08:00:00 | ANSWER//INTAKE//8302-2                     | 170 cm
        2020-05-04 08:00:00 | ANSWER//INTAKE//WHY                        | "cough"
        2020-05-04 08:00:00 | ANSWER//INTAKE//WHY                        | "fever"
    """,
    accounts={
        "projected": 2,
        "skipped": {
            "QuestionnaireResponse: in-progress": 1,
            "QuestionnaireResponse: stopped": 1,
            "QuestionnaireResponse: entered-in-error": 1,
            "QuestionnaireResponse: no answer": 1,
        },
    },
    task="smoker_by_then",
    labels=(Label(prediction_time="2020-05-04 08:00:00", value=True),),
)
