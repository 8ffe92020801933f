-- DeviceUseStatement (R4) → DEVICE//…: that the patient uses a device, as somebody said.
--
-- `time`: `recordedOn`, for the use is known once it is told, and not before it began; without it the
-- end of `timing[x]` (its start while the use goes on). `occurred`: the start. The device is named as the
-- reference to it is (`display`, or an identifier): few exports bring Device. Merely intended use and what
-- was entered in error is skipped.
--
-- nested: timingTiming.event
-- times: recordedOn timingDateTime
-- periods: timingPeriod timingTiming.repeat.boundsPeriod
-- concepts: device device.identifier
WITH timed AS (
    SELECT
        *,
-- if timingTiming.event
        event_span("timingTiming.event", zone) AS events
-- end if
-- unless timingTiming.event
        NULL::STRUCT(ended TIMESTAMP, ended_from TIMESTAMP, began TIMESTAMP, began_from TIMESTAMP) AS events
-- end if
    FROM resource
),
used AS (
    SELECT
        *,
        CASE WHEN "device".code IS NOT NULL THEN "device" ELSE "device.identifier" END AS c,
        coalesce("timingDateTime.last", "timingPeriod.ended", events.ended,
            "timingTiming.repeat.boundsPeriod.ended") AS used_to,
        coalesce("timingDateTime.first", "timingPeriod.ended_from", events.ended_from,
            "timingTiming.repeat.boundsPeriod.ended_from") AS used_to_from,
        coalesce("timingDateTime.last", "timingPeriod.began", events.began,
            "timingTiming.repeat.boundsPeriod.began") AS begun,
        coalesce("timingDateTime.first", "timingPeriod.began_from", events.began_from,
            "timingTiming.repeat.boundsPeriod.began_from") AS begun_from
    FROM timed
)
SELECT
    place, subject_key,
    coalesce(
        CASE WHEN "recordedOn.last" IS NOT NULL THEN greatest("recordedOn.last", begun_from) END,
        CASE WHEN status IN ('active', 'on-hold') THEN begun END,
        used_to,
        encounter_end
    ) AS time,
    coalesce(
        CASE WHEN "recordedOn.first" IS NOT NULL THEN greatest("recordedOn.first", begun_from) END,
        CASE WHEN status IN ('active', 'on-hold') THEN begun_from END,
        used_to_from,
        encounter_end_from
    ) AS time_from,
    begun AS occurred,
    begun_from AS occurred_from,
    'DEVICE//' || c.code AS code,
    c.display AS display,
    list_prepend(c.code, c.parents) AS parents,
    CASE WHEN status IN ('intended', 'entered-in-error') THEN status
         WHEN c.code IS NULL THEN 'no code' END AS skip
FROM used
