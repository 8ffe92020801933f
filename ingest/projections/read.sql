-- A batch of lines → `record`: what of a resource is needed before its type is looked at; and what
-- others refer to, which is kept apart, so that the lines themselves are let go of.
--
-- Broken JSON stays a record, with a problem. Wrapped lines (see ingest/records.py) carry what a
-- Bundle said of an entry: `said` is fullUrl, method, url, modified, problem, skip, order, bundle.
--
-- A resource without `id` takes that of its fullUrl, else the hash of its content, so that a copy of
-- it is one. Where that says who is meant within its Bundle alone (a `urn:uuid:` that is counted from
-- 1, or content that refers to one), the hash of the Bundle (`scope`: of its line, or of the file that
-- it is) goes with it: the same Bundle twice is one still, but number 1 of another is somebody else.
-- A UUID that was made to be unique is the same resource in every Bundle, and its newest version counts.
CREATE OR REPLACE TEMP TABLE part AS
WITH line AS (
    SELECT
        file,
        zone,
        scope AS file_scope,
        file_order,
        position,
        wrapped,
        strlen(text) AS bytes,
        CASE WHEN wrapped THEN TRY(text -> '$.resource')::VARCHAR ELSE text END AS json,
        CASE WHEN wrapped THEN TRY(json_extract_string(text, ['$.fullUrl', '$.method', '$.url', '$.modified',
            '$.problem', '$.skip', '$.order', '$.bundle'])) END AS said
    FROM batch
),
headed AS (
    SELECT *, TRY(json_extract_string(json, [  -- null where that is no JSON
        '$.resourceType', '$.id', '$.meta.lastUpdated', '$.meta.versionId', '$.status',  -- 1 to 5
        '$.subject.reference', '$.patient.reference',  -- 6, 7
        '$.subject.identifier.system', '$.subject.identifier.value',  -- 8, 9
        '$.patient.identifier.system', '$.patient.identifier.value',  -- 10, 11
        '$.encounter.reference', '$.context.reference', '$.context.encounter[0].reference',  -- to 14
        '$.modifierExtension[0].url', '$.contained[0].resourceType', '$.medicationReference.reference',  -- 17
        '$.subject[0].reference', '$.context[0].reference', '$.medication.reference.reference'  -- R5: to 20
    ])) AS h FROM line
),
named AS (
    SELECT
        *,
        coalesce(said[8], file_scope) AS scope,
        said[2] = 'DELETE' AS deletion,
        CASE WHEN deletion
             THEN regexp_extract(said[3], '([A-Z][A-Za-z]+)/([^/?#|]+)(/_history/[^/]*)?$', ['type', 'id'])
        END AS gone
    FROM headed
)
SELECT
    file,
    position,
    file_order::BIGINT * 1099511627776 + position AS place,
    bytes,
    scope,
    file_order::BIGINT * 1099511627776 + coalesce(try_cast(said[7] AS BIGINT), position) AS seq,
    CASE WHEN deletion THEN nullif(gone.type, '') ELSE h[1] END AS type,
    CASE WHEN deletion THEN nullif(gone.id, '') ELSE coalesce(
        h[2],
        nullif(regexp_extract(said[1], '^urn:(uuid|oid):(.+)$', 2), '')
            || CASE WHEN local_urn(said[1]) THEN '@' || scope ELSE '' END,
        nullif(regexp_extract(said[1], '/([^/]+)$', 1), ''),
        'md5-' || md5(trim(json, E' \t\r\n')) || CASE WHEN len(list_filter(
            regexp_extract_all(json, '"(urn:uuid:[^"]*)"', 1), lambda u: local_urn(u))) > 0
            THEN '@' || scope ELSE '' END
    ) END AS id,
    said[1] AS full_url,
    coalesce(deletion, false) AS deletion,
    coalesce(fhir_end(said[4], zone), fhir_end(h[3], zone)) AS updated,
    try_cast(h[4] AS BIGINT) AS version,
    coalesce(h[5], '') AS status,
    coalesce(
        h[6], h[7], h[18],
        'Patient?identifier=' || coalesce(h[8] || '|', '') || h[9],
        'Patient?identifier=' || coalesce(h[10] || '|', '') || h[11]
    ) AS subject_ref,
    coalesce(h[12], h[13], h[14], CASE WHEN h[19] LIKE '%Encounter/%' THEN h[19] END) AS encounter_ref,
    h[15] IS NOT NULL AS modified,
    zone,
    coalesce(h[17], h[20]) AS drug_ref,
    h[16] IS NOT NULL AS contains_others,
    -- Of most lines no more is needed: they are not copied.
    CASE WHEN h[16] IS NOT NULL OR h[1] IN ('Patient', 'Encounter', 'Location', 'Medication', 'Binary',
        'DocumentReference', 'DiagnosticReport') THEN json END AS json,
    CASE WHEN CASE WHEN wrapped THEN said IS NULL ELSE h IS NULL END THEN 'not JSON'
         WHEN said[5] IS NOT NULL THEN said[5]
         WHEN said[6] IS NOT NULL OR deletion THEN NULL
         WHEN h[1] = 'Bundle' THEN 'a Bundle that could not be unpacked'
         WHEN h[1] IS NULL OR NOT regexp_full_match(h[1], '[A-Z][A-Za-z]{2,40}')
         THEN 'not a FHIR resource: no resourceType' END AS problem,
    said[6] AS skip
FROM named;

INSERT INTO record BY NAME
SELECT $batch AS batch, * EXCLUDE (place, bytes, json, contains_others) FROM part;

INSERT INTO kept BY NAME
SELECT file, position, json FROM part WHERE type IN ('Patient', 'Location', 'Medication', 'Binary');

INSERT INTO holder BY NAME
SELECT file, position, json -> '$.contained' AS contained FROM part WHERE contains_others;

INSERT INTO stay BY NAME
SELECT file, position, from_json(coalesce(json -> '$.period', json -> '$.actualPeriod'), '{"start": "VARCHAR", "end": "VARCHAR"}') AS period,
    coalesce(json -> '$.hospitalization.dischargeDisposition', json -> '$.admission.dischargeDisposition') AS disposition
FROM part WHERE type = 'Encounter';

INSERT INTO named BY NAME
SELECT file, position, unnest(from_json(json -> '$.identifier',
    '[{"system": "VARCHAR", "value": "VARCHAR"}]')) AS i
FROM part WHERE type IN ('Patient', 'Encounter', 'Location', 'Medication');

-- References that are not plainly `Type/id`: of few files any, and those of few subjects many times.
INSERT INTO cited_reference
SELECT DISTINCT scope, ref FROM (
    SELECT DISTINCT scope, subject_ref AS ref FROM part
    UNION ALL SELECT DISTINCT scope, encounter_ref FROM part
    UNION ALL SELECT DISTINCT scope, drug_ref FROM part
    UNION ALL SELECT scope, unnest(json ->> '$.ingredient[*].itemReference.reference') FROM part WHERE type = 'Medication'
    UNION ALL SELECT scope, unnest(json ->> '$.ingredient[*].item.reference.reference') FROM part WHERE type = 'Medication'
    UNION ALL SELECT scope, unnest(json ->> '$.location[*].location.reference') FROM part WHERE type = 'Encounter'
    UNION ALL SELECT scope, unnest(json ->> '$.content[*].attachment.url') FROM part WHERE type = 'DocumentReference'
    UNION ALL SELECT scope, unnest(json ->> '$.presentedForm[*].url') FROM part WHERE type = 'DiagnosticReport'
    UNION ALL SELECT scope, unnest(json ->> '$.link[*].other.reference') FROM part WHERE type = 'Patient'
)
WHERE ref IS NOT NULL AND NOT regexp_full_match(ref, '[A-Z][A-Za-z]+/[^/?#|]+') AND NOT starts_with(ref, '#')
