-- ImagingStudy → IMAGING//MODALITY: that images were taken. The images come from their own files.
--
-- `time`: `started`, else the encounter's end. Registered (nothing taken yet), cancelled and entered
-- in error are skipped. The modalities are the study's own, else those of its series (Codings in R4,
-- concepts in R5).
WITH read AS (
    SELECT
        *,
        from_json(json, '{"started": "VARCHAR", "modality": [{"code": "VARCHAR", "coding": [{"code": "VARCHAR"}]}],
            "series": [{"modality": {"code": "VARCHAR", "coding": [{"code": "VARCHAR"}]}}]}') AS r
    FROM resource
    WHERE type = 'ImagingStudy'
),
listed AS (
    SELECT
        *,
        list_distinct(list_concat(
            list_transform(r.modality, lambda m: coalesce(m.code, m.coding[1].code)),
            list_transform(r.series, lambda s: coalesce(s.modality.code, s.modality.coding[1].code))
        )) AS codes
    FROM read
),
each AS (
    SELECT *, unnest(CASE WHEN len(codes) > 0 THEN codes ELSE ['OT'] END) AS modality FROM listed
)
SELECT
    file, position, subject_key,
    coalesce(fhir_end(r.started, zone), encounter_end) AS time,
    coalesce(fhir_start(r.started, zone), encounter_end_from) AS time_from,
    'IMAGING//' || modality AS code,
    ['DCM//' || modality] AS parents,
    CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status END AS skip
FROM each
