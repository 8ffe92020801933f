-- ClinicalImpression → IMPRESSION//… for each coded finding, and a NOTE with the summary.
--
-- A finding of an impression is what somebody thought of, not yet a diagnosis: it has a role of its own.
-- `time`: the later of `date` (when it was written down) and the end of `effective[x]`, else the
-- encounter's end. `occurred`: the start of `effective[x]`. `prognosis` is not taken: it is a prediction,
-- like a RiskAssessment. What was not done or was entered in error is skipped.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"code": "JSON", "date": "VARCHAR", "effectiveDateTime": "VARCHAR",
            "effectivePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "finding": [{"itemCodeableConcept": "JSON", "item": {"concept": "JSON"}}]}') AS r,
        concept(json -> '$.code') AS named,
        nullif(trim(json ->> '$.summary'), '') AS summary
    FROM resource
    WHERE type = 'ClinicalImpression'
),
dated AS (
    SELECT
        file, position, subject_key, r, named, summary,
        coalesce(
            greatest(
                fhir_end(r.date, zone),
                coalesce(fhir_end(r.effectiveDateTime, zone), period_end(r.effectivePeriod, zone))
            ),
            encounter_end
        ) AS time,
        coalesce(
            greatest(
                fhir_start(r.date, zone),
                coalesce(fhir_start(r.effectiveDateTime, zone), period_end_from(r.effectivePeriod, zone))
            ),
            encounter_end_from
        ) AS time_from,
        coalesce(fhir_end(r.effectiveDateTime, zone), period_start(r.effectivePeriod, zone)) AS occurred,
        coalesce(fhir_start(r.effectiveDateTime, zone), period_start_from(r.effectivePeriod, zone)) AS occurred_from,
        CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status END AS void
    FROM read
),
found AS (
    SELECT *, concept(coalesce(f.itemCodeableConcept, f.item.concept)) AS c
    FROM (SELECT *, unnest(r.finding) AS f FROM dated)
)
SELECT
    file, position, subject_key, time, time_from, occurred, occurred_from,
    'IMPRESSION//' || c.code AS code, NULL AS text_value, c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    coalesce(void, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM found
UNION ALL
SELECT
    file, position, subject_key, time, time_from, occurred, occurred_from,
    'NOTE//' || coalesce(named.code, 'UNKNOWN'), summary, named.display, list_concat([named.code], named.parents),
    coalesce(void, CASE WHEN summary IS NULL THEN 'no finding' END)
FROM dated WHERE summary IS NOT NULL OR len(coalesce(r.finding, [])) = 0
