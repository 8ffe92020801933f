-- Specimen → SPECIMEN//…: that a specimen of a kind was taken. What was found in it is an Observation.
--
-- `time`: the later of the end of `collection.collected[x]` and `receivedTime`; `occurred`: the start
-- of the collection. What was made of another specimen (`parent`: an isolate, a slide) carries the
-- collection of that one, but was there only later, and that it was there at all is a finding: it
-- counts from `receivedTime` or the last `processing`, and without them it is left out.
-- A specimen has no encounter to be dated by. Entered in error is skipped; one that is used up or
-- unsatisfactory was taken all the same.
--
-- nested: parent processing
-- times: receivedTime collection.collectedDateTime
-- periods: collection.collectedPeriod
-- concepts: type
WITH dated AS (
    SELECT
        *,
        coalesce(json_array_length("parent") > 0, false) AS made,
        coalesce("collection.collectedDateTime.last", "collection.collectedPeriod.ended") AS taken,
        coalesce("collection.collectedDateTime.first", "collection.collectedPeriod.ended_from") AS taken_from,
        from_json("processing", '[{"timeDateTime": "VARCHAR", "timePeriod": {"start": "VARCHAR", "end": "VARCHAR"}}]') AS steps,
        list_max(list_transform(steps,
            lambda p: coalesce(fhir_end(p.timeDateTime, zone), period_end(p.timePeriod, zone)))) AS processed,
        list_max(list_transform(steps,
            lambda p: coalesce(fhir_start(p.timeDateTime, zone), period_end_from(p.timePeriod, zone)))) AS processed_from
    FROM resource
)
SELECT
    place, subject_key,
    CASE WHEN made THEN greatest("receivedTime.last", processed)
         ELSE greatest(taken, "receivedTime.last") END AS time,
    CASE WHEN made THEN greatest("receivedTime.first", processed_from)
         ELSE greatest(taken_from, "receivedTime.first") END AS time_from,
    CASE WHEN NOT made THEN coalesce("collection.collectedDateTime.last", "collection.collectedPeriod.began") END
        AS occurred,
    CASE WHEN NOT made THEN coalesce("collection.collectedDateTime.first", "collection.collectedPeriod.began_from") END
        AS occurred_from,
    'SPECIMEN//' || "type".code AS code,
    "type".display AS display,
    list_prepend("type".code, "type".parents) AS parents,
    CASE WHEN status = 'entered-in-error' THEN status
         WHEN "type".code IS NULL THEN 'no code' END AS skip
FROM dated
