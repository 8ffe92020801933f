-- Flag → FLAG//…: a warning on the chart (risk of falls, isolation, no resuscitation).
--
-- `time`: the start of `period`, for that is when it was put there; without it the encounter's end.
-- That it was taken off later does not undo that it was there. Entered in error is skipped.
WITH read AS (
    SELECT *, from_json(json, '{"period": {"start": "VARCHAR"}}') AS r, concept(json -> '$.code') AS c
    FROM resource
    WHERE type = 'Flag'
)
SELECT
    file, position, subject_key,
    coalesce(fhir_end(r.period.start, zone), encounter_end) AS time,
    coalesce(fhir_start(r.period.start, zone), encounter_end_from) AS time_from,
    'FLAG//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status = 'entered-in-error' THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM read
