-- `record` → `current`: the newest of each resource. The others are superseded or deleted.
--
-- Newest by `meta.lastUpdated`, then by `versionId` as a number, then what landed last. A deletion
-- without a time is as new as the newest that landed before it. Most resources come once, and only
-- those that do not are ranked.
CREATE TABLE rival AS
SELECT type, id FROM record WHERE problem IS NULL AND skip IS NULL AND type IS NOT NULL AND id IS NOT NULL
GROUP BY ALL HAVING count(*) > 1 OR bool_or(deletion);

CREATE TABLE choice AS
WITH dated AS (
    SELECT file, position, seq, deletion, type, id,
        CASE WHEN deletion AND updated IS NULL THEN max(updated) OVER before ELSE updated END AS updated,
        CASE WHEN deletion AND version IS NULL THEN max(version) OVER before ELSE version END AS version
    FROM record JOIN rival USING (type, id)
    WHERE problem IS NULL AND skip IS NULL
    WINDOW before AS (PARTITION BY type, id ORDER BY seq ROWS UNBOUNDED PRECEDING)
)
SELECT
    file, position, deletion,
    row_number() OVER newest AS rank,
    first_value(deletion) OVER newest AS gone
FROM dated
WINDOW newest AS (
    PARTITION BY type, id
    ORDER BY updated DESC NULLS LAST, version DESC NULLS LAST, seq DESC
);

INSERT INTO outcome BY NAME
SELECT file, position, CASE WHEN problem IS NULL THEN 'skipped' ELSE 'quarantined' END AS status,
    coalesce(problem, skip) AS detail
FROM record WHERE problem IS NOT NULL OR skip IS NOT NULL;

CREATE TABLE beaten AS
SELECT file, position, CASE WHEN deletion OR gone THEN 'deleted' ELSE 'superseded' END AS status
FROM choice WHERE deletion OR gone OR rank > 1
UNION ALL  -- a deletion that does not say of what
SELECT file, position, 'deleted' FROM record
WHERE deletion AND problem IS NULL AND skip IS NULL AND (type IS NULL OR id IS NULL);

INSERT INTO outcome BY NAME SELECT file, position, status FROM beaten;

CREATE TABLE full_url AS
SELECT DISTINCT scope, full_url, type || '/' || id AS key
FROM record
WHERE full_url IS NOT NULL AND problem IS NULL AND skip IS NULL AND type IS NOT NULL AND id IS NOT NULL;

CREATE TABLE current AS
SELECT type || '/' || id AS key, r.batch, r.file, r.position, r.scope, r.type, r.updated, r.status,
    r.subject_ref, r.encounter_ref, r.drug_ref, r.modified, r.zone
FROM record r ANTI JOIN beaten b ON b.file = r.file AND b.position = r.position
WHERE problem IS NULL AND skip IS NULL;

DROP TABLE choice;
DROP TABLE beaten;
DROP TABLE rival;
DROP TABLE record
