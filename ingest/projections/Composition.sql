-- Composition → NOTE//… with the narrative of its sections, in their order, each under its title; or
-- NOTE_UNREAD//text/html with the reason. What its entries refer to comes with those resources.
--
-- `time`: `date`, when the author last changed what stands there; amended, corrected or
-- appended, not before `meta.lastUpdated`; without it the encounter's end. An attester vouches for the text and does not
-- change it, so `attester.time` moves nothing. `occurred`: the start of the first `event.period`.
-- A preliminary one was what was known in its day, and stays; registered (R5: nothing is written yet),
-- cancelled and entered in error are skipped.
--
-- texts: text.div
-- nested: section
-- times: date meta.lastUpdated
-- periods: event[0].period
-- concepts: type category[0]
WITH written AS (
    SELECT
        *,
        "type" AS named,
        "category[0]" AS grouped,
        -- Sections within a section follow it, however deep they are.
        coalesce(
            nullif(list_aggregate(list_transform(
                flatten(list_transform(from_json("section", '["JSON"]'),
                    lambda s: list_prepend(s, from_json(s -> '$..section[*]', '["JSON"]')))),
                lambda s: concat('<h2>', replace(replace(s ->> '$.title', '&', '&amp;'), '<', '&lt;'), '</h2>',
                    s ->> '$.text.div')
            ), 'string_agg', ''), ''),
            "text.div"
        ) AS markup
    FROM resource
),
told AS (
    SELECT *, read_note('text/html', to_base64(encode(markup))) AS said FROM written
)
SELECT
    place, subject_key,
    coalesce(greatest("date.last", CASE WHEN is_changed(status) THEN updated END), encounter_end) AS time,
    coalesce(
        greatest("date.first", CASE WHEN is_changed(status) THEN "meta.lastUpdated.first" END),
        encounter_end_from
    ) AS time_from,
    "event[0].period.began" AS occurred,
    "event[0].period.began_from" AS occurred_from,
    CASE WHEN said.text IS NOT NULL THEN 'NOTE//' || coalesce(named.code, grouped.code, 'UNKNOWN')
         ELSE 'NOTE_UNREAD//text/html' END AS code,
    coalesce(said.text, said.reason) AS text_value,
    coalesce(named.display, grouped.display) AS display,
    list_concat([named.code], named.parents) AS parents,
    CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status
         WHEN markup IS NULL OR said.reason = 'empty' THEN 'no text' END AS skip
FROM told
