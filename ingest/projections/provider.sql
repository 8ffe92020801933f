-- What others take from each Encounter, Location, Medication and Binary → `provider`, as a hash: where
-- it is as it was, those who refer to it are as they were, too.
CREATE TABLE provider AS
SELECT hash(key) AS key, hash(list_sort(list(value))) AS value FROM (
    SELECT key, hash(subject_key, start, "end", end_from, end_as_written, died) AS value FROM encounter
    UNION ALL SELECT key, hash(name) FROM location
    UNION ALL SELECT key, hash(c) FROM medication
    UNION ALL SELECT key, hash(mime, data) FROM attached_bytes
)
WHERE key NOT IN (SELECT key FROM contained)
GROUP BY ALL
