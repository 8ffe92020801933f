-- DocumentReference → NOTE//… with the text, or NOTE_UNREAD//MIME with the reason where we
-- cannot read any form.
--
-- `time`: the later of the document's own `date` and the `creation` of the form that we read, which
-- nobody had before (but a `creation` of "2024" says nothing of a `date` in that year); without both the end
-- of `context.period` (R5: `period`), or the encounter's end.
-- With a document status of amended, corrected or appended, not before `meta.lastUpdated`; where neither
-- that nor the form's `creation` says when it was changed, from its encounter's end, else it is left out:
-- `date` is when it was first filed. `occurred`: the period's start. A superseded document was what was
-- known in its day, and stays; entered in error is skipped, and so is a document status of registered
-- (R5: nothing is written yet) or cancelled. Several `content` are one document in several formats, so
-- the first that we can read is taken.
--
-- texts: docStatus
-- nested: content
-- times: date meta.lastUpdated
-- periods: context.period period
-- concepts: type category[0]
WITH read AS (
    SELECT
        t.*, "type" AS named, "category[0]" AS grouped, n.mime AS mime, n.text AS text, n.reason AS reason,
        fhir_end(n.creation, zone) AS made, fhir_start(n.creation, zone) AS made_from,
        is_changed("docStatus") AS changed
    FROM resource t LEFT JOIN note n ON n.place = t.place
),
dated AS (
    SELECT
        *,
        changed AND coalesce(updated, made) IS NULL AS changed_some_time,
        CASE WHEN changed OR coalesce(made_from > "date.last", true) THEN made END AS later,
        coalesce("context.period.ended", "period.ended") AS ended,
        coalesce("context.period.ended_from", "period.ended_from") AS ended_from
    FROM read
)
SELECT
    place, subject_key,
    CASE WHEN changed_some_time
         THEN CASE WHEN encounter_end IS NOT NULL THEN greatest("date.last", ended, encounter_end) END
         ELSE coalesce(greatest("date.last", later, CASE WHEN changed THEN updated END), ended, encounter_end)
         END AS time,
    CASE WHEN changed_some_time THEN greatest("date.first", ended_from, encounter_end_from)
         ELSE coalesce(
             greatest("date.first", made_from, CASE WHEN changed THEN "meta.lastUpdated.first" END),
             ended_from, encounter_end_from
         ) END AS time_from,
    coalesce("context.period.began", "period.began") AS occurred,
    coalesce("context.period.began_from", "period.began_from") AS occurred_from,
    CASE WHEN text IS NOT NULL THEN 'NOTE//' || coalesce(named.code, grouped.code, 'UNKNOWN')
         ELSE 'NOTE_UNREAD//' || mime END AS code,
    coalesce(text, reason) AS text_value,
    coalesce(named.display, grouped.display) AS display,
    list_concat([named.code], named.parents) AS parents,
    CASE WHEN status = 'entered-in-error' OR "docStatus" = 'entered-in-error' THEN 'entered-in-error'
         WHEN "docStatus" IN ('registered', 'cancelled') THEN 'document ' || "docStatus"
         WHEN mime IS NULL THEN 'no attachment' END AS skip
FROM dated
