-- Immunization → IMMUNIZATION//…
--
-- `time`: the later of `occurrenceDateTime` and `recorded` (a vaccination of long ago is known when
-- it is told), else the encounter's end. `occurred`: `occurrenceDateTime`. Not done and entered in
-- error are skipped.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"vaccineCode": "JSON", "occurrenceDateTime": "VARCHAR", "recorded": "VARCHAR"}') AS r,
        concept(json -> '$.vaccineCode') AS c
    FROM resource
    WHERE type = 'Immunization'
)
SELECT
    file, position, subject_key,
    coalesce(greatest(fhir_end(r.occurrenceDateTime, zone), fhir_end(r.recorded, zone)), encounter_end) AS time,
    coalesce(greatest(fhir_start(r.occurrenceDateTime, zone), fhir_start(r.recorded, zone)), encounter_end_from)
        AS time_from,
    fhir_end(r.occurrenceDateTime, zone) AS occurred,
    fhir_start(r.occurrenceDateTime, zone) AS occurred_from,
    'IMMUNIZATION//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status IN ('not-done', 'entered-in-error') THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM read
