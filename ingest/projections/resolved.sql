-- The tables that the projections read, once subjects and merged patients are known.
CREATE TABLE resolved AS
SELECT r.file, r.position, r.scope, r.type, r.key, r.status, r.modified, r.updated, r.zone, r.json,
       coalesce(m.subject_key, s.key) AS subject_key,
       ref_key(r.scope, r.key, r.encounter_ref) AS encounter_key
FROM current r
JOIN subject_reference s ON s.file = r.file AND s.position = r.position
LEFT JOIN merged m ON m.key = s.key;

CREATE TABLE encounter AS
SELECT key, subject_key, start, CASE WHEN NOT open THEN "end" END AS "end", end_from, end_as_written,
       NOT open AND (upper(disposition) IN (SELECT unnest($died))
           OR upper(regexp_extract(disposition, '//(.*)$', 1)) IN (SELECT unnest($died))) AS died
FROM (
    SELECT key, subject_key, fhir_end(json ->> '$.period.end', zone) AS "end",
           period_end_from({'start': json ->> '$.period.start', 'end': json ->> '$.period.end'}, zone) AS end_from,
           json ->> '$.period.end' AS end_as_written,
           least(fhir_end(json ->> '$.period.start', zone), fhir_end(json ->> '$.period.end', zone)) AS start,
           status IN ('arrived', 'triaged', 'in-progress', 'onleave') AS open,
           concept(json -> '$.hospitalization.dischargeDisposition').code AS disposition
    FROM resolved
    WHERE type = 'Encounter' AND status NOT IN ('planned', 'cancelled', 'entered-in-error')
);

CREATE VIEW resource AS
SELECT r.*, e."end" AS encounter_end, e.end_from AS encounter_end_from,
       e.key IS NOT NULL AND e."end" IS NULL AS encounter_goes_on
FROM resolved r LEFT JOIN encounter e ON e.key = r.encounter_key
WHERE NOT r.modified;

CREATE TABLE location AS
SELECT key, coalesce(json ->> '$.name', json ->> '$.description') AS name FROM resolved WHERE type = 'Location'
UNION ALL
SELECT key, coalesce(json ->> '$.name', json ->> '$.description') FROM contained WHERE type = 'Location';

CREATE TABLE medication AS
WITH each AS (
    SELECT scope, key, json FROM resolved WHERE type = 'Medication'
    UNION ALL
    SELECT scope, key, json FROM contained WHERE type = 'Medication'
),
named AS (
    SELECT *, concept(json -> '$.code') AS c FROM each
),
whole AS (
    SELECT scope, key, json, CASE WHEN c.code IS NOT NULL THEN c ELSE concept(json_object('coding',
        list_transform(from_json(json -> '$.identifier', '[{"system": "VARCHAR", "value": "VARCHAR"}]'),
            lambda i: json_object('system', i.system, 'code', i.value)))) END AS c,
        c.code IS NOT NULL AS coded
    FROM named
),
mixed AS (
    SELECT scope, key, unnest(from_json(json -> '$.ingredient',
        '[{"itemCodeableConcept": "JSON", "itemReference": {"reference": "VARCHAR"}}]')) AS part
    FROM whole WHERE NOT coded
),
parts AS (
    SELECT m.key, coalesce(w.c, concept(m.part.itemCodeableConcept)) AS c
    FROM mixed m
    LEFT JOIN whole w ON w.coded AND w.key = ref_key(
        m.scope, split_part(m.key, '#', 1), m.part.itemReference.reference)
)
SELECT key, c FROM parts WHERE c.code IS NOT NULL
UNION ALL
SELECT key, c FROM whole
WHERE coded OR key NOT IN (SELECT key FROM parts WHERE c.code IS NOT NULL);

CREATE TABLE drug AS
WITH asked AS (
    SELECT r.file, r.position, m.c AS found, concept(r.json -> '$.medicationCodeableConcept') AS own,
        concept(r.json -> '$.medicationReference') AS said
    FROM resolved r
    LEFT JOIN medication m ON m.key = ref_key(r.scope, r.key, r.json ->> '$.medicationReference.reference')
    WHERE r.type IN ('MedicationRequest', 'MedicationAdministration', 'MedicationStatement', 'MedicationDispense')
),
chosen AS (
    SELECT file, position, CASE WHEN found.code IS NOT NULL THEN found
        WHEN own.code IS NOT NULL THEN own ELSE said END AS c
    FROM asked
)
SELECT file, position, c.code AS code, c.display AS display, c.parents AS parents
FROM chosen WHERE c.code IS NOT NULL;

CREATE TABLE note AS
WITH attached AS (
    SELECT file, position, scope, key, unnest(from_json(json -> '$.content[*].attachment', $attachment)) AS a,
        generate_subscripts(from_json(json -> '$.content[*].attachment', $attachment), 1) AS n
    FROM resolved WHERE type = 'DocumentReference'
    UNION ALL
    SELECT file, position, scope, key, unnest(from_json(json -> '$.presentedForm', $attachment)),
        generate_subscripts(from_json(json -> '$.presentedForm', $attachment), 1)
    FROM resolved WHERE type = 'DiagnosticReport'
),
bytes AS (
    SELECT key, json ->> '$.contentType' AS mime, json ->> '$.data' AS data FROM resolved WHERE type = 'Binary'
    UNION ALL
    SELECT key, json ->> '$.contentType', json ->> '$.data' FROM contained WHERE type = 'Binary'
),
got AS (
    SELECT a.file, a.position, a.n, coalesce(a.a.contentType, b.mime, 'unknown') AS kind,
        coalesce(a.a.data, b.data) AS data
    FROM attached a LEFT JOIN bytes b ON a.a.data IS NULL AND b.key = ref_key(a.scope, a.key, a.a.url)
)
SELECT file, position, lower(trim(split_part(kind, ';', 1))) AS mime, note_text(kind, data) AS text
FROM got
QUALIFY row_number() OVER (
    PARTITION BY file, position ORDER BY text IS NULL, mime = 'text/plain' DESC, n
) = 1
