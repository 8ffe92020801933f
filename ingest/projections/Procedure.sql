-- Procedure → what was done.
--
-- `time`: the end of `performed[x]` (R5: `occurrence[x]`; a procedure that still goes on is known from its start);
-- without any, the encounter's end. `occurred`: its start. What was not done, is only being
-- prepared, or was entered in error is skipped; what was stopped had begun, and stays.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"code": "JSON", "performedDateTime": "VARCHAR", "occurrenceDateTime": "VARCHAR",
            "performedPeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "occurrencePeriod": {"start": "VARCHAR", "end": "VARCHAR"}}') AS r,
        coalesce((r).performedDateTime, (r).occurrenceDateTime) AS point,
        coalesce((r).performedPeriod, (r).occurrencePeriod) AS span,
        concept((r).code) AS c
    FROM resource
    WHERE type = 'Procedure'
)
SELECT
    file, position, subject_key,
    coalesce(
        fhir_end(point, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_end(span.start, zone) END,
        period_end(span, zone),
        encounter_end
    ) AS time,
    coalesce(
        fhir_start(point, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_start(span.start, zone) END,
        period_end_from(span, zone),
        encounter_end_from
    ) AS time_from,
    period_start(span, zone) AS occurred,
    period_start_from(span, zone) AS occurred_from,
    c.code AS code,
    c.display AS display,
    c.parents AS parents,
    CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM read
