-- Media (R4) → MEDIA//…: that a photo, video or sound was taken of the patient, by its modality, else
-- its type. The pictures that models see come from image files, joined by ImagingStudy or their name.
--
-- `time`: the later of the end of `created[x]` and `issued`, else the end of what `content` was
-- created on, else the encounter's end. `occurred`: the start of `created[x]`. What is only being
-- prepared, was not done or was entered in error is skipped.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"createdDateTime": "VARCHAR", "createdPeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "issued": "VARCHAR", "content": {"creation": "VARCHAR"}}') AS r,
        concept(json -> '$.modality') AS modality,
        concept(json -> '$.type') AS kind
    FROM resource
    WHERE type = 'Media'
),
named AS (
    SELECT *, CASE WHEN modality.code IS NOT NULL THEN modality ELSE kind END AS c FROM read
)
SELECT
    file, position, subject_key,
    coalesce(
        greatest(
            coalesce(fhir_end(r.createdDateTime, zone), period_end(r.createdPeriod, zone)),
            fhir_end(r.issued, zone)
        ),
        fhir_end(r.content.creation, zone),
        encounter_end
    ) AS time,
    coalesce(
        greatest(
            coalesce(fhir_start(r.createdDateTime, zone), period_end_from(r.createdPeriod, zone)),
            fhir_start(r.issued, zone)
        ),
        fhir_start(r.content.creation, zone),
        encounter_end_from
    ) AS time_from,
    coalesce(fhir_end(r.createdDateTime, zone), period_start(r.createdPeriod, zone)) AS occurred,
    coalesce(fhir_start(r.createdDateTime, zone), period_start_from(r.createdPeriod, zone)) AS occurred_from,
    'MEDIA//' || coalesce(c.code, 'UNKNOWN') AS code,
    c.display AS display,
    list_concat([c.code], c.parents) AS parents,
    CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status END AS skip
FROM named
