-- The tables that the projections read, once subjects and merged patients are known.
-- needs: Encounter
INSERT INTO encounter BY NAME
SELECT key, subject_key, start, CASE WHEN NOT open THEN "end" END AS "end",
       CASE WHEN NOT open THEN end_from END AS end_from, end_as_written,
       NOT open AND (upper(disposition) IN (SELECT unnest($died))
           OR upper(regexp_extract(disposition, '//(.*)$', 1)) IN (SELECT unnest($died))) AS died
FROM (
    SELECT r.key, coalesce(m.subject_key, d.subject) AS subject_key, fhir_end(period."end", zone) AS "end",
           period_end_from(period, zone) AS end_from,
           period."end" AS end_as_written,
           least(fhir_end(period.start, zone), fhir_end(period."end", zone)) AS start,
           status IN ('arrived', 'triaged', 'in-progress', 'onleave', 'on-hold') AS open,
           concept(disposition).code AS disposition
    FROM current r JOIN stay s USING (place) JOIN landed l ON l.number = r.place // 1099511627776
    LEFT JOIN directed d ON d.token = r.subject
    LEFT JOIN merged m ON m.key = d.subject
    WHERE type = 'Encounter' AND status NOT IN ('planned', 'cancelled', 'entered-in-error')
);

DROP TABLE stay;

-- Each current record with whose it is and with what others say of it: `encounter_end` and what goes
-- with it by the encounter that it refers to, `drug` a reference's token.
CREATE TABLE resolved AS
WITH ended AS (
    SELECT d.token, e."end" AS "end", e.end_from AS end_from FROM directed d JOIN encounter e ON e.key = d.key
)
SELECT
    r.batch, r.place, r.scope, r.type, r.id, r.updated, r.status, r.modified, r.drug,
    CASE WHEN r.type = 'Patient' THEN coalesce(p.subject_key, r.key) ELSE coalesce(m.subject_key, d.subject) END
        AS subject_key,
    e."end" AS encounter_end, e.end_from AS encounter_end_from,
    e.token IS NOT NULL AND e."end" IS NULL AS encounter_goes_on
FROM current r
LEFT JOIN directed d ON d.token = r.subject
LEFT JOIN merged m ON m.key = d.subject
LEFT JOIN merged p ON r.type = 'Patient' AND p.key = r.key
LEFT JOIN ended e ON e.token = r.encounter;

DROP VIEW current;

DROP TABLE beaten;

DROP TABLE record;

CREATE VIEW placed AS
SELECT r.* EXCLUDE (scope), r.type || '/' || r.id AS key, l.zone AS zone, coalesce(r.scope, l.scope) AS scope
FROM resolved r JOIN landed l ON l.number = r.place // 1099511627776;

CREATE VIEW kept_resource AS
SELECT p.type, p.key, p.scope, p.subject_key, k.json FROM placed p JOIN kept k USING (place);

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

CREATE TABLE drug_at AS
SELECT d.token, m.c AS c FROM directed d JOIN medication m ON m.key = d.key;

-- needs: Binary contained
INSERT INTO attached_bytes
SELECT key, json ->> '$.contentType' AS mime, json ->> '$.data' AS data FROM kept_resource WHERE type = 'Binary'
UNION ALL
SELECT key, json ->> '$.contentType', json ->> '$.data' FROM contained WHERE type = 'Binary';

INSERT INTO patient_identifier
SELECT DISTINCT subject_key, value FROM (
    SELECT subject_key, id AS value FROM resolved WHERE type = 'Patient'
    UNION ALL
    SELECT r.subject_key, i.value
    FROM resolved r JOIN identifier i ON i.key = 'Patient/' || r.id WHERE r.type = 'Patient'
);

DROP TABLE directed;

DROP TABLE spoken_of
