-- MedicationStatement → STATED//…: that somebody said the patient takes a drug.
--
-- `time`: `dateAsserted`, for the taking is known once it is told, and not before it began; without
-- it the end of `effective[x]`, else the encounter's end. `occurred`: the start of `effective[x]`.
-- Not taken (R5: by `adherence`), merely intended, drafts and entered in error are skipped.
--
-- texts: adherence.code.coding[0].code
-- times: dateAsserted effectiveDateTime
-- periods: effectivePeriod
-- concepts: medicationCodeableConcept medication.concept medicationReference medication.reference
WITH begun AS (
    SELECT *, CASE WHEN "effectiveDateTime" IS NOT NULL THEN "effectiveDateTime.first"
        ELSE "effectivePeriod.start.first" END AS begun_from
    FROM medicated
)
SELECT
    place, subject_key,
    coalesce(
        CASE WHEN "dateAsserted.last" IS NOT NULL THEN greatest("dateAsserted.last", begun_from) END,
        "effectiveDateTime.last",
        "effectivePeriod.ended",
        encounter_end
    ) AS time,
    coalesce(
        CASE WHEN "dateAsserted.first" IS NOT NULL THEN greatest("dateAsserted.first", begun_from) END,
        "effectiveDateTime.first",
        "effectivePeriod.ended_from",
        encounter_end_from
    ) AS time_from,
    coalesce("effectiveDateTime.last", "effectivePeriod.began") AS occurred,
    coalesce("effectiveDateTime.first", "effectivePeriod.began_from") AS occurred_from,
    'STATED//' || drug.code AS code,
    drug.display AS display,
    list_prepend(drug.code, drug.parents) AS parents,
    CASE WHEN status IN ('not-taken', 'intended', 'draft', 'entered-in-error') THEN status
         WHEN "adherence.code.coding[0].code" LIKE 'not-taking%' THEN 'adherence ' || "adherence.code.coding[0].code"
         WHEN drug.code IS NULL THEN 'no code' END AS skip
FROM begun
