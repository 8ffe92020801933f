-- `record` → `current`: the newest of each resource. The others are superseded or deleted.
--
-- Newest by `meta.lastUpdated`, then by `versionId` as a number, then what landed last. A deletion
-- without a time is as new as the newest that landed before it.
CREATE TABLE choice AS
WITH dated AS (
    SELECT file, position, seq, deletion, type || '/' || id AS key,
        CASE WHEN deletion AND updated IS NULL THEN max(updated) OVER before ELSE updated END AS updated,
        CASE WHEN deletion AND version IS NULL THEN max(version) OVER before ELSE version END AS version
    FROM record
    WHERE problem IS NULL AND skip IS NULL
    WINDOW before AS (PARTITION BY type, id ORDER BY seq ROWS UNBOUNDED PRECEDING)
)
SELECT
    file, position, key, deletion,
    row_number() OVER newest AS rank,
    first_value(deletion) OVER newest AS gone
FROM dated
WINDOW newest AS (
    PARTITION BY coalesce(key, file || ' ' || position)
    ORDER BY updated DESC NULLS LAST, version DESC NULLS LAST, seq DESC
);

INSERT INTO outcome
SELECT file, position, CASE WHEN problem IS NULL THEN 'skipped' ELSE 'quarantined' END, coalesce(problem, skip)
FROM record WHERE problem IS NOT NULL OR skip IS NOT NULL;

INSERT INTO outcome
SELECT file, position, CASE WHEN deletion OR gone THEN 'deleted' ELSE 'superseded' END, NULL
FROM choice WHERE deletion OR gone OR rank > 1;

CREATE TABLE full_url AS
SELECT DISTINCT r.scope, r.full_url, c.key
FROM record r JOIN choice c ON c.file = r.file AND c.position = r.position
WHERE r.full_url IS NOT NULL AND c.key IS NOT NULL;

CREATE TABLE current AS
SELECT c.key, r.* EXCLUDE (seq, full_url, deletion, version, problem, skip, id)
FROM record r JOIN choice c ON c.file = r.file AND c.position = r.position
WHERE c.rank = 1 AND NOT c.gone;

DROP TABLE choice;
DROP TABLE record
