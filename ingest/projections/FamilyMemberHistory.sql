-- FamilyMemberHistory → FAMILY//… for each condition of the relative; never the disease itself.
--
-- `time`: `date`, when the history was taken; without it there is nothing to date it by, and it is
-- left out. Entered in error and unknown are skipped.
--
-- nested: condition
-- times: date
WITH listed AS (
    SELECT *, from_json("condition", '[{"code": "JSON"}]') AS conditions FROM resource
),
coded AS (
    SELECT *, concept(told.code) AS c
    FROM (SELECT *, unnest(CASE WHEN len(conditions) > 0 THEN conditions ELSE [NULL] END) AS told FROM listed)
)
SELECT
    place, subject_key,
    coalesce("date.last", encounter_end) AS time,
    coalesce("date.first", encounter_end_from) AS time_from,
    'FAMILY//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status IN ('health-unknown', 'entered-in-error') THEN status
         WHEN told IS NULL THEN 'no condition'
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM coded
