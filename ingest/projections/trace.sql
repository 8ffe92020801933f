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
    CASE WHEN problem IS NULL AND skip IS NULL THEN hash(type || '/' || id) END,
    deletion,
    hash(scoped(bare_reference(subject_ref), scope)),
    hash(scoped(bare_reference(encounter_ref), scope)),
    bytes
FROM part;

-- Of most lines `part` has subject, encounter and drug alone; of those that it keeps as JSON, any
-- reference may be followed, now or when a projection learns to. A plain one to what nobody looks into
-- (Practitioner, Organization) is left out.
INSERT INTO depend
SELECT DISTINCT place, hash(token), link FROM (
    SELECT place, scoped(token, scope) AS token, link FROM (SELECT place, scope, unnest(reference_tokens(ref)) AS token, link FROM (
        SELECT place, scope, subject_ref AS ref, false AS link FROM part WHERE NOT is_plain(subject_ref)
        UNION ALL SELECT place, scope, encounter_ref, false FROM part WHERE NOT is_plain(encounter_ref)
        UNION ALL SELECT place, scope, drug_ref, false FROM part WHERE drug_ref IS NOT NULL
        UNION ALL
        SELECT * FROM (
            SELECT place, scope, unnest(json ->> '$..reference') AS ref, false AS link FROM part
            WHERE json IS NOT NULL
                AND (contains_others OR type NOT IN ('Binary', 'DocumentReference', 'DiagnosticReport'))
        ) WHERE NOT is_plain(ref) OR regexp_matches(ref, '^(Patient|Encounter|Location|Medication|Binary)/')
        UNION ALL SELECT place, scope, unnest(json ->> '$..attachment.url'), false FROM part WHERE json IS NOT NULL
        UNION ALL SELECT place, scope, unnest(json ->> '$.presentedForm[*].url'), false FROM part WHERE json IS NOT NULL
        UNION ALL SELECT place, scope, unnest(json ->> '$.link[*].other.reference'), true FROM part WHERE type = 'Patient'
    ) WHERE ref IS NOT NULL AND NOT starts_with(ref, '#'))
    UNION ALL  -- a contained Patient may be one that is known by its identifier
    SELECT place, unnest(json ->> '$.contained[*].identifier[*].value'), false FROM part WHERE contains_others
)
WHERE token IS NOT NULL;

INSERT INTO provide
SELECT place, hash(scoped(full_url, scope)), NULL FROM part
WHERE full_url IS NOT NULL AND problem IS NULL AND skip IS NULL
UNION ALL
SELECT place, hash(i.value), hash(concat(i.system, '|', i.value)) FROM (
    SELECT place, unnest(from_json(json -> '$.identifier', '[{"system": "VARCHAR", "value": "VARCHAR"}]')) AS i
    FROM part WHERE type IN ('Patient', 'Encounter', 'Location', 'Medication') AND problem IS NULL AND skip IS NULL
) WHERE i.value IS NOT NULL
