-- DetectedIssue → ISSUE//…: a danger that somebody, or a program, saw: drugs that don't go together, a
-- duplicate order, a dose out of range. What was done about it (`mitigation`) is left to the orders.
--
-- `time`: the end of `identified[x]`, for that is when it was seen; without it the encounter's end (R5
-- alone has one), else it is left out. `text_value` is the severity. Registered (not seen yet), cancelled
-- and entered in error are skipped.
--
-- texts: severity
-- times: identifiedDateTime
-- periods: identifiedPeriod
-- concepts: code
SELECT
    place, subject_key,
    coalesce("identifiedDateTime.last", "identifiedPeriod.ended", encounter_end) AS time,
    coalesce("identifiedDateTime.first", "identifiedPeriod.ended_from", encounter_end_from) AS time_from,
    coalesce("identifiedDateTime.last", "identifiedPeriod.began") AS occurred,
    coalesce("identifiedDateTime.first", "identifiedPeriod.began_from") AS occurred_from,
    'ISSUE//' || "code".code AS code,
    nullif(trim("severity"), '') AS text_value,
    "code".display AS display,
    list_prepend("code".code, "code".parents) AS parents,
    CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status
         WHEN "code".code IS NULL THEN 'no code' END AS skip
FROM resource
