-- What references stand for; see ingest/references.py for the tables and the forms of a reference.
-- needs: contained
INSERT INTO contained
SELECT scope, zone, key || '#' || (held ->> '$.id') AS key,
       held ->> '$.resourceType' AS type, held::VARCHAR AS json
FROM (
    SELECT c.*, unnest(from_json(h.contained, '["JSON"]')) AS held
    FROM holder h JOIN current c ON c.file = h.file AND c.position = h.position
)
WHERE held ->> '$.id' IS NOT NULL;

CREATE TABLE identifier AS
SELECT DISTINCT c.type, c.key, n.i.system AS system, n.i.value AS value
FROM named n JOIN current c ON c.file = n.file AND c.position = n.position
WHERE n.i.value IS NOT NULL;

-- needs: cited
INSERT INTO reference
WITH cited AS (
    SELECT DISTINCT scope, ref,
        regexp_replace(ref, '/_history/[^/]*$', '') AS bare,
        regexp_extract(ref, '^([A-Za-z]+)[?]identifier=(?:(.*)[|])?(.*)$', ['type', 'system', 'value']) AS asked
    FROM cited_reference
),
near AS (
    SELECT c.scope, c.ref, max(u.key) AS key
    FROM cited c JOIN full_url u ON u.scope = c.scope AND u.full_url = c.bare GROUP BY ALL
),
far AS (
    SELECT c.scope, c.ref, max(u.key) AS key
    FROM cited c JOIN full_url u ON u.full_url = c.bare
    WHERE NOT local_urn(c.bare) GROUP BY ALL
),
named AS (
    SELECT c.scope, c.ref, min(i.key) AS key
    FROM cited c JOIN identifier i ON i.type = c.asked.type AND i.value = c.asked.value
        AND (c.asked.system = '' OR i.system = c.asked.system)
    WHERE c.asked.value <> '' GROUP BY ALL
)
SELECT c.scope, c.ref, coalesce(
    near.key, far.key, named.key, nullif(regexp_extract(c.bare, '([A-Z][A-Za-z]+/[^/?#|]+)$', 1), '')
) AS key
FROM cited c
LEFT JOIN near USING (scope, ref) LEFT JOIN far USING (scope, ref) LEFT JOIN named USING (scope, ref);

DROP TABLE cited_reference;

DROP TABLE holder;

DROP TABLE named;

-- A patient that we have no resource of is a subject all the same: exports often leave Patient out.
CREATE TABLE directed AS
SELECT r.* EXCLUDE (subject_ref, encounter_ref, drug_ref),
    CASE
        WHEN r.type = 'Patient' THEN r.key
        WHEN r.subject_ref IS NULL THEN NULL
        WHEN coalesce(plain_key(r.key, r.subject_ref), s.key) IS NULL
            THEN 'Patient/' || regexp_replace(r.subject_ref, '^(urn:uuid:|urn:oid:|Patient[?])', '')
            || CASE WHEN local_urn(r.subject_ref) THEN '@' || r.scope ELSE '' END
        WHEN contains(coalesce(plain_key(r.key, r.subject_ref), s.key), '#')
            THEN coalesce(p.known, 'Patient/' || coalesce(plain_key(r.key, r.subject_ref), s.key))
        ELSE coalesce(plain_key(r.key, r.subject_ref), s.key)
    END AS subject,
    coalesce(plain_key(r.key, r.encounter_ref), e.key) AS encounter_key,
    coalesce(plain_key(r.key, r.drug_ref), d.key) AS drug_key
FROM current r
LEFT JOIN reference s ON s.scope = r.scope AND s.ref = r.subject_ref
LEFT JOIN reference e ON e.scope = r.scope AND e.ref = r.encounter_ref
LEFT JOIN reference d ON d.scope = r.scope AND d.ref = r.drug_ref
LEFT JOIN (
    SELECT c.key, min(i.key) AS known
    FROM (
        SELECT key, unnest(from_json(json -> '$.identifier',
            '[{"system": "VARCHAR", "value": "VARCHAR"}]')) AS i
        FROM contained WHERE type = 'Patient'
    ) c JOIN identifier i ON i.type = 'Patient' AND i.value = c.i.value AND i.system = c.i.system
    GROUP BY ALL
) p ON p.key = coalesce(plain_key(r.key, r.subject_ref), s.key)
