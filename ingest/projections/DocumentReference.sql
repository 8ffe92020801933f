-- DocumentReference → NOTE//… with the text, or NOTE_UNREAD//MIME with the reason where we
-- cannot read any form.
--
-- `time`: the document's own `date` (with a document status of amended, corrected or appended,
-- not before `meta.lastUpdated` and the attachment's `creation`); without it the attachment's
-- `creation`, the end of `context.period` (R5: `period`), or the encounter's end. `occurred`: the
-- period's start. A superseded document was what was known in its day, and stays; entered in error is
-- skipped, and so is a document status of registered (R5: nothing is written yet) or cancelled.
-- Several `content` are one document in several formats, so the first that we can read is taken.
--
-- texts: docStatus
-- nested: content
-- times: date content[0].attachment.creation meta.lastUpdated
-- periods: context.period period
-- concepts: type category[0]
WITH coded AS (
    SELECT *, "type" AS named, "category[0]" AS grouped FROM resource
)
SELECT
    t.place, t.subject_key,
    coalesce(
        greatest(
            "date.last",
            CASE WHEN is_changed("docStatus") THEN greatest(updated, "content[0].attachment.creation.last") END
        ),
        "content[0].attachment.creation.last",
        "context.period.ended", "period.ended",
        encounter_end
    ) AS time,
    coalesce(
        greatest(
            "date.first",
            CASE WHEN is_changed("docStatus")
                 THEN greatest("meta.lastUpdated.first", "content[0].attachment.creation.first") END
        ),
        "content[0].attachment.creation.first",
        "context.period.ended_from", "period.ended_from",
        encounter_end_from
    ) AS time_from,
    coalesce("context.period.began", "period.began") AS occurred,
    coalesce("context.period.began_from", "period.began_from") AS occurred_from,
    CASE WHEN n.text IS NOT NULL THEN 'NOTE//' || coalesce(named.code, grouped.code, 'UNKNOWN')
         ELSE 'NOTE_UNREAD//' || n.mime END AS code,
    coalesce(n.text, n.reason) AS text_value,
    coalesce(named.display, grouped.display) AS display,
    list_concat([named.code], named.parents) AS parents,
    CASE WHEN status = 'entered-in-error' OR "docStatus" = 'entered-in-error' THEN 'entered-in-error'
         WHEN "docStatus" IN ('registered', 'cancelled') THEN 'document ' || "docStatus"
         WHEN n.mime IS NULL THEN 'no attachment' END AS skip
FROM coded t LEFT JOIN note n ON n.place = t.place
