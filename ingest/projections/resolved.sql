-- The tables that the projections read, once subjects and merged patients are known.
CREATE TABLE resolved AS
SELECT r.* EXCLUDE (subject), coalesce(m.subject_key, r.subject) AS subject_key
FROM directed r LEFT JOIN merged m ON m.key = r.subject
ORDER BY r.batch;

DROP TABLE current;

DROP TABLE directed;

-- needs: Encounter
INSERT INTO encounter BY NAME
SELECT key, subject_key, start, CASE WHEN NOT open THEN "end" END AS "end", end_from, end_as_written,
       NOT open AND (upper(disposition) IN (SELECT unnest($died))
           OR upper(regexp_extract(disposition, '//(.*)$', 1)) IN (SELECT unnest($died))) AS died
FROM (
    SELECT key, subject_key, fhir_end(period."end", zone) AS "end",
           period_end_from(period, zone) AS end_from,
           period."end" AS end_as_written,
           least(fhir_end(period.start, zone), fhir_end(period."end", zone)) AS start,
           status IN ('arrived', 'triaged', 'in-progress', 'onleave', 'on-hold') AS open,
           concept(disposition).code AS disposition
    FROM resolved r JOIN stay s ON s.file = r.file AND s.position = r.position
    WHERE type = 'Encounter' AND status NOT IN ('planned', 'cancelled', 'entered-in-error')
);

DROP TABLE stay;

CREATE VIEW placed AS
SELECT r.*, e."end" AS encounter_end, e.end_from AS encounter_end_from,
       e.key IS NOT NULL AND e."end" IS NULL AS encounter_goes_on
FROM resolved r LEFT JOIN encounter e ON e.key = r.encounter_key;

CREATE VIEW kept_resource AS
SELECT r.*, k.json FROM placed r JOIN kept k ON k.file = r.file AND k.position = r.position;

-- needs: Location contained
INSERT INTO location
SELECT key, coalesce(json ->> '$.name', json ->> '$.description') AS name FROM kept_resource WHERE type = 'Location'
UNION ALL
SELECT key, coalesce(json ->> '$.name', json ->> '$.description') FROM contained WHERE type = 'Location';

-- needs: Medication contained
INSERT INTO medication
WITH each AS (
    SELECT scope, key, json FROM kept_resource WHERE type = 'Medication'
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
        '[{"itemCodeableConcept": "JSON", "itemReference": {"reference": "VARCHAR"},
          "item": {"concept": "JSON", "reference": {"reference": "VARCHAR"}}}]')) AS part
    FROM whole WHERE NOT coded
),
parts AS (
    SELECT m.key, coalesce(w.c, concept(coalesce(m.part.itemCodeableConcept, m.part.item.concept))) AS c
    FROM mixed m
    LEFT JOIN whole w ON w.coded AND w.key = ref_key(
        m.scope, split_part(m.key, '#', 1), coalesce(m.part.itemReference.reference, m.part.item.reference.reference))
)
SELECT key, c FROM parts WHERE c.code IS NOT NULL
UNION ALL
SELECT key, c FROM whole
WHERE coded OR key NOT IN (SELECT key FROM parts WHERE c.code IS NOT NULL);

-- needs: Binary contained
INSERT INTO attached_bytes
SELECT key, json ->> '$.contentType' AS mime, json ->> '$.data' AS data FROM kept_resource WHERE type = 'Binary'
UNION ALL
SELECT key, json ->> '$.contentType', json ->> '$.data' FROM contained WHERE type = 'Binary';

INSERT INTO patient_identifier
SELECT DISTINCT subject_key, value FROM (
    SELECT subject_key, split_part(key, '/', 2) AS value FROM resolved WHERE type = 'Patient'
    UNION ALL
    SELECT r.subject_key, i.value FROM resolved r JOIN identifier i ON i.key = r.key WHERE r.type = 'Patient'
)
