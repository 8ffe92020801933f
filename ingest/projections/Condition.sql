-- Condition → the diagnosis itself; PROVISIONAL//… while it is not confirmed; FAMILY//… of relatives.
--
-- `time`: `recordedDate`, for what began before was not known before; without it the later of the
-- onset and the encounter's end (a discharge diagnosis is not known at admission); while that goes
-- on, none. With neither, the onset is all that there is, and stands.
-- `occurred`: the onset. Refuted and entered-in-error conditions are skipped; an unconfirmed,
-- provisional or differential one keeps its status in the code, so that it is never read as the
-- disease. `abatement` is not taken: that a disease ended does not undo that it was there.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"code": "JSON", "recordedDate": "VARCHAR", "onsetDateTime": "VARCHAR",
            "onsetPeriod": {"start": "VARCHAR", "end": "VARCHAR"}}') AS r
    FROM resource
    WHERE type = 'Condition'
),
timed AS (
    SELECT
        *,
        concept(r.code) AS c,
        verification(json -> '$.verificationStatus') AS verified,
        coalesce(r.onsetDateTime, r.onsetPeriod.start) AS onset,
        fhir_end(r.recordedDate, zone) AS recorded
    FROM read
),
roled AS (
    SELECT
        *,
        CASE
            WHEN regexp_matches(lower(coalesce(c.display, '')), 'family history')
                OR regexp_matches(c.code, '^(ICD10[A-Z]*//Z8[0-4]|ICD9CM//V1[6-9])')
                OR list_contains(json ->> '$.category[*].coding[*].code', 'family-history')
                THEN 'FAMILY//'
            WHEN verified IN ('unconfirmed', 'provisional', 'differential') THEN 'PROVISIONAL//'
            ELSE ''
        END AS role
    FROM timed
)
SELECT
    file, position, subject_key,
    CASE WHEN recorded IS NOT NULL THEN greatest(recorded, fhir_start(onset, zone))
         WHEN encounter_goes_on THEN NULL  -- found at some time in it: the onset would be too early
         ELSE greatest(fhir_end(onset, zone), encounter_end) END AS time,
    greatest(coalesce(fhir_start(r.recordedDate, zone), encounter_end_from), fhir_start(onset, zone)) AS time_from,
    fhir_end(onset, zone) AS occurred,
    fhir_start(onset, zone) AS occurred_from,
    role || c.code AS code,
    c.display AS display,
    CASE WHEN role = '' THEN c.parents ELSE list_prepend(c.code, c.parents) END AS parents,
    CASE WHEN verified IN ('refuted', 'entered-in-error') THEN verified
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM roled
