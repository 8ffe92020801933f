-- Procedure → what was done.
--
-- `time`: the end of `performed[x]` (a procedure that still goes on is known from its start);
-- without any, the encounter's end. `occurred`: its start. What was not done, is only being
-- prepared, or was entered in error is skipped; what was stopped had begun, and stays.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"code": "JSON", "performedDateTime": "VARCHAR",
            "performedPeriod": {"start": "VARCHAR", "end": "VARCHAR"}}') AS r,
        concept(json -> '$.code') AS c
    FROM resource
    WHERE type = 'Procedure'
)
SELECT
    file, position, subject_key,
    coalesce(
        fhir_end(r.performedDateTime, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_end(r.performedPeriod.start, zone) END,
        period_end(r.performedPeriod, zone),
        encounter_end
    ) AS time,
    coalesce(
        fhir_start(r.performedDateTime, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_start(r.performedPeriod.start, zone) END,
        period_end_from(r.performedPeriod, zone),
        encounter_end_from
    ) AS time_from,
    period_start(r.performedPeriod, zone) AS occurred,
    period_start_from(r.performedPeriod, zone) AS occurred_from,
    c.code AS code,
    c.display AS display,
    c.parents AS parents,
    CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM read
