-- Goal → GOAL//…: what was aimed at with the patient. Whether it was reached comes later, and is left
-- to the observations.
--
-- `time`: `startDate`, else `statusDate`, for by then it was set; with neither it is left out (a goal
-- has no encounter). A goal that is only proposed or planned, was rejected, cancelled or entered in
-- error is skipped.
--
-- texts: lifecycleStatus
-- times: startDate statusDate
-- concepts: description
SELECT
    place, subject_key,
    coalesce("startDate.last", "statusDate.last") AS time,
    coalesce("startDate.first", "statusDate.first") AS time_from,
    'GOAL//' || "description".code AS code,
    "description".display AS display,
    list_prepend("description".code, "description".parents) AS parents,
    CASE WHEN "lifecycleStatus" IN ('proposed', 'planned', 'rejected', 'cancelled', 'entered-in-error')
         THEN "lifecycleStatus"
         WHEN "description".code IS NULL THEN 'no code' END AS skip
FROM resource
