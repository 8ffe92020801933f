-- QuestionnaireResponse → ANSWER//QUESTIONNAIRE//QUESTION for each answer, questions in groups and under
-- answers among them. QUESTIONNAIRE is the last part of its URL, QUESTION the `linkId`: what the question
-- means stands in the Questionnaire, which few exports bring.
--
-- `time`: `authored`, when the answers were gathered; amended, not before `meta.lastUpdated`, and where that
-- is not there, from the encounter's end, else they are left out (FHIR means `authored` to be of the last
-- change, but forms keep the first); without `authored` the encounter's end. Coded answers stand in the code,
-- as an Observation's do; numbers and booleans (1, 0) are `numeric_value`; words and dates `text_value`.
-- Attachments and references are left out. What was stopped or is still being filled in is not vouched for,
-- and is skipped like what was entered in error.
--
-- texts: questionnaire
-- nested: item
-- times: authored meta.lastUpdated
WITH dated AS (
    SELECT
        *,
        from_json(to_json(list_concat(
            from_json("item", '["JSON"]'), json_extract("item", '$..item[*]')
        )), '[{"linkId": "VARCHAR", "text": "VARCHAR", "answer": [{
            "valueBoolean": "BOOLEAN", "valueDecimal": "DOUBLE", "valueInteger": "DOUBLE", "valueDate": "VARCHAR",
            "valueDateTime": "VARCHAR", "valueTime": "VARCHAR", "valueString": "VARCHAR", "valueCoding": "JSON",
            "valueQuantity": {"value": "DOUBLE", "comparator": "VARCHAR", "unit": "VARCHAR", "system": "VARCHAR", "code": "VARCHAR"}}]}]') AS items,
        is_changed(status) AND updated IS NULL AS changed_some_time,
        CASE WHEN changed_some_time
             THEN CASE WHEN encounter_end IS NOT NULL THEN greatest("authored.last", encounter_end) END
             ELSE coalesce(
                 greatest("authored.last", CASE WHEN is_changed(status) THEN updated END), encounter_end
             ) END AS time,
        CASE WHEN changed_some_time THEN greatest("authored.first", encounter_end_from)
             ELSE coalesce(
                 greatest("authored.first", CASE WHEN is_changed(status) THEN "meta.lastUpdated.first" END),
                 encounter_end_from
             ) END AS time_from,
        coalesce(nullif(upper(regexp_extract("questionnaire", '([^/|]+)([|][^|]*)?$', 1)), ''), 'UNKNOWN') AS asked,
        CASE WHEN status IN ('in-progress', 'stopped', 'entered-in-error') THEN status END AS void
    FROM resource
),
question AS (
    SELECT *, unnest(items) AS i FROM dated
),
answer AS (
    SELECT place, subject_key, time, time_from, asked, void, i.linkId AS link, i.text AS words,
        unnest(i.answer) AS a
    FROM question
),
named AS (
    SELECT *, concept(a.valueCoding) AS c,
        coalesce(a.valueDecimal, a.valueInteger, a.valueBoolean::INT, a.valueQuantity.value) AS number,
        coalesce(a.valueQuantity.comparator, a.valueString, a.valueDate, a.valueDateTime, a.valueTime) AS said
    FROM answer
)
SELECT
    place, subject_key, time, time_from,
    'ANSWER//' || asked || '//' || replace(trim(link, ' /'), '//', '/')
        || CASE WHEN c.code IS NOT NULL THEN '//' || c.code ELSE '' END AS code,
    finite(number) AS numeric_value,
    nullif(trim(said), '') AS text_value,
    CASE WHEN a.valueQuantity.value IS NOT NULL THEN quantity_unit(a.valueQuantity) END AS unit,
    concat_ws(': ', words, c.display) AS display,
    CASE WHEN c.code IS NOT NULL THEN list_prepend(c.code, c.parents) END AS parents,
    coalesce(void, CASE WHEN number IS NULL AND nullif(trim(said), '') IS NULL AND c.code IS NULL THEN 'no answer' END)
        AS skip
FROM named
UNION ALL
SELECT place, subject_key, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, coalesce(void, 'no answer')
FROM dated WHERE NOT list_contains(list_transform(coalesce(items, []), lambda i: len(coalesce(i.answer, [])) > 0), true)
