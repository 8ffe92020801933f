-- Observation → one event for its own value and one for each component (a panel without a value of
-- its own gives its components alone).
--
-- `time`: the later of the end of `effective[x]` and `issued`; an amended or corrected value counts
-- from its amendment on (`meta.lastUpdated`, or the `issued` of that version); where neither says when
-- that was, from its encounter's end, else it is left out. `occurred`: the start of `effective[x]`.
-- A coded value stands in the code (`LOINC//72166-2//SNOMED//266919005`), so that its presence can
-- be learnt from; quantities, integers, booleans (1, 0), the middle of a range, a ratio's quotient
-- and the mean of sampled data are `numeric_value`; a comparator, words, dates and a ratio as it is
-- written are `text_value`. With `dataAbsentReason` in place of a value the code ends in `//ABSENT`:
-- that it was looked for in vain is not a measurement.
WITH read AS (
    SELECT
        *,
        from_json(json, '{"effectiveDateTime": "VARCHAR", "effectiveInstant": "VARCHAR", "issued": "VARCHAR",
            "effectivePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "effectiveTiming": {"event": ["VARCHAR"]}}') AS r,
        from_json(json, $value) AS own,
        from_json(json -> '$.component', '[' || $value || ']') AS component
    FROM resource
    WHERE type = 'Observation'
),
timed AS (
    SELECT
        *,
        coalesce(
            fhir_end(r.effectiveDateTime, zone), fhir_end(r.effectiveInstant, zone),
            period_end(r.effectivePeriod, zone), fhir_end(r.effectiveTiming.event[-1], zone)
        ) AS ended,
        coalesce(
            fhir_end(r.effectiveDateTime, zone), fhir_end(r.effectiveInstant, zone),
            period_start(r.effectivePeriod, zone), fhir_end(r.effectiveTiming.event[1], zone)
        ) AS started,
        coalesce(
            fhir_start(r.effectiveDateTime, zone), fhir_start(r.effectiveInstant, zone),
            period_end_from(r.effectivePeriod, zone), fhir_start(r.effectiveTiming.event[-1], zone)
        ) AS ended_from,
        coalesce(
            fhir_start(r.effectiveDateTime, zone), fhir_start(r.effectiveInstant, zone),
            period_start_from(r.effectivePeriod, zone), fhir_start(r.effectiveTiming.event[1], zone)
        ) AS started_from,
        status IN ('amended', 'corrected') AS changed,
        changed AND coalesce(updated, fhir_end(r.issued, zone)) IS NULL AS changed_some_time,
        CASE WHEN changed THEN updated END AS amended,
        CASE WHEN changed THEN updated_from(json, zone) END AS amended_from,
        CASE WHEN changed_some_time
             THEN CASE WHEN encounter_end IS NOT NULL THEN greatest(ended, encounter_end) END
             ELSE coalesce(greatest(ended, fhir_end(r.issued, zone), amended), encounter_end) END AS time,
        CASE WHEN changed_some_time THEN greatest(ended_from, encounter_end_from)
             ELSE coalesce(greatest(ended_from, fhir_start(r.issued, zone), amended_from), encounter_end_from)
             END AS time_from,
        CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status END AS void
    FROM read
),
part AS (
    SELECT file, position, subject_key, time, time_from, started, started_from, void, own AS p, false AS nested,
        len(coalesce(component, [])) > 0 AS has_parts FROM timed
    UNION ALL
    SELECT file, position, subject_key, time, time_from, started, started_from, void, unnest(component), true, false
    FROM timed
),
named AS (
    SELECT
        *,
        concept(p.code) AS c,
        concept(p.valueCodeableConcept) AS answer,
        p.valueQuantity AS q,
        p.valueRange AS g,
        p.valueRatio AS o
    FROM part
),
valued AS (
    SELECT
        *,
        coalesce(
            p.valueQuantity.value,
            p.valueInteger,
            p.valueBoolean::INT,
            (g.low.value + g.high.value) / 2, g.low.value, g.high.value,
            o.numerator.value / nullif(o.denominator.value, 0),
            coalesce(p.valueSampledData.origin.value, 0) + coalesce(p.valueSampledData.factor, 1) * list_avg(
                list_transform(string_split(p.valueSampledData.data, ' '), lambda x: try_cast(x AS DOUBLE))
            ),
            try_cast(trim(p.valueString) AS DOUBLE)
        ) AS number,
        coalesce(
            q.comparator,
            CASE WHEN g IS NOT NULL AND number IS NOT NULL
                THEN concat(g.low.value, '..', g.high.value) END,
            CASE WHEN o.numerator.value IS NOT NULL THEN concat(o.numerator.value, ':', o.denominator.value) END,
            p.valueString, p.valueDateTime, p.valueTime,
            CASE WHEN p.valuePeriod.start IS NOT NULL OR p.valuePeriod."end" IS NOT NULL
                THEN concat(p.valuePeriod.start, '/', p.valuePeriod."end") END
        ) AS words,
        p.dataAbsentReason IS NOT NULL AND number IS NULL AND words IS NULL AND answer.code IS NULL AS absent
    FROM named
)
SELECT
    file, position, subject_key, time, time_from,
    started AS occurred, started_from AS occurred_from,
    c.code || CASE WHEN answer.code IS NOT NULL THEN '//' || answer.code WHEN absent THEN '//ABSENT' ELSE '' END AS code,
    finite(number) AS numeric_value,
    nullif(trim(words), '') AS text_value,
    CASE WHEN number IS NOT NULL THEN coalesce(
        quantity_unit(q), quantity_unit(g.low), quantity_unit(g.high),
        quantity_unit(o.numerator) || coalesce('/' || quantity_unit(o.denominator), ''),
        quantity_unit(p.valueSampledData.origin)
    ) END AS unit,
    concat_ws(': ', c.display, answer.display) AS display,
    CASE WHEN answer.code IS NOT NULL THEN list_concat([c.code, answer.code], list_concat(c.parents, answer.parents))
         WHEN absent THEN list_prepend(c.code, c.parents)
         ELSE c.parents END AS parents,
    coalesce(void, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM valued
WHERE nested OR NOT has_parts OR number IS NOT NULL OR words IS NOT NULL OR answer.code IS NOT NULL OR absent
