-- Flag → FLAG//…: a warning on the chart (risk of falls, isolation, no resuscitation).
--
-- `time`: the start of `period`, for that is when it was put there; without it the encounter's end.
-- That it was taken off later does not undo that it was there. Entered in error is skipped.
--
-- times: period.start
-- concepts: code
SELECT
    place, subject_key,
    coalesce("period.start.last", encounter_end) AS time,
    coalesce("period.start.first", encounter_end_from) AS time_from,
    'FLAG//' || "code".code AS code,
    "code".display AS display,
    list_prepend("code".code, "code".parents) AS parents,
    CASE WHEN status = 'entered-in-error' THEN status
         WHEN "code".code IS NULL THEN 'no code' END AS skip
FROM resource
