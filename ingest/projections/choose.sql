-- `record` → what is superseded, deleted, or no resource; all other records are current.
--
-- Newest by `meta.lastUpdated`, then by `versionId` as a number, then what landed last. A deletion
-- without a time is as new as the newest that landed before it. Most resources come once, and only
-- those that do not (`rival`) are ranked.
-- needs: rivals
CREATE TABLE choice AS
WITH dated AS (
    SELECT place, seq, deletion, type, id,
        CASE WHEN deletion AND updated IS NULL THEN max(updated) OVER before ELSE updated END AS updated,
        CASE WHEN deletion AND version IS NULL THEN max(version) OVER before ELSE version END AS version
    FROM record JOIN rival USING (type, id)
    WHERE problem IS NULL AND skip IS NULL
    WINDOW before AS (PARTITION BY type, id ORDER BY seq ROWS UNBOUNDED PRECEDING)
)
SELECT
    place, deletion,
    row_number() OVER newest AS rank,
    first_value(deletion) OVER newest AS gone
FROM dated
WINDOW newest AS (
    PARTITION BY type, id
    ORDER BY updated DESC NULLS LAST, version DESC NULLS LAST, seq DESC
);

INSERT INTO outcome BY NAME
SELECT l.file AS file, place % 1099511627776 AS position,
    CASE WHEN problem IS NULL THEN 'skipped' ELSE 'quarantined' END AS status,
    coalesce(problem, skip) AS detail
FROM record r JOIN landed l ON l.number = r.place // 1099511627776
WHERE problem IS NOT NULL OR skip IS NOT NULL;

CREATE TABLE beaten AS
-- if rivals
SELECT place, CASE WHEN deletion OR gone THEN 'deleted' ELSE 'superseded' END AS status
FROM choice WHERE deletion OR gone OR rank > 1
UNION ALL
-- end if
-- A deletion that does not say of what.
SELECT place, 'deleted' AS status FROM record
WHERE deletion AND problem IS NULL AND skip IS NULL AND (type IS NULL OR id IS NULL);

INSERT INTO outcome BY NAME
SELECT l.file AS file, place % 1099511627776 AS position, status
FROM beaten b JOIN landed l ON l.number = b.place // 1099511627776;

CREATE TABLE full_url AS
SELECT DISTINCT u.scope AS scope, u.full_url AS full_url, type || '/' || id AS key
FROM linked_url u JOIN record r USING (place)
WHERE problem IS NULL AND skip IS NULL AND type IS NOT NULL AND id IS NOT NULL;

DROP TABLE linked_url;

-- needs: rivals
DROP TABLE choice;

DROP TABLE rival;

-- `scope` is null where it is the file's.
CREATE VIEW current AS
SELECT *, type || '/' || id AS key FROM record ANTI JOIN beaten USING (place)
WHERE problem IS NULL AND skip IS NULL
