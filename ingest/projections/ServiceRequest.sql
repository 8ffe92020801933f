-- ServiceRequest → ORDER//…: that something was ordered, which is not that it was done.
--
-- `time`: `authoredOn`, else the encounter's end. `occurrence[x]` is when it is to be done, which
-- says nothing of when it was ordered. Proposals, plans, options and a patient's own directives are
-- skipped (nobody ordered them), so are drafts, what was revoked, orders not to do something
-- (`doNotPerform`) and what was entered in error.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"code": "JSON", "intent": "VARCHAR", "authoredOn": "VARCHAR", "doNotPerform": "BOOLEAN"}') AS r,
        concept(coalesce(json -> '$.code.concept', json -> '$.code')) AS c  -- R5 wraps it
    FROM resource
    WHERE type = 'ServiceRequest'
)
SELECT
    file, position, subject_key,
    coalesce(fhir_end(r.authoredOn, zone), encounter_end) AS time,
    coalesce(fhir_start(r.authoredOn, zone), encounter_end_from) AS time_from,
    'ORDER//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status IN ('draft', 'revoked', 'entered-in-error') THEN status
         WHEN r.intent IN ('proposal', 'plan', 'option', 'directive') THEN 'intent ' || r.intent
         WHEN r.doNotPerform THEN 'do not perform'
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM read
