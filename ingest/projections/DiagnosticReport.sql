-- DiagnosticReport → REPORT//… , REPORT//…//CONCLUSION for each conclusion code, and a NOTE.
--
-- `time`: the later of the end of `effective[x]` and `issued` (a film is read after it is taken); an
-- amended, corrected or appended report counts from its amendment on (`meta.lastUpdated`, too).
-- `occurred`: the start of `effective[x]`. Registered, cancelled and entered in error are skipped.
-- The note is the first form of `presentedForm` that we can read (they all say the same), else
-- `conclusion`; a form that we cannot read is NOTE_UNREAD//MIME with the reason.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"code": "JSON", "conclusionCode": ["JSON"],
            "effectiveDateTime": "VARCHAR", "issued": "VARCHAR",
            "effectivePeriod": {"start": "VARCHAR", "end": "VARCHAR"}}') AS r,
        nullif(trim(json ->> '$.conclusion'), '') AS conclusion,
        concept(json -> '$.code') AS c
    FROM resource
    WHERE type = 'DiagnosticReport'
),
timed AS (
    SELECT
        *,
        coalesce(
            greatest(
                coalesce(fhir_end(r.effectiveDateTime, zone), period_end(r.effectivePeriod, zone)),
                fhir_end(r.issued, zone),
                CASE WHEN status IN ('amended', 'corrected', 'appended') THEN updated END
            ),
            encounter_end
        ) AS time,
        coalesce(
            greatest(
                coalesce(fhir_start(r.effectiveDateTime, zone), period_end_from(r.effectivePeriod, zone)),
                fhir_start(r.issued, zone),
                CASE WHEN status IN ('amended', 'corrected', 'appended') THEN updated_from(json, zone) END
            ),
            encounter_end_from
        ) AS time_from,
        coalesce(fhir_end(r.effectiveDateTime, zone), period_start(r.effectivePeriod, zone)) AS occurred,
        coalesce(fhir_start(r.effectiveDateTime, zone), period_start_from(r.effectivePeriod, zone)) AS occurred_from,
        CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status
             WHEN c.code IS NULL THEN 'no code' END AS skip
    FROM read
)
SELECT
    file, position, subject_key, time, time_from, occurred, occurred_from,
    'REPORT//' || c.code AS code, NULL AS text_value, c.display AS display, list_prepend(c.code, c.parents) AS parents, skip
FROM timed
UNION ALL
SELECT
    file, position, subject_key, time, time_from, occurred, occurred_from,
    'REPORT//' || c.code || '//' || a.code, NULL, a.display, [c.code, a.code], skip
FROM (SELECT *, concept(unnest(r.conclusionCode)) AS a FROM timed) WHERE a.code IS NOT NULL
UNION ALL
SELECT
    t.file, t.position, t.subject_key, t.time, t.time_from, t.occurred, t.occurred_from,
    CASE WHEN coalesce(n.text, conclusion) IS NOT NULL THEN 'NOTE//' || c.code
         ELSE 'NOTE_UNREAD//' || n.mime END,
    coalesce(n.text, conclusion, n.reason), c.display, list_prepend(c.code, c.parents), t.skip
FROM timed t LEFT JOIN note n ON n.file = t.file AND n.position = t.position
WHERE n.mime IS NOT NULL OR conclusion IS NOT NULL
