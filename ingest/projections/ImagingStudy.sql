-- ImagingStudy → IMAGING//MODALITY: that images were taken. The images come from their own files.
--
-- `time`: `started`, else the encounter's end. Registered (nothing taken yet), cancelled and entered
-- in error are skipped. The modalities are the study's own, else those of its series (Codings in R4,
-- concepts in R5).
--
-- nested: modality series identifier
-- times: started
WITH read AS (
    SELECT
        *,
        from_json("modality", '[{"code": "VARCHAR", "coding": [{"code": "VARCHAR"}]}]') AS modalities,
        from_json("series", '[{"modality": {"code": "VARCHAR", "coding": [{"code": "VARCHAR"}]}}]') AS all_series
    FROM resource
),
listed AS (
    SELECT
        *,
        list_distinct(list_concat(
            list_transform(modalities, lambda m: coalesce(m.code, m.coding[1].code)),
            list_transform(all_series, lambda s: coalesce(s.modality.code, s.modality.coding[1].code))
        )) AS codes
    FROM read
),
each AS (
    SELECT *, unnest(CASE WHEN len(codes) > 0 THEN codes ELSE ['OT'] END) AS kind FROM listed
)
SELECT
    place, subject_key,
    coalesce("started.last", encounter_end) AS time,
    coalesce("started.first", encounter_end_from) AS time_from,
    'IMAGING//' || kind AS code,
    ['DCM//' || kind] AS parents,
    CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status END AS skip
FROM each
