-- Condition → the diagnosis itself; PROVISIONAL//… while it is not confirmed; FAMILY//… of relatives.
--
-- `time`: `recordedDate`, for what began before was not known before; without it the later of the
-- onset and the encounter's end (a discharge diagnosis is not known at admission); while that goes
-- on, none. With neither, the onset is all that there is, and stands.
-- `occurred`: the onset. Refuted and entered-in-error conditions are skipped; an unconfirmed,
-- provisional or differential one keeps its status in the code, so that it is never read as the
-- disease. `abatement` is not taken: that a disease ended does not undo that it was there.
--
-- texts: verificationStatus verificationStatus.text
-- nested: verificationStatus.coding category
-- times: recordedDate onsetDateTime onsetPeriod.start
-- concepts: code
WITH timed AS (
    SELECT
        *,
        "code" AS c,
        verification("verificationStatus.coding", "verificationStatus.text", "verificationStatus") AS verified,
        CASE WHEN "onsetDateTime" IS NOT NULL THEN "onsetDateTime.last" ELSE "onsetPeriod.start.last" END AS onset,
        CASE WHEN "onsetDateTime" IS NOT NULL THEN "onsetDateTime.first" ELSE "onsetPeriod.start.first" END AS onset_from
    FROM resource
),
roled AS (
    SELECT
        *,
        CASE
            WHEN contains(lower(c.display), 'family history')
                OR regexp_matches(c.code, '^(ICD10[A-Z]*//Z8[0-4]|ICD9CM//V1[6-9])')
                OR list_contains("category" ->> '$[*].coding[*].code', 'family-history')
                THEN 'FAMILY//'
            WHEN verified IN ('unconfirmed', 'provisional', 'differential') THEN 'PROVISIONAL//'
            ELSE ''
        END AS role
    FROM timed
)
SELECT
    place, subject_key,
    CASE WHEN "recordedDate.last" IS NOT NULL THEN greatest("recordedDate.last", onset_from)
         WHEN encounter_goes_on THEN NULL  -- found at some time in it: the onset would be too early
         ELSE greatest(onset, encounter_end) END AS time,
    greatest(coalesce("recordedDate.first", encounter_end_from), onset_from) AS time_from,
    onset AS occurred,
    onset_from AS occurred_from,
    role || c.code AS code,
    c.display AS display,
    CASE WHEN role = '' THEN c.parents ELSE list_prepend(c.code, c.parents) END AS parents,
    CASE WHEN verified IN ('refuted', 'entered-in-error') THEN verified
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM roled
