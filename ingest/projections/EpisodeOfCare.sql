-- EpisodeOfCare → EPISODE_START//TYPE and EPISODE_END//TYPE: that a service took the patient on for
-- longer than a visit (dialysis, palliative care, pregnancy), and that it let go.
--
-- `period.start` is when the start was known, `period.end` the end; an episode that goes on has no end,
-- whatever `period.end` says (there it is a plan). Of several types each is an event; without any it is
-- UNKNOWN. Planned, on the waiting list, cancelled and entered in error are skipped. Its diagnoses come
-- with their Conditions.
--
-- nested: type
-- periods: period
WITH each AS (
    SELECT
        *,
        concept(unnest(CASE WHEN json_array_length("type") > 0 THEN from_json("type", '["JSON"]') ELSE [NULL] END)) AS c,
        CASE WHEN status = 'finished' THEN "period.end.last" END AS ended,
        least("period.start.last", ended) AS started,
        CASE WHEN status IN ('planned', 'waitlist', 'cancelled', 'entered-in-error') THEN status END AS void
    FROM resource
)
SELECT
    place, subject_key, started AS time, "period.start.first" AS time_from,
    'EPISODE_START//' || coalesce(c.code, 'UNKNOWN') AS code, c.display AS display,
    list_concat([c.code], c.parents) AS parents, void AS skip
FROM each
UNION ALL
SELECT
    place, subject_key, ended, "period.ended_from",
    'EPISODE_END//' || coalesce(c.code, 'UNKNOWN'), c.display, list_concat([c.code], c.parents), void
FROM each WHERE ended IS NOT NULL
