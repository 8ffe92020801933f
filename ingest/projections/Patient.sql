-- Patient → GENDER (static), MEDS_BIRTH at `birthDate`, MEDS_DEATH.
--
-- Birth and sex are known at any time. A birth date that is only a year or month stands at its
-- end; a whole one at its midnight, in no zone: a birthday is a date, not an instant.
-- Of patients who were merged through `link`, the one that stays says sex, birth and death; the
-- others speak where it is silent.
-- Death: `deceasedDateTime` with an hour is taken as it is. With a date alone it is resolved
-- against the encounter that ended in death on it (by the date that the encounter itself has for its
-- end, in whatever zone that is written): its end. Else the end of the date.
-- `deceasedBoolean` says nothing of when: the last encounter that ended in death does, if any.
-- A death is known when it happens, so both clocks agree.
--
-- texts: gender deceasedDateTime deceasedBoolean
-- times: deceasedDateTime
-- dates: birthDate
WITH ranked AS (
    SELECT *, key = subject_key AS stays FROM resource
),
gender AS (
    SELECT place, subject_key, upper("gender") AS word FROM ranked
    WHERE "gender" IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY subject_key ORDER BY stays DESC, key) = 1
),
birth AS (
    SELECT * FROM ranked
    WHERE "birthDate.last" IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY subject_key ORDER BY stays DESC, key) = 1
)
-- if deceasedDateTime deceasedBoolean
,
death AS (
    SELECT *, "deceasedDateTime" AS date FROM ranked
    WHERE "deceasedDateTime.last" IS NOT NULL OR "deceasedBoolean" = 'true'
    QUALIFY row_number() OVER (
        PARTITION BY subject_key ORDER BY "deceasedDateTime" IS NULL, stays DESC, key
    ) = 1
),
last_stay AS (
    SELECT d.subject_key, max(e."end") AS "end", arg_max(e.end_from, e."end") AS end_from
    FROM death d
    JOIN encounter e ON e.subject_key = d.subject_key AND e.died
    WHERE d.date IS NULL OR starts_with(e.end_as_written, d.date)
    GROUP BY ALL
)
-- end if
SELECT
    place, subject_key,
    'GENDER//' || CASE word WHEN 'MALE' THEN 'M' WHEN 'FEMALE' THEN 'F' WHEN 'OTHER' THEN 'O' ELSE 'U' END AS code,
    NULL AS time, NULL AS time_from, NULL AS display
FROM gender
UNION ALL
SELECT
    place, subject_key, 'MEDS_BIRTH',
    date_trunc('day', "birthDate.last"), date_trunc('day', "birthDate.first"), 'Birth'
FROM birth
-- if deceasedDateTime deceasedBoolean
UNION ALL
SELECT
    place, subject_key, 'MEDS_DEATH',
    CASE WHEN length(date) > 10 THEN "deceasedDateTime.last" ELSE coalesce(s."end", "deceasedDateTime.last") END,
    CASE WHEN s."end" IS NULL THEN "deceasedDateTime.first" ELSE s.end_from END,
    'Death'
FROM death LEFT JOIN last_stay s USING (subject_key)
-- end if
