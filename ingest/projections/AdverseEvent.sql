-- AdverseEvent → ADVERSE_EVENT//…: harm that care did.
--
-- `time`: `recordedDate`, not before it happened; without it the latest of `date` (R5: the
-- end of `occurrence[x]`) and `detected`, else the encounter's end. `occurred`: `date`, or the start.
-- What could have happened and did not (`actuality`: potential) and what was entered in error is skipped.
--
-- texts: actuality
-- times: date occurrenceDateTime occurrencePeriod.start occurrencePeriod.end detected recordedDate
-- concepts: event code
WITH dated AS (
    SELECT
        *,
        CASE WHEN "event" IS NOT NULL THEN "event" ELSE "code" END AS c,
        CASE WHEN "date" IS NOT NULL THEN "date.first" WHEN "occurrenceDateTime" IS NOT NULL THEN "occurrenceDateTime.first"
             ELSE "occurrencePeriod.start.first" END AS happened_from,
        CASE WHEN "date" IS NOT NULL THEN "date.last" WHEN "occurrenceDateTime" IS NOT NULL THEN "occurrenceDateTime.last"
             ELSE "occurrencePeriod.start.last" END AS happened
    FROM resource
)
SELECT
    place, subject_key,
    CASE WHEN "recordedDate.last" IS NOT NULL THEN greatest("recordedDate.last", happened_from)
         ELSE coalesce(greatest(happened, "detected.last", "occurrencePeriod.end.last"), encounter_end) END AS time,
    CASE WHEN "recordedDate.first" IS NOT NULL THEN greatest("recordedDate.first", happened_from)
         ELSE coalesce(greatest(happened_from, "detected.first", "occurrencePeriod.end.first"), encounter_end_from) END
        AS time_from,
    happened AS occurred,
    happened_from AS occurred_from,
    'ADVERSE_EVENT//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN "actuality" = 'potential' THEN 'potential'
         WHEN status = 'entered-in-error' THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM dated
