-- `candidate` → `projected`, and what became of each record → `outcome`, one row each.
--
-- An event needs a time, but for sex. It can't be known before it happens, so `occurred` is at most
-- `time`; neither is before its own `_from`, which is dropped where it is the same moment. A record
-- is projected if any event came of it; Patient, Medication, Location and Binary always are, since
-- others refer to them. `asked` is the records of the batch.
CREATE OR REPLACE TEMP TABLE made AS
SELECT place FROM candidate
WHERE skip IS NULL AND code IS NOT NULL AND starts_with(subject_key, 'Patient/')
    AND (time IS NOT NULL OR starts_with(code, 'GENDER//'));

INSERT INTO projected BY NAME
WITH dated AS (
    SELECT * REPLACE (
        least(coalesce(occurred, time), time) AS occurred,
        CASE WHEN occurred IS NULL THEN time_from ELSE occurred_from END AS occurred_from
    ) FROM candidate
    WHERE skip IS NULL AND code IS NOT NULL AND starts_with(subject_key, 'Patient/')
        AND (time IS NOT NULL OR starts_with(code, 'GENDER//'))
)
SELECT d.* EXCLUDE (skip, place) REPLACE (
    nullif(least(time_from, time), time) AS time_from,
    nullif(least(occurred_from, occurred), occurred) AS occurred_from
), l.file AS file, d.place % 1099511627776 AS position
FROM dated d JOIN landed l ON l.number = d.place // 1099511627776;

-- Of what nothing came, why.
CREATE OR REPLACE TEMP TABLE judged AS
WITH seen AS (
    SELECT place, min(skip) AS skip, bool_or(time IS NULL AND skip IS NULL) AS undated
    FROM candidate ANTI JOIN made USING (place) GROUP BY place
)
SELECT
    r.place,
    r.type,
    CASE WHEN r.type NOT IN (SELECT unnest($supported)) THEN 'skipped'
         WHEN r.subject_key IS NULL THEN 'quarantined'
         ELSE 'skipped' END AS status,
    CASE
        WHEN r.type NOT IN (SELECT unnest($supported)) THEN r.type
        WHEN r.subject_key IS NULL THEN 'no subject'
        WHEN r.subject_key NOT LIKE 'Patient/%' THEN r.type || ': subject is no Patient'
        WHEN r.modified THEN r.type || ': modifier extension'
        WHEN s.skip IS NOT NULL THEN r.type || ': ' || s.skip
        WHEN s.undated THEN r.type || ': undated'
        ELSE r.type || ': nothing to project'
    END AS detail,
    r.subject_key
FROM asked r ANTI JOIN made m ON m.place = r.place
LEFT JOIN seen s ON s.place = r.place
WHERE r.type NOT IN (SELECT unnest($always));

INSERT INTO outcome
SELECT l.file, r.place % 1099511627776, 'projected', NULL, r.subject_key
FROM asked r JOIN landed l ON l.number = r.place // 1099511627776
WHERE r.type IN (SELECT unnest($always)) OR r.place IN (SELECT place FROM made)
UNION ALL
SELECT l.file, j.place % 1099511627776, status, detail, subject_key
FROM judged j JOIN landed l ON l.number = j.place // 1099511627776;

-- What was skipped for want of a code may be no valid FHIR: that takes the line itself to say.
INSERT INTO doubtful
SELECT $batch, place, type FROM judged WHERE status = 'skipped' AND detail LIKE '%: no code';

INSERT INTO undated
SELECT DISTINCT l.file, c.place % 1099511627776, r.type
FROM candidate c JOIN asked r USING (place) JOIN landed l ON l.number = c.place // 1099511627776
WHERE c.skip IS NULL AND c.code IS NOT NULL AND c.time IS NULL AND NOT starts_with(c.code, 'GENDER//')
    AND c.code NOT LIKE 'TRANSFER//%' AND c.subject_key LIKE 'Patient/%'
