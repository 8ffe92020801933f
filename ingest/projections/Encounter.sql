-- Encounter → ENCOUNTER_START and ENCOUNTER_END, two events; ENCOUNTER_TYPE, ADMIT_SOURCE and
-- PRIORITY at the start; DISPOSITION, REASON and SERVICE (it can change during a stay, so only the
-- last one is sure, and only then) at the end; TRANSFER at the start of each `location.period`.
--
-- `period.start` is when the start was known, `period.end` the end: nobody knows at admission how a
-- stay will end, so the disposition belongs to the end, and so does `reasonCode`, which is often
-- coded at discharge. An encounter that is still going on has no end, whatever `period.end` says
-- (there it is a plan). A start that is only a date is not later than the end. R5 calls the period
-- `actualPeriod`, the stay `admission` and has the reasons under `reason`.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"class": "JSON", "type": ["JSON"], "reasonCode": ["JSON"],
            "priority": "JSON", "serviceType": "JSON",
            "period": {"start": "VARCHAR", "end": "VARCHAR"},
            "actualPeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "hospitalization": {"admitSource": "JSON", "dischargeDisposition": "JSON"},
            "admission": {"admitSource": "JSON", "dischargeDisposition": "JSON"},
            "reason": [{"value": [{"concept": "JSON"}]}],
            "location": [{"location": {"reference": "VARCHAR", "display": "VARCHAR"},
                          "period": {"start": "VARCHAR", "end": "VARCHAR"}}]}') AS r,
        coalesce((r).period, (r).actualPeriod) AS span,
        coalesce((r).hospitalization, (r).admission) AS stay,
        coalesce((r).reasonCode, flatten(list_transform((r).reason, lambda x: list_transform(x.value, lambda v: v.concept)))) AS reasons
    FROM resource
    WHERE type = 'Encounter'
),
timed AS (
    SELECT
        *,
        status IN ('arrived', 'triaged', 'in-progress', 'onleave', 'on-hold') AS open,
        fhir_end(span."end", zone) AS ended,
        least(fhir_end(span.start, zone), CASE WHEN NOT open THEN ended END) AS started,
        period_end_from(span, zone) AS ended_from,
        fhir_start(span.start, zone) AS started_from,
        concept(r.class) AS class,
        concept(stay.dischargeDisposition) AS disposition,
        concept(stay.admitSource) AS origin,
        concept(r.priority) AS priority,
        concept(coalesce(r.serviceType -> '$[0].concept', r.serviceType)) AS service,
        CASE WHEN status IN ('planned', 'cancelled', 'entered-in-error') THEN status END AS skip
    FROM read
),
bare AS (
    SELECT
        *,
        coalesce(regexp_extract(class.code, '//(.*)$', 1), 'UNKNOWN') AS class_code,
        regexp_extract(origin.code, '//(.*)$', 1) AS origin_code,
        regexp_extract(priority.code, '//(.*)$', 1) AS priority_code,
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
            {'time': started, 'from': started_from, 'role': 'ENCOUNTER_START//' || class_code, 'what': class},
            {'time': started, 'from': started_from, 'role': 'ADMIT_SOURCE//' || origin_code, 'what': origin},
            {'time': started, 'from': started_from, 'role': 'PRIORITY//' || priority_code, 'what': priority},
            {'time': ended, 'from': ended_from, 'role': closing || 'ENCOUNTER_END//' || class_code, 'what': class},
            {'time': ended, 'from': ended_from, 'role': closing || 'DISPOSITION//' || disposition_code, 'what': disposition},
            {'time': ended, 'from': ended_from, 'role': closing || 'SERVICE//' || service_code, 'what': service}
        ]) AS e
    FROM bare
),
typed AS (
    SELECT *, concept(unnest(r.type)) AS c FROM bare
),
reasoned AS (
    SELECT *, concept(unnest(reasons)) AS c FROM bare WHERE NOT open
),
located AS (
    SELECT *, unnest(r.location) AS place FROM bare
),
placed AS (
    SELECT l.*, coalesce(x.name, l.place.location.display) AS place_name
    FROM located l LEFT JOIN location x ON x.key = ref_key(l.scope, l.key, l.place.location.reference)
)
SELECT
    file, position, subject_key, e.time AS time, e."from" AS time_from,
    NULL AS occurred, NULL AS occurred_from, e.role AS code,
    e.what.display AS display, list_prepend(e.what.code, e.what.parents) AS parents, skip
FROM each
UNION ALL
SELECT
    file, position, subject_key, started, started_from, NULL, NULL, 'ENCOUNTER_TYPE//' || c.code,
    c.display, list_prepend(c.code, c.parents), skip
FROM typed
UNION ALL
SELECT
    file, position, subject_key, ended, ended_from, started, started_from, 'REASON//' || c.code,
    c.display, list_prepend(c.code, c.parents), skip
FROM reasoned
UNION ALL
SELECT
    file, position, subject_key, fhir_end(place.period.start, zone), fhir_start(place.period.start, zone),
    NULL, NULL, 'TRANSFER//' || upper(left(place_name, 60)), place_name, NULL, skip
FROM placed
