-- Immunization → IMMUNIZATION//…
--
-- `time`: the later of `occurrenceDateTime` and `recorded` (a vaccination of long ago is known when
-- it is told), else the encounter's end. `occurred`: `occurrenceDateTime`. Not done and entered in
-- error are skipped.
--
-- times: occurrenceDateTime recorded
-- concepts: vaccineCode
SELECT
    place, subject_key,
    coalesce(greatest("occurrenceDateTime.last", "recorded.last"), encounter_end) AS time,
    coalesce(greatest("occurrenceDateTime.first", "recorded.first"), encounter_end_from) AS time_from,
    "occurrenceDateTime.last" AS occurred,
    "occurrenceDateTime.first" AS occurred_from,
    'IMMUNIZATION//' || "vaccineCode".code AS code,
    "vaccineCode".display AS display,
    list_prepend("vaccineCode".code, "vaccineCode".parents) AS parents,
    CASE WHEN status IN ('not-done', 'entered-in-error') THEN status
         WHEN "vaccineCode".code IS NULL THEN 'no code' END AS skip
FROM resource
