-- ServiceRequest → ORDER//…: that something was ordered, which is not that it was done.
--
-- `time`: `authoredOn`, else the encounter's end. `occurrence[x]` is when it is to be done, which
-- says nothing of when it was ordered. Proposals, plans, options and a patient's own directives are
-- skipped (nobody ordered them), so are drafts, what was revoked, orders not to do something
-- (`doNotPerform`) and what was entered in error.
--
-- texts: intent doNotPerform
-- times: authoredOn
-- concepts: code.concept code
WITH named AS (
    SELECT *, CASE WHEN "code.concept" IS NOT NULL THEN "code.concept" ELSE "code" END AS c  -- R5 wraps it
    FROM resource
)
SELECT
    place, subject_key,
    coalesce("authoredOn.last", encounter_end) AS time,
    coalesce("authoredOn.first", encounter_end_from) AS time_from,
    'ORDER//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status IN ('draft', 'revoked', 'entered-in-error') THEN status
         WHEN "intent" IN ('proposal', 'plan', 'option', 'directive') THEN 'intent ' || "intent"
         WHEN "doNotPerform" = 'true' THEN 'do not perform'
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM named
