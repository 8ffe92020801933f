-- ClinicalImpression → IMPRESSION//… for each coded finding, and a NOTE with the summary.
--
-- A finding of an impression is what somebody thought of, not yet a diagnosis: it has a role of its own.
-- `time`: the later of `date` (when it was written down) and the end of `effective[x]`, else the
-- encounter's end. `occurred`: the start of `effective[x]`. `prognosis` is not taken: it is a prediction,
-- like a RiskAssessment. What was not done or was entered in error is skipped.
--
-- texts: summary
-- nested: finding
-- times: date effectiveDateTime
-- periods: effectivePeriod
-- concepts: code
WITH dated AS (
    SELECT
        place, subject_key, "code" AS named,
        from_json("finding", '[{"itemCodeableConcept": "JSON", "item": {"concept": "JSON"}}]') AS findings,
        nullif(trim("summary"), '') AS summary,
        coalesce(
            greatest("date.last", coalesce("effectiveDateTime.last", "effectivePeriod.ended")), encounter_end
        ) AS time,
        coalesce(
            greatest("date.first", coalesce("effectiveDateTime.first", "effectivePeriod.ended_from")), encounter_end_from
        ) AS time_from,
        coalesce("effectiveDateTime.last", "effectivePeriod.began") AS occurred,
        coalesce("effectiveDateTime.first", "effectivePeriod.began_from") AS occurred_from,
        CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status END AS void
    FROM resource
),
found AS (
    SELECT *, concept(coalesce(f.itemCodeableConcept, f.item.concept)) AS c
    FROM (SELECT *, unnest(findings) AS f FROM dated)
)
SELECT
    place, subject_key, time, time_from, occurred, occurred_from,
    'IMPRESSION//' || c.code AS code, NULL AS text_value, c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    coalesce(void, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM found
UNION ALL
SELECT
    place, subject_key, time, time_from, occurred, occurred_from,
    'NOTE//' || coalesce(named.code, 'UNKNOWN'), summary, named.display, list_concat([named.code], named.parents),
    coalesce(void, CASE WHEN summary IS NULL THEN 'no finding' END)
FROM dated WHERE summary IS NOT NULL OR len(coalesce(findings, [])) = 0
