-- MedicationAdministration → ADMINISTERED//…: that a drug was given.
--
-- `time`: the end of `effective[x]` (R5: `occurence[x]`; its start while it goes on), and not before
-- `recorded` (R5), for it is known once it is told; without any, the encounter's end, and not before
-- `recorded`; outside encounters that alone. `occurred`: its start. What was not given or was entered in
-- error is skipped. The value is the dose that was given.
--
-- nested: occurenceTiming.event
-- times: effectiveDateTime occurenceDateTime recorded
-- periods: effectivePeriod occurencePeriod
-- quantities: dosage.dose
-- concepts: medicationCodeableConcept medication.concept medicationReference medication.reference
WITH timed AS (
    SELECT
        *,
-- if occurenceTiming.event
        event_span("occurenceTiming.event", zone) AS events
-- end if
-- unless occurenceTiming.event
        NULL::STRUCT(ended TIMESTAMP, ended_from TIMESTAMP, began TIMESTAMP, began_from TIMESTAMP) AS events
-- end if
    FROM medicated
),
known AS (
    SELECT
        *,
        coalesce(
            "effectiveDateTime.last", "occurenceDateTime.last",
            CASE WHEN status IN ('in-progress', 'on-hold')
                 THEN coalesce("effectivePeriod.start.last", "occurencePeriod.start.last", events.began) END,
            "effectivePeriod.ended", "occurencePeriod.ended", events.ended
        ) AS done,
        coalesce(
            "effectiveDateTime.first", "occurenceDateTime.first",
            CASE WHEN status IN ('in-progress', 'on-hold')
                 THEN coalesce("effectivePeriod.start.first", "occurencePeriod.start.first", events.began_from) END,
            "effectivePeriod.ended_from", "occurencePeriod.ended_from", events.ended_from
        ) AS done_from
    FROM timed
)
SELECT
    place, subject_key,
    coalesce(
        CASE WHEN done IS NOT NULL THEN greatest(done, "recorded.last") END,
        recorded_alone("recorded.last", encounter_end, encounter_goes_on)
    ) AS time,
    coalesce(
        CASE WHEN done_from IS NOT NULL THEN greatest(done_from, "recorded.first") END,
        recorded_alone("recorded.first", encounter_end_from, encounter_goes_on)
    ) AS time_from,
    coalesce(
        "effectiveDateTime.last", "occurenceDateTime.last", "effectivePeriod.began", "occurencePeriod.began",
        events.began
    ) AS occurred,
    coalesce(
        "effectiveDateTime.first", "occurenceDateTime.first", "effectivePeriod.began_from", "occurencePeriod.began_from",
        events.began_from
    ) AS occurred_from,
    'ADMINISTERED//' || drug.code AS code,
    "dosage.dose.value" AS numeric_value,
    "dosage.dose.words" AS text_value,
    "dosage.dose.unit" AS unit,
    drug.display AS display,
    list_prepend(drug.code, drug.parents) AS parents,
    CASE WHEN status IN ('not-done', 'entered-in-error') THEN status
         WHEN drug.code IS NULL THEN 'no code' END AS skip
FROM known
