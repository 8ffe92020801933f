-- What references stand for; see ingest/references.py for the tables and the forms of a reference.
-- needs: contained
INSERT INTO contained
SELECT scope, zone, key || '#' || (held ->> '$.id') AS key,
       held ->> '$.resourceType' AS type, held::VARCHAR AS json
FROM (
    SELECT coalesce(c.scope, l.scope) AS scope, l.zone AS zone, c.key AS key, unnest(from_json(h.contained, '["JSON"]')) AS held
    FROM holder h JOIN current c USING (place) JOIN landed l ON l.number = h.place // 1099511627776
)
WHERE held ->> '$.id' IS NOT NULL;

CREATE TABLE identifier AS
SELECT DISTINCT c.type, c.key, n.i.system AS system, n.i.value AS value
FROM named n JOIN current c USING (place)
WHERE n.i.value IS NOT NULL;

-- Each reference of a subject, an encounter or a drug once, whichever batches it was met in.
CREATE TABLE spoken_of AS
SELECT token, any_value(scope) AS scope, any_value(ref) AS ref,
    min(concat(scope, ' ', ref)) <> max(concat(scope, ' ', ref)) AS mistaken
FROM cited GROUP BY token;

DROP TABLE cited;

-- needs: cited
INSERT INTO cited_reference SELECT scope, ref FROM spoken_of WHERE scope IS NOT NULL;

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

-- What each of them stands for, and the subject that it names. A patient that we have no resource of
-- is a subject all the same: exports often leave Patient out.
CREATE TABLE directed AS
SELECT c.token, coalesce(CASE WHEN c.scope IS NULL THEN c.ref END, s.key) AS key,
    CASE
        WHEN coalesce(CASE WHEN c.scope IS NULL THEN c.ref END, s.key) IS NULL
            THEN 'Patient/' || regexp_replace(c.ref, '^(urn:uuid:|urn:oid:|Patient[?])', '')
            || CASE WHEN local_urn(c.ref) THEN '@' || c.scope ELSE '' END
        WHEN contains(coalesce(CASE WHEN c.scope IS NULL THEN c.ref END, s.key), '#')
            THEN coalesce(p.known, 'Patient/' || coalesce(CASE WHEN c.scope IS NULL THEN c.ref END, s.key))
        ELSE coalesce(CASE WHEN c.scope IS NULL THEN c.ref END, s.key)
    END AS subject
FROM spoken_of c
LEFT JOIN reference s ON s.scope = c.scope AND s.ref = c.ref
LEFT JOIN (
    SELECT c.key, min(i.key) AS known
    FROM (
        SELECT key, unnest(from_json(json -> '$.identifier',
            '[{"system": "VARCHAR", "value": "VARCHAR"}]')) AS i
        FROM contained WHERE type = 'Patient'
    ) c JOIN identifier i ON i.type = 'Patient' AND i.value = c.i.value AND i.system = c.i.system
    GROUP BY ALL
) p ON p.key = coalesce(CASE WHEN c.scope IS NULL THEN c.ref END, s.key)
