-- `candidate` → `projected`, and what became of each record → `outcome`, one row each.
--
-- An event needs a time, but for sex. It can't be known before it happens, so `occurred` is at most
-- `time`; neither is before its own `_from`, which is dropped where it is the same moment. A record
-- is projected if any event came of it; Patient, Medication, Location and Binary always are, since
-- others refer to them. Then what images are joined by: of a study, `available` is the last moment
-- that its date allows and `occurred` the first.
CREATE OR REPLACE TEMP TABLE dated_event AS
SELECT * REPLACE (
    least(coalesce(occurred, time), time) AS occurred,
    CASE WHEN occurred IS NULL THEN time_from ELSE occurred_from END AS occurred_from
) FROM candidate
WHERE skip IS NULL AND code IS NOT NULL AND subject_key LIKE 'Patient/%'
    AND (time IS NOT NULL OR starts_with(code, 'GENDER//'));

INSERT INTO projected BY NAME
SELECT * EXCLUDE (skip) REPLACE (
    nullif(least(time_from, time), time) AS time_from,
    nullif(least(occurred_from, occurred), occurred) AS occurred_from
) FROM dated_event;

CREATE OR REPLACE TEMP TABLE judged AS
WITH seen AS (
    SELECT file, position, min(skip) AS skip, bool_or(time IS NULL AND skip IS NULL) AS undated
    FROM candidate GROUP BY ALL
),
made AS (SELECT DISTINCT file, position FROM dated_event)
SELECT
    r.file, r.position,
    CASE
        WHEN r.type IN (SELECT unnest($always)) OR m.file IS NOT NULL THEN 'projected'
        WHEN r.type NOT IN (SELECT unnest($supported)) THEN 'skipped'
        WHEN r.subject_key IS NULL THEN 'quarantined'
        ELSE 'skipped'
    END AS status,
    CASE
        WHEN r.type IN (SELECT unnest($always)) OR m.file IS NOT NULL THEN NULL
        WHEN r.type NOT IN (SELECT unnest($supported)) THEN r.type
        WHEN r.subject_key IS NULL THEN 'no subject'
        WHEN r.subject_key NOT LIKE 'Patient/%' THEN r.type || ': subject is no Patient'
        WHEN r.modified THEN r.type || ': modifier extension'
        WHEN s.skip IS NOT NULL THEN r.type || ': ' || s.skip
        WHEN s.undated THEN r.type || ': undated'
        ELSE r.type || ': nothing to project'
    END AS detail,
    r.subject_key
FROM read_resource r
LEFT JOIN seen s ON s.file = r.file AND s.position = r.position
LEFT JOIN made m ON m.file = r.file AND m.position = r.position;

INSERT INTO undated
SELECT DISTINCT c.file, c.position, r.type
FROM candidate c JOIN read_resource r ON r.file = c.file AND r.position = c.position
WHERE c.skip IS NULL AND c.code IS NOT NULL AND c.time IS NULL AND NOT starts_with(c.code, 'GENDER//')
    AND c.code NOT LIKE 'TRANSFER//%' AND c.subject_key LIKE 'Patient/%';

-- needs: ImagingStudy
INSERT INTO imaging_study
WITH read AS (
    SELECT *, from_json(json, $study) AS r FROM resource
    WHERE type = 'ImagingStudy' AND subject_key LIKE 'Patient/%'
        AND status NOT IN ('registered', 'cancelled', 'entered-in-error')
),
named AS (
    SELECT *, list_transform(r.identifier, lambda i: regexp_replace(i.value, '^urn:oid:', '')) AS plain FROM read
)
SELECT
    subject_key,
    list_filter(plain, lambda v: regexp_full_match(v, '[0-9]+([.][0-9]+){3,}'))[1],
    list_transform(r.series, lambda s: regexp_replace(s.uid, '^urn:oid:', '')),
    flatten(list_transform(r.series, lambda s: list_transform(
        s.instance, lambda i: regexp_replace(i.uid, '^urn:oid:', '')))),
    list_filter(plain, lambda v: NOT regexp_full_match(v, '[0-9]+([.][0-9]+){3,}')),
    coalesce(fhir_end(r.started, zone), encounter_end),
    coalesce(fhir_start(r.started, zone), encounter_end_from)
FROM named
