-- MedicationAdministration → ADMINISTERED//…: that a drug was given.
--
-- `time`: the end of `effective[x]` (R5: `occurence[x]`; its start while it goes on), else the encounter's end;
-- `occurred`: its start. What was not given or was entered in error is skipped. The value is the
-- dose that was given.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"effectiveDateTime": "VARCHAR", "occurenceDateTime": "VARCHAR",
            "effectivePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "occurencePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "dosage": {"dose": {"value": "DOUBLE", "unit": "VARCHAR", "system": "VARCHAR", "code": "VARCHAR"}}}') AS r,
        coalesce((r).effectiveDateTime, (r).occurenceDateTime) AS point,
        coalesce((r).effectivePeriod, (r).occurencePeriod) AS span
    FROM resource
    WHERE type = 'MedicationAdministration'
)
SELECT
    x.file, x.position, subject_key,
    coalesce(
        fhir_end(point, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_end(span.start, zone) END,
        period_end(span, zone),
        encounter_end
    ) AS time,
    coalesce(
        fhir_start(point, zone),
        CASE WHEN status IN ('in-progress', 'on-hold') THEN fhir_start(span.start, zone) END,
        period_end_from(span, zone),
        encounter_end_from
    ) AS time_from,
    period_start(span, zone) AS occurred,
    period_start_from(span, zone) AS occurred_from,
    'ADMINISTERED//' || m.code AS code,
    finite(r.dosage.dose.value) AS numeric_value,
    quantity_unit(r.dosage.dose) AS unit,
    m.display AS display,
    list_prepend(m.code, m.parents) AS parents,
    CASE WHEN status IN ('not-done', 'entered-in-error') THEN status
         WHEN m.code IS NULL THEN 'no code' END AS skip
FROM read x LEFT JOIN drug m ON m.file = x.file AND m.position = x.position
