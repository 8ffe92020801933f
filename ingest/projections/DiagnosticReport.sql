-- DiagnosticReport → REPORT//… , REPORT//…//CONCLUSION for each conclusion code, and a NOTE.
--
-- `time`: the later of the end of `effective[x]` and `issued` (a film is read after it is taken); an
-- amended, corrected, appended or modified (R5) report counts from its amendment on (`meta.lastUpdated`, or the
-- `issued` of that version); where neither says when that was, from its encounter's end, else it is left out.
-- `occurred`: the start of `effective[x]`. Registered, cancelled and entered in error are skipped.
-- The note is the first form of `presentedForm` that we can read (they all say the same), else
-- `conclusion`. Where we can read no form, the first is NOTE_UNREAD//MIME with the reason, beside a
-- conclusion, too: more may stand in it.
--
-- texts: conclusion
-- nested: conclusionCode presentedForm
-- times: effectiveDateTime issued meta.lastUpdated
-- periods: effectivePeriod
-- concepts: code
WITH dated AS (
    SELECT
        *,
        is_changed(status) AND coalesce(updated, "issued.last") IS NULL AS changed_some_time,
        coalesce("effectiveDateTime.last", "effectivePeriod.ended") AS ended,
        coalesce("effectiveDateTime.first", "effectivePeriod.ended_from") AS ended_from
    FROM resource
),
timed AS (
    SELECT
        *,
        "code" AS c,
        nullif(trim("conclusion"), '') AS concluded,
        CASE WHEN changed_some_time THEN CASE WHEN encounter_end IS NOT NULL THEN greatest(ended, encounter_end) END
             ELSE coalesce(
                 greatest(ended, "issued.last", CASE WHEN is_changed(status) THEN updated END),
                 encounter_end
             ) END AS time,
        CASE WHEN changed_some_time THEN greatest(ended_from, encounter_end_from)
             ELSE coalesce(
                 greatest(ended_from, "issued.first", CASE WHEN is_changed(status) THEN "meta.lastUpdated.first" END),
                 encounter_end_from
             ) END AS time_from,
        coalesce("effectiveDateTime.last", "effectivePeriod.began") AS occurred,
        coalesce("effectiveDateTime.first", "effectivePeriod.began_from") AS occurred_from,
        CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status
             WHEN "code".code IS NULL THEN 'no code' END AS skip
    FROM dated
)
SELECT
    place, subject_key, time, time_from, occurred, occurred_from,
    'REPORT//' || c.code AS code, NULL AS text_value, c.display AS display, list_prepend(c.code, c.parents) AS parents, skip
FROM timed
UNION ALL
SELECT
    place, subject_key, time, time_from, occurred, occurred_from,
    'REPORT//' || c.code || '//' || a.code, NULL, a.display, [c.code, a.code], skip
FROM (SELECT *, concept(unnest(from_json("conclusionCode", '["JSON"]'))) AS a FROM timed) WHERE a.code IS NOT NULL
UNION ALL
SELECT
    t.place, t.subject_key, t.time, t.time_from, t.occurred, t.occurred_from,
    'NOTE//' || c.code, coalesce(n.text, concluded), c.display, list_prepend(c.code, c.parents), t.skip
FROM timed t LEFT JOIN note n ON n.place = t.place
WHERE coalesce(n.text, concluded) IS NOT NULL
UNION ALL
SELECT
    t.place, t.subject_key, t.time, t.time_from, t.occurred, t.occurred_from,
    'NOTE_UNREAD//' || n.mime, n.reason, c.display, list_prepend(c.code, c.parents), t.skip
FROM timed t JOIN note n ON n.place = t.place
WHERE n.text IS NULL
