-- Encounter → ENCOUNTER_START and ENCOUNTER_END, two events; ENCOUNTER_TYPE, ADMIT_SOURCE and
-- PRIORITY at the start; DISPOSITION, REASON and SERVICE (it can change during a stay, so only the
-- last one is sure, and only then) at the end; TRANSFER at the start of each `location.period`.
--
-- `period.start` is when the start was known, `period.end` the end: nobody knows at admission how a
-- stay will end, so the disposition belongs to the end, and so does `reasonCode`, which is often
-- coded at discharge. An encounter that is still going on has no end, whatever `period.end` says
-- (there it is a plan). A start that is only a date is not later than the end. R5 calls the period
-- `actualPeriod`, the stay `admission` and has the reasons under `reason`.
--
-- nested: serviceType type reasonCode reason location
-- periods: period actualPeriod
-- concepts: class priority hospitalization.admitSource hospitalization.dischargeDisposition admission.admitSource admission.dischargeDisposition
WITH timed AS (
    SELECT
        *,
        status IN ('arrived', 'triaged', 'in-progress', 'onleave', 'on-hold') AS open,
        coalesce("period.end.last", "actualPeriod.end.last") AS ended,
        least(coalesce("period.start.last", "actualPeriod.start.last"), CASE WHEN NOT open THEN ended END) AS started,
        coalesce("period.ended_from", "actualPeriod.ended_from") AS ended_from,
        coalesce("period.start.first", "actualPeriod.start.first") AS started_from,
        CASE WHEN "hospitalization.dischargeDisposition" IS NOT NULL THEN "hospitalization.dischargeDisposition"
             ELSE "admission.dischargeDisposition" END AS disposition,
        CASE WHEN "hospitalization.admitSource" IS NOT NULL THEN "hospitalization.admitSource"
             ELSE "admission.admitSource" END AS origin,
        concept(coalesce("serviceType" -> '$[0].concept', "serviceType")) AS service,
        CASE WHEN status IN ('planned', 'cancelled', 'entered-in-error') THEN status END AS skip
    FROM resource
),
bare AS (
    SELECT
        *,
        coalesce(regexp_extract("class".code, '//(.*)$', 1), 'UNKNOWN') AS class_code,
        regexp_extract(origin.code, '//(.*)$', 1) AS origin_code,
        regexp_extract("priority".code, '//(.*)$', 1) AS priority_code,
        regexp_extract(disposition.code, '//(.*)$', 1) AS disposition_code,
        regexp_extract(service.code, '//(.*)$', 1) AS service_code
    FROM timed
),
-- What has no code is no event; so `closing` takes the code away while the encounter goes on.
each AS (
    SELECT
        *,
        CASE WHEN NOT open THEN '' END AS closing,
        unnest([
            {'time': started, 'from': started_from, 'role': 'ENCOUNTER_START//' || class_code, 'what': "class"},
            {'time': started, 'from': started_from, 'role': 'ADMIT_SOURCE//' || origin_code, 'what': origin},
            {'time': started, 'from': started_from, 'role': 'PRIORITY//' || priority_code, 'what': "priority"},
            {'time': ended, 'from': ended_from, 'role': closing || 'ENCOUNTER_END//' || class_code, 'what': "class"},
            {'time': ended, 'from': ended_from, 'role': closing || 'DISPOSITION//' || disposition_code, 'what': disposition},
            {'time': ended, 'from': ended_from, 'role': closing || 'SERVICE//' || service_code, 'what': service}
        ]) AS e
    FROM bare
),
typed AS (
    SELECT *, concept(unnest(from_json("type", '["JSON"]'))) AS c FROM bare
),
reasoned AS (
    SELECT *, concept(unnest(coalesce(
        from_json("reasonCode", '["JSON"]'),
        flatten(list_transform(from_json("reason", '[{"value": [{"concept": "JSON"}]}]'),
            lambda x: list_transform(x.value, lambda v: v.concept)))
    ))) AS c FROM bare WHERE NOT open
),
located AS (
    SELECT *, unnest(from_json("location", '[{"location": {"reference": "VARCHAR", "display": "VARCHAR"},
        "period": {"start": "VARCHAR", "end": "VARCHAR"}}]')) AS stay
    FROM bare
),
placed AS (
    SELECT l.*, coalesce(x.name, l.stay.location.display) AS place_name
    FROM located l LEFT JOIN location x ON x.key = ref_key(l.scope, l.key, l.stay.location.reference)
)
SELECT
    place, subject_key, e.time AS time, e."from" AS time_from,
    NULL AS occurred, NULL AS occurred_from, e.role AS code,
    e.what.display AS display, list_prepend(e.what.code, e.what.parents) AS parents, skip
FROM each
UNION ALL
SELECT
    place, subject_key, started, started_from, NULL, NULL, 'ENCOUNTER_TYPE//' || c.code,
    c.display, list_prepend(c.code, c.parents), skip
FROM typed
UNION ALL
SELECT
    place, subject_key, ended, ended_from, started, started_from, 'REASON//' || c.code,
    c.display, list_prepend(c.code, c.parents), skip
FROM reasoned
UNION ALL
SELECT
    place, subject_key, fhir_end(stay.period.start, zone), fhir_start(stay.period.start, zone),
    NULL, NULL, 'TRANSFER//' || upper(left(place_name, 60)), place_name, NULL, skip
FROM placed
