-- The batch of lines in `part` → what the index keeps of each, so that a later build can tell which
-- records something new bears on without reading them again (ingest/record_index.py).
--
-- A token is the hash of a resource's `Type/id`, of a `fullUrl`, or of an identifier's value. A record
-- depends on the tokens of what it refers to, whichever way the reference may be resolved
-- (references.sql); it provides its own. What says who is meant within its Bundle alone is hashed with
-- that. Too many are harmless: a record is then looked at in vain.
INSERT INTO trace
SELECT
    place,
    CASE WHEN problem IS NULL AND skip IS NULL THEN type END,
    CASE WHEN problem IS NULL AND skip IS NULL THEN hash(key) END,
    deletion,
    CASE WHEN subject_plain THEN subject ELSE hash(scoped(bare_reference(subject_ref), scope)) END,
    CASE WHEN encounter_plain THEN encounter ELSE hash(scoped(bare_reference(encounter_ref), scope)) END,
    bytes
FROM part;

-- Of most lines `part` has subject, encounter and drug alone; of those that are looked at whole, any
-- reference may be followed, now or when a projection learns to. A plain one to what nobody looks into
-- (Practitioner, Organization) is left out.
INSERT INTO depend
SELECT DISTINCT place, hash(token), link FROM (
    SELECT place, scoped(token, scope) AS token, link FROM (SELECT place, scope, unnest(reference_tokens(ref)) AS token, link FROM (
        SELECT place, scope, subject_ref AS ref, false AS link FROM part WHERE NOT subject_plain
        UNION ALL SELECT place, scope, encounter_ref, false FROM part WHERE NOT encounter_plain
        UNION ALL SELECT place, scope, drug_ref, false FROM part WHERE drug_ref IS NOT NULL
    ) WHERE NOT starts_with(ref, '#'))
) WHERE token IS NOT NULL;

-- needs: Patient Encounter Location Medication contained
INSERT INTO depend
SELECT DISTINCT place, hash(token), link FROM (
    SELECT place, scoped(token, scope) AS token, link FROM (SELECT place, scope, unnest(reference_tokens(ref)) AS token, link FROM (
        SELECT * FROM (
            SELECT place, scope, unnest(json ->> '$..reference') AS ref, false AS link
            FROM whole JOIN part USING (place)
            WHERE contained IS NOT NULL OR type IN ('Patient', 'Encounter', 'Location', 'Medication')
        ) WHERE NOT is_plain(ref) OR regexp_matches(ref, '^(Patient|Encounter|Location|Medication|Binary)/')
        UNION ALL SELECT place, scope, unnest(json ->> '$.link[*].other.reference'), true
        FROM whole JOIN part USING (place) WHERE type = 'Patient'
    ) WHERE ref IS NOT NULL AND NOT starts_with(ref, '#'))
    UNION ALL  -- a contained Patient may be one that is known by its identifier
    SELECT place, unnest(json ->> '$.contained[*].identifier[*].value'), false
    FROM whole JOIN part USING (place) WHERE contained IS NOT NULL
) WHERE token IS NOT NULL;

-- needs: DocumentReference DiagnosticReport
INSERT INTO depend
SELECT DISTINCT place, hash(token), false FROM (
    SELECT place, scoped(token, scope) AS token FROM (SELECT place, scope, unnest(reference_tokens(ref)) AS token FROM (
        SELECT place, scope, unnest(TRY(forms ->> '$..attachment.url')) AS ref FROM attached JOIN part USING (place)
        UNION ALL SELECT place, scope, unnest(TRY(forms ->> '$[*].url')) FROM attached JOIN part USING (place)
    ) WHERE ref IS NOT NULL AND NOT starts_with(ref, '#'))
) WHERE token IS NOT NULL;

-- needs: wrapped
INSERT INTO provide
SELECT place, hash(scoped(full_url, scope)), NULL FROM part
WHERE full_url IS NOT NULL AND problem IS NULL AND skip IS NULL;

-- needs: Patient Encounter Location Medication
INSERT INTO provide
SELECT place, hash(i.value), hash(concat(i.system, '|', i.value)) FROM (
    SELECT place, unnest(from_json(json -> '$.identifier', '[{"system": "VARCHAR", "value": "VARCHAR"}]')) AS i
    FROM whole JOIN part USING (place)
    WHERE type IN ('Patient', 'Encounter', 'Location', 'Medication') AND problem IS NULL AND skip IS NULL
) WHERE i.value IS NOT NULL
