-- MedicationRequest → ORDER//…: that a drug was ordered, which is not that it was given.
--
-- `time`: `authoredOn`, else the encounter's end. Proposals, plans and options are skipped (nobody
-- ordered them), so are drafts, cancelled orders, orders not to give (`doNotPerform`) and what was
-- entered in error. A drug made of several is one event for each. The value is the ordered dose.
--
-- texts: intent doNotPerform
-- times: authoredOn
-- quantities: dosageInstruction[0].doseAndRate[0].doseQuantity
-- concepts: medicationCodeableConcept medication.concept medicationReference medication.reference
SELECT
    place, subject_key,
    coalesce("authoredOn.last", encounter_end) AS time,
    coalesce("authoredOn.first", encounter_end_from) AS time_from,
    'ORDER//' || drug.code AS code,
    "dosageInstruction[0].doseAndRate[0].doseQuantity.value" AS numeric_value,
    "dosageInstruction[0].doseAndRate[0].doseQuantity.words" AS text_value,
    "dosageInstruction[0].doseAndRate[0].doseQuantity.unit" AS unit,
    drug.display AS display,
    list_prepend(drug.code, drug.parents) AS parents,
    CASE WHEN status IN ('cancelled', 'draft', 'entered-in-error') THEN status
         WHEN "intent" IN ('proposal', 'plan', 'option') THEN 'intent ' || "intent"
         WHEN "doNotPerform" = 'true' THEN 'do not perform'
         WHEN drug.code IS NULL THEN 'no code' END AS skip
FROM medicated
