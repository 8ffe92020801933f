-- Media (R4) → MEDIA//…: that a photo, video or sound was taken of the patient, by its modality, else
-- its type. The pictures that models see come from image files, joined by ImagingStudy or their name.
--
-- `time`: the later of the end of `created[x]` and `issued`, else the end of what `content` was
-- created on, else the encounter's end. `occurred`: the start of `created[x]`. What is only being
-- prepared, was not done or was entered in error is skipped.
--
-- times: createdDateTime issued content.creation
-- periods: createdPeriod
-- concepts: modality type
WITH named AS (
    SELECT *, CASE WHEN "modality".code IS NOT NULL THEN "modality" ELSE "type" END AS c FROM resource
)
SELECT
    place, subject_key,
    coalesce(
        greatest(coalesce("createdDateTime.last", "createdPeriod.ended"), "issued.last"),
        "content.creation.last",
        encounter_end
    ) AS time,
    coalesce(
        greatest(coalesce("createdDateTime.first", "createdPeriod.ended_from"), "issued.first"),
        "content.creation.first",
        encounter_end_from
    ) AS time_from,
    coalesce("createdDateTime.last", "createdPeriod.began") AS occurred,
    coalesce("createdDateTime.first", "createdPeriod.began_from") AS occurred_from,
    'MEDIA//' || coalesce(c.code, 'UNKNOWN') AS code,
    c.display AS display,
    list_concat([c.code], c.parents) AS parents,
    CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status END AS skip
FROM named
