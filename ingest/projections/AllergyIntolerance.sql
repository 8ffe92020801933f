-- AllergyIntolerance → ALLERGY//…
--
-- `time`: `recordedDate`; without it the later of the last occurrence or onset and the encounter's
-- end. `occurred`: the onset. Refuted and entered-in-error are skipped; unconfirmed stays (nearly
-- every allergy in a record is as the patient told it). "No known allergy" is a code of its own.
--
-- texts: verificationStatus verificationStatus.text
-- nested: verificationStatus.coding
-- times: recordedDate onsetDateTime onsetPeriod.start lastOccurrence
-- concepts: code reaction[0].substance
WITH coded AS (
    SELECT
        *,
        CASE WHEN "code" IS NOT NULL THEN "code" ELSE "reaction[0].substance" END AS c,
        CASE WHEN "onsetDateTime" IS NOT NULL THEN "onsetDateTime.last" ELSE "onsetPeriod.start.last" END AS onset,
        CASE WHEN "onsetDateTime" IS NOT NULL THEN "onsetDateTime.first" ELSE "onsetPeriod.start.first" END AS onset_from,
        verification("verificationStatus.coding", "verificationStatus.text", "verificationStatus") AS verified
    FROM resource
)
SELECT
    place, subject_key,
    coalesce(
        "recordedDate.last",
        CASE WHEN NOT encounter_goes_on THEN greatest("lastOccurrence.last", onset, encounter_end) END
    ) AS time,
    coalesce(
        "recordedDate.first",
        greatest("lastOccurrence.first", onset_from, encounter_end_from)
    ) AS time_from,
    onset AS occurred,
    onset_from AS occurred_from,
    'ALLERGY//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN verified IN ('refuted', 'entered-in-error') THEN verified
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM coded
