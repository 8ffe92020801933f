-- ImagingStudy → what images are joined by: of a study, `available` is the last moment that its date
-- allows and `occurred` the first.
INSERT INTO imaging_study
WITH read AS (
    SELECT
        *,
        list_transform(from_json("identifier", '[{"value": "VARCHAR"}]'),
            lambda i: regexp_replace(i.value, '^urn:oid:', '')) AS plain,
        from_json("series", '[{"uid": "VARCHAR", "instance": [{"uid": "VARCHAR"}]}]') AS parts
    FROM resource
    WHERE subject_key LIKE 'Patient/%' AND status NOT IN ('registered', 'cancelled', 'entered-in-error')
)
SELECT
    subject_key,
    list_filter(plain, lambda v: regexp_full_match(v, '[0-9]+([.][0-9]+){3,}'))[1],
    list_transform(parts, lambda s: regexp_replace(s.uid, '^urn:oid:', '')),
    flatten(list_transform(parts, lambda s: list_transform(
        s.instance, lambda i: regexp_replace(i.uid, '^urn:oid:', '')))),
    list_filter(plain, lambda v: NOT regexp_full_match(v, '[0-9]+([.][0-9]+){3,}')),
    coalesce("started.last", encounter_end),
    coalesce("started.first", encounter_end_from)
FROM read
