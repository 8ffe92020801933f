-- A batch of lines → `record`: what of a resource is needed before its type is looked at; and what
-- others refer to, which is kept apart.
--
-- `head` is what was taken out of each line (ingest/extraction.py), `line` the lines themselves. Broken
-- JSON stays a record, with a problem. Wrapped lines (see ingest/records.py) carry what a Bundle said of
-- an entry: `said.fullUrl`, `said.method` and so on.
--
-- A resource without `id` takes that of its fullUrl, else the hash of its content, so that a copy of
-- it is one. Where that says who is meant within its Bundle alone (a `urn:uuid:` that is counted from
-- 1, or content that refers to one), the hash of the Bundle (`scope`: of its line, or of the file that
-- it is) goes with it: the same Bundle twice is one still, but number 1 of another is somebody else.
-- A UUID that was made to be unique is the same resource in every Bundle, and its newest version counts.

-- The few lines of which more may be looked at than fields.
CREATE OR REPLACE TEMP TABLE whole AS
SELECT l.place, CASE WHEN l.wrapped THEN TRY(l.text -> '$.resource')::VARCHAR ELSE l.text END AS json
FROM line l SEMI JOIN (
    SELECT place FROM head WHERE NOT broken AND ("contained" IS NOT NULL OR "id" IS NULL
        OR "resourceType" IN ('Patient', 'Encounter', 'Location', 'Medication', 'Binary'))
) w ON w.place = l.place;

CREATE OR REPLACE TEMP TABLE part AS
WITH told AS (
    SELECT
        h.*,
        l.zone,
        coalesce("said.bundle", l.scope) AS scope,
-- if deletion
        coalesce("said.method" = 'DELETE', false) AS deletion,
        CASE WHEN deletion
             THEN regexp_extract("said.url", '([A-Z][A-Za-z]+)/([^/?#|]+)(/_history/[^/]*)?$', ['type', 'id'])
        END AS gone,
-- end if
-- unless deletion
        false AS deletion,
        NULL::STRUCT(type VARCHAR, id VARCHAR) AS gone,
-- end if
        coalesce(
            "subject.reference", "patient.reference", "subject[0].reference",
            'Patient?identifier=' || coalesce("subject.identifier.system" || '|', '') || "subject.identifier.value",
            'Patient?identifier=' || coalesce("patient.identifier.system" || '|', '') || "patient.identifier.value"
        ) AS subject_ref,
        coalesce(
            "encounter.reference", "context.reference", "context.encounter[0].reference",
            CASE WHEN "context[0].reference" LIKE '%Encounter/%' THEN "context[0].reference" END
        ) AS encounter_ref,
        coalesce("medicationReference.reference", "medication.reference.reference") AS drug_ref
    FROM head h JOIN landed l ON l.number = h.place // 1099511627776
),
named AS (
    SELECT
        t.*,
        is_plain(subject_ref) AS subject_plain,
        is_plain(encounter_ref) AS encounter_plain,
        CASE WHEN deletion THEN nullif(gone.type, '') ELSE "resourceType" END AS type,
-- if nameless
        CASE WHEN deletion THEN nullif(gone.id, '') ELSE coalesce(
            t.id,
            nullif(regexp_extract("said.fullUrl", '^urn:(uuid|oid):(.+)$', 2), '')
                || CASE WHEN local_urn("said.fullUrl") THEN '@' || scope ELSE '' END,
            nullif(regexp_extract("said.fullUrl", '/([^/]+)$', 1), ''),
            'md5-' || md5(trim(w.json, E' \t\r\n')) || CASE WHEN len(list_filter(
                regexp_extract_all(w.json, '"(urn:uuid:[^"]*)"', 1), lambda u: local_urn(u))) > 0
                THEN '@' || scope ELSE '' END
        ) END AS own_id
-- end if
-- unless nameless
        t.id AS own_id
-- end if
    FROM told t
-- if nameless
    LEFT JOIN whole w USING (place)
-- end if
)
SELECT
    place,
    bytes,
    "said.bundle" AS own_scope,
    scope,
    place // 1099511627776 * 1099511627776
        + coalesce(try_cast("said.order" AS BIGINT), place % 1099511627776) AS seq,
    type,
    own_id AS id,
    type || '/' || own_id AS key,
    "said.fullUrl" AS full_url,
    deletion,
-- if said.modified meta.lastUpdated
    coalesce(fhir_end("said.modified", zone), "meta.lastUpdated.instant", fhir_end("meta.lastUpdated", zone)) AS updated,
-- end if
-- unless said.modified meta.lastUpdated
    "meta.lastUpdated.instant" AS updated,
-- end if
    try_cast("meta.versionId" AS BIGINT) AS version,
    coalesce("status", '') AS status,
    subject_ref, encounter_ref, drug_ref, subject_plain, encounter_plain,
    reference_token(subject_ref, subject_plain, key, scope) AS subject,
    reference_token(encounter_ref, encounter_plain, key, scope) AS encounter,
    CASE WHEN drug_ref IS NOT NULL THEN reference_token(drug_ref, is_plain(drug_ref), key, scope) END AS drug,
    "modifierExtension[0].url" IS NOT NULL AS modified,
    "contained" AS contained,
    CASE WHEN broken THEN 'not JSON'
         WHEN "said.problem" IS NOT NULL THEN "said.problem"
         WHEN "said.skip" IS NOT NULL OR deletion THEN NULL
         WHEN type = 'Bundle' THEN 'a Bundle that could not be unpacked'
-- if misnamed
         WHEN type IS NULL OR NOT regexp_full_match(type, '[A-Z][A-Za-z]{2,40}')
         THEN 'not a FHIR resource: no resourceType'
-- end if
         END AS problem,
    "said.skip" AS skip
FROM named;

INSERT INTO record BY NAME
SELECT
    $batch AS batch, place, own_scope AS scope, seq, type, id, deletion, updated, version, status, subject, encounter,
    drug, modified, problem, skip
FROM part;

-- needs: wrapped
INSERT INTO linked_url SELECT place, scope, full_url FROM part WHERE full_url IS NOT NULL;

-- Of patients those who may be linked to another: a name may be written with escapes, too.
-- needs: Patient Location Medication Binary
INSERT INTO kept
SELECT place, json FROM whole JOIN part USING (place)
WHERE type IN ('Location', 'Medication', 'Binary')
    OR (type = 'Patient' AND (contains(json, '"link"') OR contains(json, '\u')));

-- needs: contained
INSERT INTO holder SELECT place, contained FROM part WHERE contained IS NOT NULL AND json_valid(contained);

-- needs: Encounter
INSERT INTO stay BY NAME
SELECT place, from_json(coalesce(json -> '$.period', json -> '$.actualPeriod'), '{"start": "VARCHAR", "end": "VARCHAR"}') AS period,
    coalesce(json -> '$.hospitalization.dischargeDisposition', json -> '$.admission.dischargeDisposition') AS disposition
FROM whole JOIN part USING (place) WHERE type = 'Encounter';

-- needs: Patient Encounter Location Medication
INSERT INTO named BY NAME
SELECT place, unnest(from_json(json -> '$.identifier', '[{"system": "VARCHAR", "value": "VARCHAR"}]')) AS i
FROM whole JOIN part USING (place) WHERE type IN ('Patient', 'Encounter', 'Location', 'Medication');

INSERT INTO cited
WITH each AS (
    SELECT subject AS token, any_value(scope) AS scope, any_value(key) AS key, any_value(subject_ref) AS ref
    FROM part WHERE subject IS NOT NULL GROUP BY subject
    UNION ALL
    SELECT encounter, any_value(scope), any_value(key), any_value(encounter_ref)
    FROM part WHERE encounter IS NOT NULL GROUP BY encounter
    UNION ALL
    SELECT drug, any_value(scope), any_value(key), any_value(drug_ref)
    FROM part WHERE drug IS NOT NULL GROUP BY drug
)
SELECT token, CASE WHEN NOT is_plain(ref) AND NOT starts_with(ref, '#') THEN scope END,
    CASE WHEN starts_with(ref, '#') THEN key || ref ELSE ref END
FROM each;

-- Other references that are not plainly `Type/id`: of few files any.
-- needs: Medication
INSERT INTO cited_reference
SELECT DISTINCT scope, ref FROM (
    SELECT scope, unnest(json ->> '$.ingredient[*].itemReference.reference') AS ref
    FROM whole JOIN part USING (place) WHERE type = 'Medication'
    UNION ALL
    SELECT scope, unnest(json ->> '$.ingredient[*].item.reference.reference')
    FROM whole JOIN part USING (place) WHERE type = 'Medication'
) WHERE NOT is_plain(ref) AND NOT starts_with(ref, '#');

-- needs: Encounter
INSERT INTO cited_reference
SELECT DISTINCT scope, ref FROM (
    SELECT scope, unnest(json ->> '$.location[*].location.reference') AS ref
    FROM whole JOIN part USING (place) WHERE type = 'Encounter'
) WHERE NOT is_plain(ref) AND NOT starts_with(ref, '#');

-- needs: Patient
INSERT INTO cited_reference
SELECT DISTINCT scope, ref FROM (
    SELECT scope, unnest(json ->> '$.link[*].other.reference') AS ref
    FROM whole JOIN part USING (place) WHERE type = 'Patient'
) WHERE NOT is_plain(ref) AND NOT starts_with(ref, '#');

-- needs: DocumentReference DiagnosticReport
INSERT INTO cited_reference
SELECT DISTINCT scope, ref FROM (
    SELECT scope, unnest(TRY(forms ->> '$[*].attachment.url')) AS ref FROM attached JOIN part USING (place)
    UNION ALL
    SELECT scope, unnest(TRY(forms ->> '$[*].url')) FROM attached JOIN part USING (place)
) WHERE NOT is_plain(ref) AND NOT starts_with(ref, '#')
