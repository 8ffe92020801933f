-- Goal → GOAL//…: what was aimed at with the patient. Whether it was reached comes later, and is left
-- to the observations.
--
-- `time`: `startDate`, else `statusDate`, for by then it was set; with neither it is left out (a goal
-- has no encounter). A goal that is only proposed or planned, was rejected, cancelled or entered in
-- error is skipped.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"lifecycleStatus": "VARCHAR", "startDate": "VARCHAR", "statusDate": "VARCHAR"}') AS r,
        concept(json -> '$.description') AS c
    FROM resource
    WHERE type = 'Goal'
)
SELECT
    file, position, subject_key,
    coalesce(fhir_end(r.startDate, zone), fhir_end(r.statusDate, zone)) AS time,
    coalesce(fhir_start(r.startDate, zone), fhir_start(r.statusDate, zone)) AS time_from,
    'GOAL//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN r.lifecycleStatus IN ('proposed', 'planned', 'rejected', 'cancelled', 'entered-in-error')
         THEN r.lifecycleStatus
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM read
