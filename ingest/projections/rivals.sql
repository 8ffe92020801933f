-- Resources of which `record` has several versions, or a deletion: found by a hash first, which takes
-- little room, then by their names.
CREATE TABLE rival AS
WITH same AS (
    SELECT hash(type, id) AS name FROM record
    WHERE problem IS NULL AND skip IS NULL AND type IS NOT NULL AND id IS NOT NULL
    GROUP BY ALL HAVING count(*) > 1 OR bool_or(deletion)
)
SELECT type, id FROM record SEMI JOIN same ON same.name = hash(record.type, record.id)
WHERE problem IS NULL AND skip IS NULL AND type IS NOT NULL AND id IS NOT NULL
GROUP BY ALL HAVING count(*) > 1 OR bool_or(deletion)
