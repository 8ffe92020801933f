-- MedicationStatement → STATED//…: that somebody said the patient takes a drug.
--
-- `time`: `dateAsserted`, for the taking is known once it is told, and not before it began; without
-- it the end of `effective[x]`, else the encounter's end. `occurred`: the start of `effective[x]`.
-- Not taken (R5: by `adherence`), merely intended, drafts and entered in error are skipped.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"dateAsserted": "VARCHAR", "effectiveDateTime": "VARCHAR",
            "effectivePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "adherence": {"code": {"coding": [{"code": "VARCHAR"}]}}}') AS r
    FROM resource
    WHERE type = 'MedicationStatement'
)
SELECT
    x.file, x.position, subject_key,
    coalesce(
        CASE WHEN fhir_end(r.dateAsserted, zone) IS NOT NULL THEN greatest(
            fhir_end(r.dateAsserted, zone),
            fhir_start(coalesce(r.effectiveDateTime, r.effectivePeriod.start), zone)) END,
        fhir_end(r.effectiveDateTime, zone),
        period_end(r.effectivePeriod, zone),
        encounter_end
    ) AS time,
    coalesce(
        CASE WHEN fhir_start(r.dateAsserted, zone) IS NOT NULL THEN greatest(
            fhir_start(r.dateAsserted, zone),
            fhir_start(coalesce(r.effectiveDateTime, r.effectivePeriod.start), zone)) END,
        fhir_start(r.effectiveDateTime, zone),
        period_end_from(r.effectivePeriod, zone),
        encounter_end_from
    ) AS time_from,
    coalesce(fhir_end(r.effectiveDateTime, zone), period_start(r.effectivePeriod, zone)) AS occurred,
    coalesce(fhir_start(r.effectiveDateTime, zone), period_start_from(r.effectivePeriod, zone)) AS occurred_from,
    'STATED//' || m.code AS code,
    m.display AS display,
    list_prepend(m.code, m.parents) AS parents,
    CASE WHEN status IN ('not-taken', 'intended', 'draft', 'entered-in-error') THEN status
         WHEN r.adherence.code.coding[1].code LIKE 'not-taking%'
         THEN 'adherence ' || r.adherence.code.coding[1].code
         WHEN m.code IS NULL THEN 'no code' END AS skip
FROM read x LEFT JOIN drug m ON m.file = x.file AND m.position = x.position
