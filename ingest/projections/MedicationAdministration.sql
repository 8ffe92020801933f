-- MedicationAdministration → ADMINISTERED//…: that a drug was given.
--
-- `time`: the end of `effective[x]` (its start while it goes on), else the encounter's end;
-- `occurred`: its start. What was not given or was entered in error is skipped. The value is the
-- dose that was given.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"effectiveDateTime": "VARCHAR",
            "effectivePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "dosage": {"dose": {"value": "DOUBLE", "unit": "VARCHAR", "code": "VARCHAR"}}}') AS r
    FROM resource
    WHERE type = 'MedicationAdministration'
)
SELECT
    x.file, x.position, subject_key,
    coalesce(
        fhir_end(r.effectiveDateTime, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_end(r.effectivePeriod.start, zone) END,
        period_end(r.effectivePeriod, zone),
        encounter_end
    ) AS time,
    coalesce(
        fhir_start(r.effectiveDateTime, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_start(r.effectivePeriod.start, zone) END,
        period_end_from(r.effectivePeriod, zone),
        encounter_end_from
    ) AS time_from,
    period_start(r.effectivePeriod, zone) AS occurred,
    period_start_from(r.effectivePeriod, zone) AS occurred_from,
    'ADMINISTERED//' || m.code AS code,
    finite(r.dosage.dose.value) AS numeric_value,
    quantity_unit(r.dosage.dose) AS unit,
    m.display AS display,
    list_prepend(m.code, m.parents) AS parents,
    CASE WHEN status IN ('not-done', 'entered-in-error') THEN status
         WHEN m.code IS NULL THEN 'no code' END AS skip
FROM read x LEFT JOIN drug m ON m.file = x.file AND m.position = x.position
