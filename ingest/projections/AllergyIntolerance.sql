-- AllergyIntolerance → ALLERGY//…
--
-- `time`: `recordedDate`; without it the later of the last occurrence or onset and the encounter's
-- end. `occurred`: the onset. Refuted and entered-in-error are skipped; unconfirmed stays (nearly
-- every allergy in a record is as the patient told it). "No known allergy" is a code of its own.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"code": "JSON", "recordedDate": "VARCHAR", "onsetDateTime": "VARCHAR",
            "onsetPeriod": {"start": "VARCHAR", "end": "VARCHAR"}, "lastOccurrence": "VARCHAR",
            "reaction": [{"substance": "JSON"}]}') AS r
    FROM resource
    WHERE type = 'AllergyIntolerance'
),
coded AS (
    SELECT
        *,
        concept(coalesce(r.code, r.reaction[1].substance)) AS c,
        coalesce(r.onsetDateTime, r.onsetPeriod.start) AS onset,
        verification(json -> '$.verificationStatus') AS verified
    FROM read
)
SELECT
    file, position, subject_key,
    coalesce(
        fhir_end(r.recordedDate, zone),
        CASE WHEN NOT encounter_goes_on
             THEN greatest(fhir_end(r.lastOccurrence, zone), fhir_end(onset, zone), encounter_end) END
    ) AS time,
    coalesce(
        fhir_start(r.recordedDate, zone),
        greatest(fhir_start(r.lastOccurrence, zone), fhir_start(onset, zone), encounter_end_from)
    ) AS time_from,
    fhir_end(onset, zone) AS occurred,
    fhir_start(onset, zone) AS occurred_from,
    'ALLERGY//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN verified IN ('refuted', 'entered-in-error') THEN verified
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM coded
