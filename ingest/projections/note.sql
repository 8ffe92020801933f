-- The text of documents and reports: the first form of each that we can read, or the reason why the
-- first form can't be; and when that form was made, as it is written. `attached` is the forms, each a
-- list as JSON.
CREATE OR REPLACE TEMP TABLE note AS
WITH listed AS (
    SELECT place, from_json(forms, '[{"attachment": ' || $attachment || '}]') AS each,
        list_filter(list_transform(each, lambda f: f.attachment), lambda a: a IS NOT NULL) AS all_forms
    FROM attached WHERE type = 'DocumentReference'
    UNION ALL
    SELECT place, NULL, from_json(forms, '[' || $attachment || ']') FROM attached WHERE type = 'DiagnosticReport'
),
attached_form AS (
    SELECT place, unnest(all_forms) AS a, generate_subscripts(all_forms, 1) AS n FROM listed
),
got AS (
    SELECT a.place, a.n, a.a.creation AS creation, coalesce(a.a.contentType, b.mime, 'unknown') AS kind,
        coalesce(a.a.data, b.data) AS data,
        coalesce(a.a.data, b.data) IS NULL AND a.a.url IS NOT NULL AS elsewhere
    FROM attached_form a JOIN asked p USING (place)
    LEFT JOIN attached_bytes b ON a.a.data IS NULL AND b.key = ref_key(p.scope, p.key, a.a.url)
)
SELECT place, creation, lower(trim(split_part(kind, ';', 1))) AS mime, said.text AS text,
    CASE WHEN elsewhere THEN 'not fetched' ELSE said.reason END AS reason
FROM (SELECT *, read_note(kind, data) AS said FROM got)
QUALIFY row_number() OVER (
    PARTITION BY place ORDER BY text IS NULL, mime = 'text/plain' DESC, n
) = 1
