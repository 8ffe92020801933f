-- Specimen → SPECIMEN//…: that a specimen of a kind was taken. What was found in it is an Observation.
--
-- `time`: the later of the end of `collection.collected[x]` and `receivedTime`; `occurred`: the start
-- of the collection. What was made of another specimen (`parent`: an isolate, a slide) carries the
-- collection of that one, but was there only later, and that it was there at all is a finding: it
-- counts from `receivedTime` or the last `processing`, and without them it is left out.
-- A specimen has no encounter to be dated by. Entered in error is skipped; one that is used up or
-- unsatisfactory was taken all the same.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"receivedTime": "VARCHAR", "parent": ["JSON"],
            "collection": {"collectedDateTime": "VARCHAR", "collectedPeriod": {"start": "VARCHAR", "end": "VARCHAR"}},
            "processing": [{"timeDateTime": "VARCHAR", "timePeriod": {"start": "VARCHAR", "end": "VARCHAR"}}]}') AS r,
        concept(json -> '$.type') AS c
    FROM resource
    WHERE type = 'Specimen'
),
dated AS (
    SELECT
        *,
        len(coalesce(r.parent, [])) > 0 AS made,
        coalesce(fhir_end(r.collection.collectedDateTime, zone), period_end(r.collection.collectedPeriod, zone)) AS taken,
        coalesce(fhir_start(r.collection.collectedDateTime, zone), period_end_from(r.collection.collectedPeriod, zone))
            AS taken_from,
        list_max(list_transform(r.processing,
            lambda p: coalesce(fhir_end(p.timeDateTime, zone), period_end(p.timePeriod, zone)))) AS processed,
        list_max(list_transform(r.processing,
            lambda p: coalesce(fhir_start(p.timeDateTime, zone), period_end_from(p.timePeriod, zone)))) AS processed_from
    FROM read
)
SELECT
    file, position, subject_key,
    CASE WHEN made THEN greatest(fhir_end(r.receivedTime, zone), processed)
         ELSE greatest(taken, fhir_end(r.receivedTime, zone)) END AS time,
    CASE WHEN made THEN greatest(fhir_start(r.receivedTime, zone), processed_from)
         ELSE greatest(taken_from, fhir_start(r.receivedTime, zone)) END AS time_from,
    CASE WHEN NOT made THEN coalesce(
        fhir_end(r.collection.collectedDateTime, zone), period_start(r.collection.collectedPeriod, zone)) END AS occurred,
    CASE WHEN NOT made THEN coalesce(
        fhir_start(r.collection.collectedDateTime, zone), period_start_from(r.collection.collectedPeriod, zone)) END
        AS occurred_from,
    'SPECIMEN//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status = 'entered-in-error' THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM dated
