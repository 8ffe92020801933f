-- FamilyMemberHistory → FAMILY//… for each condition of the relative; never the disease itself.
--
-- `time`: `date`, when the history was taken; without it there is nothing to date it by, and it is
-- left out. Entered in error and unknown are skipped.
WITH read AS (
    SELECT *, from_json(json, '{"date": "VARCHAR", "condition": [{"code": "JSON"}]}') AS r
    FROM resource
    WHERE type = 'FamilyMemberHistory'
),
listed AS (
    SELECT *, unnest(CASE WHEN len(r.condition) > 0 THEN r.condition ELSE [NULL] END) AS told FROM read
),
coded AS (
    SELECT *, concept(told.code) AS c FROM listed
)
SELECT
    file, position, subject_key,
    coalesce(fhir_end(r.date, zone), encounter_end) AS time,
    coalesce(fhir_start(r.date, zone), encounter_end_from) AS time_from,
    'FAMILY//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status IN ('health-unknown', 'entered-in-error') THEN status
         WHEN told IS NULL THEN 'no condition'
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM coded
