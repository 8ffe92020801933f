-- Encounter → ENCOUNTER_START and ENCOUNTER_END, two events; ENCOUNTER_TYPE, ADMIT_SOURCE and
-- PRIORITY at the start; DISPOSITION, REASON and SERVICE (it can change during a stay, so only the
-- last one is sure, and only then) at the end; TRANSFER at the start of each `location.period`.
--
-- `period.start` is when the start was known, `period.end` the end: nobody knows at admission how a
-- stay will end, so the disposition belongs to the end, and so does `reasonCode`, which is often
-- coded at discharge. An encounter that is still going on has no end, whatever `period.end` says
-- (there it is a plan). A start that is only a date is not later than the end.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"class": "JSON", "type": ["JSON"], "reasonCode": ["JSON"],
            "priority": "JSON", "serviceType": "JSON",
            "period": {"start": "VARCHAR", "end": "VARCHAR"},
            "hospitalization": {"admitSource": "JSON", "dischargeDisposition": "JSON"},
            "location": [{"location": {"reference": "VARCHAR", "display": "VARCHAR"},
                          "period": {"start": "VARCHAR", "end": "VARCHAR"}}]}') AS r
    FROM resource
    WHERE type = 'Encounter'
),
timed AS (
    SELECT
        *,
        status IN ('arrived', 'triaged', 'in-progress', 'onleave') AS open,
        fhir_end(r.period."end", zone) AS ended,
        least(fhir_end(r.period.start, zone), CASE WHEN NOT open THEN ended END) AS started,
        concept(r.class) AS class,
        concept(r.hospitalization.dischargeDisposition) AS disposition,
        concept(r.hospitalization.admitSource) AS origin,
        concept(r.priority) AS priority,
        concept(r.serviceType) AS service,
        CASE WHEN status IN ('planned', 'cancelled', 'entered-in-error') THEN status END AS skip
    FROM read
),
bare AS (
    SELECT *, coalesce(regexp_extract(class.code, '//(.*)$', 1), 'UNKNOWN') AS class_code FROM timed
),
located AS (
    SELECT b.*, unnest(b.r.location) AS place FROM bare b
),
placed AS (
    SELECT
        l.*,
        coalesce(x.name, l.place.location.display) AS place_name
    FROM located l
    LEFT JOIN location x ON x.key = ref_key(l.file, l.key, l.place.location.reference)
)
SELECT
    file, position, subject_key, started AS time, NULL AS occurred,
    'ENCOUNTER_START//' || class_code AS code, class.display AS display,
    [class.code] AS parents, skip
FROM bare
UNION ALL
SELECT file, position, subject_key, ended, NULL, 'ENCOUNTER_END//' || class_code, class.display, [class.code], skip
FROM bare WHERE NOT open
UNION ALL
SELECT file, position, subject_key, started, NULL, 'ENCOUNTER_TYPE//' || c.code, c.display, list_prepend(c.code, c.parents), skip
FROM (SELECT *, concept(unnest(r.type)) AS c FROM bare)
UNION ALL
SELECT file, position, subject_key, started, NULL, 'ADMIT_SOURCE//' || regexp_extract(origin.code, '//(.*)$', 1), origin.display, [origin.code], skip
FROM bare
UNION ALL
SELECT file, position, subject_key, ended, NULL, 'DISPOSITION//' || regexp_extract(disposition.code, '//(.*)$', 1), disposition.display, [disposition.code], skip
FROM bare WHERE NOT open
UNION ALL
SELECT file, position, subject_key, started, NULL, 'PRIORITY//' || regexp_extract(priority.code, '//(.*)$', 1), priority.display, [priority.code], skip
FROM bare
UNION ALL
SELECT file, position, subject_key, ended, NULL, 'SERVICE//' || regexp_extract(service.code, '//(.*)$', 1), service.display, [service.code], skip
FROM bare WHERE NOT open
UNION ALL
SELECT file, position, subject_key, ended, started, 'REASON//' || c.code, c.display, list_prepend(c.code, c.parents), skip
FROM (SELECT *, concept(unnest(r.reasonCode)) AS c FROM bare WHERE NOT open)
UNION ALL
SELECT file, position, subject_key, fhir_end(place.period.start, zone), NULL, 'TRANSFER//' || upper(left(place_name, 60)), place_name, NULL, skip
FROM placed
