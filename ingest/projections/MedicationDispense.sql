-- MedicationDispense → DISPENSED//…: that the pharmacy handed a drug out.
--
-- `time`: `whenHandedOver`, else `whenPrepared`, else the encounter's end, and not before `recorded` (R5);
-- outside encounters that alone. What is being prepared, on hold, declined, cancelled or entered in error was
-- not handed out, and is skipped; so is whatever has another status (`in-progress`: ready for pickup) and no
-- `whenHandedOver`.
--
-- times: whenHandedOver whenPrepared recorded
-- quantities: quantity
-- concepts: medicationCodeableConcept medication.concept medicationReference medication.reference
SELECT
    place, subject_key,
    coalesce(
        "whenHandedOver.last", "whenPrepared.last",
        recorded_alone("recorded.last", encounter_end, encounter_goes_on)
    ) AS time,
    coalesce(
        "whenHandedOver.first", "whenPrepared.first",
        recorded_alone("recorded.first", encounter_end_from, encounter_goes_on)
    ) AS time_from,
    'DISPENSED//' || drug.code AS code,
    "quantity.value" AS numeric_value,
    "quantity.words" AS text_value,
    "quantity.unit" AS unit,
    drug.display AS display,
    list_prepend(drug.code, drug.parents) AS parents,
    CASE WHEN status IN ('preparation', 'on-hold', 'declined', 'cancelled', 'entered-in-error') THEN status
         WHEN "whenHandedOver" IS NULL AND status NOT IN ('completed', '') THEN 'not handed over'
         WHEN drug.code IS NULL THEN 'no code' END AS skip
FROM medicated
