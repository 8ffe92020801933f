-- MedicationRequest → ORDER//…: that a drug was ordered, which is not that it was given.
--
-- `time`: `authoredOn`, else the encounter's end. Proposals, plans and options are skipped (nobody
-- ordered them), so are drafts, cancelled orders, orders not to give (`doNotPerform`) and what was
-- entered in error. A drug made of several is one event for each. The value is the ordered dose.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"intent": "VARCHAR", "authoredOn": "VARCHAR", "doNotPerform": "BOOLEAN",
            "dosageInstruction": [{"doseAndRate": [{"doseQuantity":
                {"value": "DOUBLE", "unit": "VARCHAR", "system": "VARCHAR", "code": "VARCHAR"}}]}]}') AS r
    FROM resource
    WHERE type = 'MedicationRequest'
)
SELECT
    x.file, x.position, subject_key,
    coalesce(fhir_end(r.authoredOn, zone), encounter_end) AS time,
    coalesce(fhir_start(r.authoredOn, zone), encounter_end_from) AS time_from,
    'ORDER//' || m.code AS code,
    finite(r.dosageInstruction[1].doseAndRate[1].doseQuantity.value) AS numeric_value,
    quantity_unit(r.dosageInstruction[1].doseAndRate[1].doseQuantity) AS unit,
    m.display AS display,
    list_prepend(m.code, m.parents) AS parents,
    CASE WHEN status IN ('cancelled', 'draft', 'entered-in-error') THEN status
         WHEN r.intent IN ('proposal', 'plan', 'option') THEN 'intent ' || r.intent
         WHEN r.doNotPerform THEN 'do not perform'
         WHEN m.code IS NULL THEN 'no code' END AS skip
FROM read x LEFT JOIN drug m ON m.file = x.file AND m.position = x.position
