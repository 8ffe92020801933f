-- DocumentReference → NOTE//… with the text, or NOTE_UNREAD//MIME with the reason where we
-- cannot read any form.
--
-- `time`: the document's own `date` (with a document status of amended, not before
-- `meta.lastUpdated`); without it the attachment's `creation`, the end of `context.period` (R5: `period`), or
-- the encounter's end. `occurred`: the period's start. A superseded document was what was
-- known in its day, and stays; entered in error is skipped. Several `content` are one document in
-- several formats, so the first that we can read is taken.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"docStatus": "VARCHAR", "date": "VARCHAR", "type": "JSON", "category": ["JSON"],
            "context": {"period": {"start": "VARCHAR", "end": "VARCHAR"}},
            "period": {"start": "VARCHAR", "end": "VARCHAR"},
            "content": [{"attachment": {"creation": "VARCHAR"}}]}') AS r
    FROM resource
    WHERE type = 'DocumentReference'
),
coded AS (
    SELECT
        *,
        coalesce(r.context.period, r.period) AS span,
        concept(r.type) AS named,
        concept(r.category[1]) AS grouped
    FROM read
)
SELECT
    t.file, t.position, t.subject_key,
    coalesce(
        greatest(fhir_end(r.date, zone), CASE WHEN r.docStatus = 'amended' THEN updated END),
        fhir_end(r.content[1].attachment.creation, zone),
        period_end(span, zone),
        encounter_end
    ) AS time,
    coalesce(
        greatest(fhir_start(r.date, zone), CASE WHEN r.docStatus = 'amended' THEN updated_from(json, zone) END),
        fhir_start(r.content[1].attachment.creation, zone),
        period_end_from(span, zone),
        encounter_end_from
    ) AS time_from,
    period_start(span, zone) AS occurred,
    period_start_from(span, zone) AS occurred_from,
    CASE WHEN n.text IS NOT NULL THEN 'NOTE//' || coalesce(named.code, grouped.code, 'UNKNOWN')
         ELSE 'NOTE_UNREAD//' || n.mime END AS code,
    coalesce(n.text, n.reason) AS text_value,
    coalesce(named.display, grouped.display) AS display,
    list_concat([named.code], named.parents) AS parents,
    CASE WHEN status = 'entered-in-error' OR r.docStatus = 'entered-in-error' THEN 'entered-in-error'
         WHEN n.mime IS NULL THEN 'no attachment' END AS skip
FROM coded t LEFT JOIN note n ON n.file = t.file AND n.position = t.position
