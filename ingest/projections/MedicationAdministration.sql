-- MedicationAdministration → ADMINISTERED//…: that a drug was given.
--
-- `time`: the end of `effective[x]` (R5: `occurence[x]`; its start while it goes on), and not before
-- `recorded` (R5), for it is known once it is told; without any, the encounter's end. `occurred`: its start.
-- What was not given or was entered in error is skipped. The value is the dose that was given.
--
-- times: effectiveDateTime occurenceDateTime recorded
-- periods: effectivePeriod occurencePeriod
-- quantities: dosage.dose
-- concepts: medicationCodeableConcept medication.concept medicationReference medication.reference
SELECT
    place, subject_key,
    coalesce(
        greatest(
            coalesce(
                "effectiveDateTime.last", "occurenceDateTime.last",
                CASE WHEN status IN ('in-progress', 'on-hold')
                     THEN coalesce("effectivePeriod.start.last", "occurencePeriod.start.last") END,
                "effectivePeriod.ended", "occurencePeriod.ended"
            ),
            "recorded.last"
        ),
        encounter_end
    ) AS time,
    coalesce(
        greatest(
            coalesce(
                "effectiveDateTime.first", "occurenceDateTime.first",
                CASE WHEN status IN ('in-progress', 'on-hold')
                     THEN coalesce("effectivePeriod.start.first", "occurencePeriod.start.first") END,
                "effectivePeriod.ended_from", "occurencePeriod.ended_from"
            ),
            "recorded.first"
        ),
        encounter_end_from
    ) AS time_from,
    coalesce(
        "effectiveDateTime.last", "occurenceDateTime.last", "effectivePeriod.began", "occurencePeriod.began"
    ) AS occurred,
    coalesce(
        "effectiveDateTime.first", "occurenceDateTime.first", "effectivePeriod.began_from", "occurencePeriod.began_from"
    ) AS occurred_from,
    'ADMINISTERED//' || drug.code AS code,
    finite("dosage.dose.value") AS numeric_value,
    "dosage.dose.unit" AS unit,
    drug.display AS display,
    list_prepend(drug.code, drug.parents) AS parents,
    CASE WHEN status IN ('not-done', 'entered-in-error') THEN status
         WHEN drug.code IS NULL THEN 'no code' END AS skip
FROM medicated
