-- Procedure → what was done.
--
-- `time`: the end of `performed[x]` (R5: `occurrence[x]`; a procedure that still goes on is known from its start),
-- and not before `recorded` (R5), for it is known once it is told; without any, the encounter's end, and not
-- before `recorded`; outside encounters that alone.
-- `occurred`: its start. What was not done, is only being prepared, or was entered in error is skipped;
-- what was stopped had begun, and stays.
--
-- nested: occurrenceTiming.event
-- times: performedDateTime occurrenceDateTime recorded
-- periods: performedPeriod occurrencePeriod
-- concepts: code
WITH timed AS (
    SELECT
        *,
-- if occurrenceTiming.event
        event_span("occurrenceTiming.event", zone) AS events
-- end if
-- unless occurrenceTiming.event
        NULL::STRUCT(ended TIMESTAMP, ended_from TIMESTAMP, began TIMESTAMP, began_from TIMESTAMP) AS events
-- end if
    FROM resource
),
known AS (
    SELECT
        *,
        coalesce(
            "performedDateTime.last", "occurrenceDateTime.last",
            CASE WHEN status IN ('in-progress', 'on-hold')
                 THEN coalesce("performedPeriod.start.last", "occurrencePeriod.start.last", events.began) END,
            "performedPeriod.ended", "occurrencePeriod.ended", events.ended
        ) AS done,
        coalesce(
            "performedDateTime.first", "occurrenceDateTime.first",
            CASE WHEN status IN ('in-progress', 'on-hold')
                 THEN coalesce("performedPeriod.start.first", "occurrencePeriod.start.first", events.began_from) END,
            "performedPeriod.ended_from", "occurrencePeriod.ended_from", events.ended_from
        ) AS done_from
    FROM timed
)
SELECT
    place, subject_key,
    coalesce(
        CASE WHEN done IS NOT NULL THEN greatest(done, "recorded.last") END,
        recorded_alone("recorded.last", encounter_end, encounter_goes_on)
    ) AS time,
    coalesce(
        CASE WHEN done_from IS NOT NULL THEN greatest(done_from, "recorded.first") END,
        recorded_alone("recorded.first", encounter_end_from, encounter_goes_on)
    ) AS time_from,
    coalesce(
        "performedDateTime.last", "occurrenceDateTime.last", "performedPeriod.began", "occurrencePeriod.began",
        events.began
    ) AS occurred,
    coalesce(
        "performedDateTime.first", "occurrenceDateTime.first", "performedPeriod.began_from", "occurrencePeriod.began_from",
        events.began_from
    ) AS occurred_from,
    "code".code AS code,
    "code".display AS display,
    "code".parents AS parents,
    CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status
         WHEN "code".code IS NULL THEN 'no code' END AS skip
FROM known
