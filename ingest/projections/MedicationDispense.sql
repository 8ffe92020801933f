-- MedicationDispense → DISPENSED//…: that the pharmacy handed a drug out.
--
-- `time`: `whenHandedOver`, else `whenPrepared`, else the encounter's end. What is being prepared,
-- on hold, declined, cancelled or entered in error was not handed out, and is skipped.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"whenHandedOver": "VARCHAR", "whenPrepared": "VARCHAR",
            "quantity": {"value": "DOUBLE", "unit": "VARCHAR", "system": "VARCHAR", "code": "VARCHAR"}}') AS r
    FROM resource
    WHERE type = 'MedicationDispense'
)
SELECT
    x.file, x.position, subject_key,
    coalesce(fhir_end(r.whenHandedOver, zone), fhir_end(r.whenPrepared, zone), encounter_end) AS time,
    coalesce(fhir_start(r.whenHandedOver, zone), fhir_start(r.whenPrepared, zone), encounter_end_from) AS time_from,
    'DISPENSED//' || m.code AS code,
    finite(r.quantity.value) AS numeric_value,
    quantity_unit(r.quantity) AS unit,
    m.display AS display,
    list_prepend(m.code, m.parents) AS parents,
    CASE WHEN status IN ('preparation', 'on-hold', 'declined', 'cancelled', 'entered-in-error') THEN status
         WHEN m.code IS NULL THEN 'no code' END AS skip
FROM read x LEFT JOIN drug m ON m.file = x.file AND m.position = x.position
