-- The text of the batch's documents and reports: the first form of each that we can read, or the
-- reason why the first form can't be.
CREATE OR REPLACE TEMP TABLE note AS
WITH attached AS (
    SELECT file, position, scope, key, unnest(from_json(json -> '$.content[*].attachment', $attachment)) AS a,
        generate_subscripts(from_json(json -> '$.content[*].attachment', $attachment), 1) AS n
    FROM read_resource WHERE type = 'DocumentReference'
    UNION ALL
    SELECT file, position, scope, key, unnest(from_json(json -> '$.presentedForm', $attachment)),
        generate_subscripts(from_json(json -> '$.presentedForm', $attachment), 1)
    FROM read_resource WHERE type = 'DiagnosticReport'
),
got AS (
    SELECT a.file, a.position, a.n, coalesce(a.a.contentType, b.mime, 'unknown') AS kind,
        coalesce(a.a.data, b.data) AS data,
        coalesce(a.a.data, b.data) IS NULL AND a.a.url IS NOT NULL AS elsewhere
    FROM attached a LEFT JOIN attached_bytes b ON a.a.data IS NULL AND b.key = ref_key(a.scope, a.key, a.a.url)
)
SELECT file, position, lower(trim(split_part(kind, ';', 1))) AS mime, said.text AS text,
    CASE WHEN elsewhere THEN 'not fetched' ELSE said.reason END AS reason
FROM (SELECT *, read_note(kind, data) AS said FROM got)
QUALIFY row_number() OVER (
    PARTITION BY file, position ORDER BY text IS NULL, mime = 'text/plain' DESC, n
) = 1
