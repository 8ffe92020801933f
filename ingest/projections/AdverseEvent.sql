-- AdverseEvent → ADVERSE_EVENT//…: harm that care did.
--
-- `time`: `recordedDate`, not before it happened; without it the latest of `date` (R5: the
-- end of `occurrence[x]`) and `detected`, else the encounter's end. `occurred`: `date`, or the start.
-- What could have happened and did not (`actuality`: potential) and what was entered in error is skipped.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"actuality": "VARCHAR", "date": "VARCHAR", "occurrenceDateTime": "VARCHAR",
            "occurrencePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "detected": "VARCHAR", "recordedDate": "VARCHAR"}') AS r,
        coalesce((r).date, (r).occurrenceDateTime, (r).occurrencePeriod.start) AS date,
        concept(coalesce(json -> '$.event', json -> '$.code')) AS c
    FROM resource
    WHERE type = 'AdverseEvent'
)
SELECT
    file, position, subject_key,
    CASE WHEN fhir_end(r.recordedDate, zone) IS NOT NULL
         THEN greatest(fhir_end(r.recordedDate, zone), fhir_start(date, zone))
         ELSE coalesce(greatest(
             fhir_end(date, zone), fhir_end(r.detected, zone), fhir_end(r.occurrencePeriod."end", zone)), encounter_end) END AS time,
    CASE WHEN fhir_start(r.recordedDate, zone) IS NOT NULL
         THEN greatest(fhir_start(r.recordedDate, zone), fhir_start(date, zone))
         ELSE coalesce(greatest(
             fhir_start(date, zone), fhir_start(r.detected, zone), fhir_start(r.occurrencePeriod."end", zone)),
             encounter_end_from) END
        AS time_from,
    fhir_end(date, zone) AS occurred,
    fhir_start(date, zone) AS occurred_from,
    'ADVERSE_EVENT//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN r.actuality = 'potential' THEN 'potential'
         WHEN status = 'entered-in-error' THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM read
