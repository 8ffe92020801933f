-- NutritionOrder → ORDER//… for each diet, supplement and formula: that it was ordered, not that it was
-- eaten.
--
-- `time`: `dateTime`, when it was asked for, else the encounter's end. Proposals, plans and options are
-- skipped, so are drafts, what was revoked and what was entered in error.
--
-- texts: intent
-- nested: oralDiet.type supplement
-- times: dateTime
-- concepts: enteralFormula.baseFormulaType enteralFormula.baseFormulaType.concept
WITH ordered AS (
    SELECT
        *,
        CASE WHEN status IN ('draft', 'revoked', 'entered-in-error') THEN status
             WHEN "intent" IN ('proposal', 'plan', 'option', 'directive') THEN 'intent ' || "intent" END AS void
    FROM resource
),
named AS (
    SELECT *, concept(unnest(from_json("oralDiet.type", '["JSON"]'))) AS c FROM ordered
    UNION ALL
    SELECT * EXCLUDE (s), concept(coalesce(s -> '$.type.concept', s -> '$.type'))  -- R5 wraps it
    FROM (SELECT *, unnest(from_json("supplement", '["JSON"]')) AS s FROM ordered)
    UNION ALL
    SELECT *, CASE WHEN "enteralFormula.baseFormulaType.concept" IS NOT NULL
        THEN "enteralFormula.baseFormulaType.concept" ELSE "enteralFormula.baseFormulaType" END
    FROM ordered WHERE "enteralFormula.baseFormulaType" IS NOT NULL
)
SELECT
    place, subject_key,
    coalesce("dateTime.last", encounter_end) AS time,
    coalesce("dateTime.first", encounter_end_from) AS time_from,
    'ORDER//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    coalesce(void, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM named
UNION ALL
SELECT place, subject_key, NULL, NULL, NULL, NULL, NULL, coalesce(void, 'nothing ordered')
FROM ordered WHERE place NOT IN (SELECT place FROM named)
