-- Procedure → what was done.
--
-- `time`: the end of `performed[x]` (R5: `occurrence[x]`; a procedure that still goes on is known from its start),
-- and not before `recorded` (R5), for it is known once it is told; without any, the encounter's end.
-- `occurred`: its start. What was not done, is only being prepared, or was entered in error is skipped;
-- what was stopped had begun, and stays.
--
-- times: performedDateTime occurrenceDateTime recorded
-- periods: performedPeriod occurrencePeriod
-- concepts: code
SELECT
    place, subject_key,
    coalesce(
        greatest(
            coalesce(
                "performedDateTime.last", "occurrenceDateTime.last",
                CASE WHEN status IN ('in-progress', 'on-hold')
                     THEN coalesce("performedPeriod.start.last", "occurrencePeriod.start.last") END,
                "performedPeriod.ended", "occurrencePeriod.ended"
            ),
            "recorded.last"
        ),
        encounter_end
    ) AS time,
    coalesce(
        greatest(
            coalesce(
                "performedDateTime.first", "occurrenceDateTime.first",
                CASE WHEN status IN ('in-progress', 'on-hold')
                     THEN coalesce("performedPeriod.start.first", "occurrencePeriod.start.first") END,
                "performedPeriod.ended_from", "occurrencePeriod.ended_from"
            ),
            "recorded.first"
        ),
        encounter_end_from
    ) AS time_from,
    coalesce(
        "performedDateTime.last", "occurrenceDateTime.last", "performedPeriod.began", "occurrencePeriod.began"
    ) AS occurred,
    coalesce(
        "performedDateTime.first", "occurrenceDateTime.first", "performedPeriod.began_from", "occurrencePeriod.began_from"
    ) AS occurred_from,
    "code".code AS code,
    "code".display AS display,
    "code".parents AS parents,
    CASE WHEN status IN ('preparation', 'not-done', 'entered-in-error') THEN status
         WHEN "code".code IS NULL THEN 'no code' END AS skip
FROM resource
