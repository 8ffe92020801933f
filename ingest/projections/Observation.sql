-- Observation → one event for its own value and one for each component (a panel without a value of
-- its own gives its components alone).
--
-- `time`: the later of the end of `effective[x]` and `issued`; an amended or corrected value counts
-- from its amendment on (`meta.lastUpdated`, or the `issued` of that version); where neither says when
-- that was, from its encounter's end, else it is left out. `occurred`: the start of `effective[x]`.
-- A coded value stands in the code (`LOINC//72166-2//SNOMED//266919005`), so that its presence can
-- be learnt from; quantities, integers, booleans (1, 0), the middle of a range, a ratio's quotient
-- and the mean of sampled data are `numeric_value`, and so is the bound in words like "<5"; a comparator,
-- words, dates, a ratio as it is written and the samples themselves (as JSON) are `text_value`. With `dataAbsentReason` in place of a value the code ends in `//ABSENT`:
-- that it was looked for in vain is not a measurement.
WITH read AS (
    SELECT
        * EXCLUDE (json),
        from_json(json, '{"effectiveDateTime": "VARCHAR", "effectiveInstant": "VARCHAR", "issued": "VARCHAR",
            "effectivePeriod": {"start": "VARCHAR", "end": "VARCHAR"},
            "effectiveTiming": {"event": ["VARCHAR"]}, "component": "JSON"}') AS r,
        from_json(json, $value) AS own,
        status IN ('amended', 'corrected') AS changed,
        CASE WHEN changed THEN updated_from(json, zone) END AS amended_from
    FROM resource
    WHERE type = 'Observation'
),
moment AS (
    SELECT
        *,
        r.effectivePeriod.start AS begin,
        r.effectivePeriod."end" AS finish,
        coalesce(r.effectiveDateTime, r.effectiveInstant, r.effectiveTiming.event[-1]) AS point,
        r.effectiveTiming.event[1] AS first_point,
        CASE WHEN changed THEN updated END AS amended
    FROM read
),
-- The first and the last moment of each date.
spanned AS (
    SELECT
        *,
        fhir_start(point, zone) AS point_from, fhir_end(point, zone) AS point_to,
        fhir_start(begin, zone) AS begin_from, fhir_end(begin, zone) AS begin_to,
        fhir_start(finish, zone) AS finish_from, fhir_end(finish, zone) AS finish_to,
        fhir_start(r.issued, zone) AS issued_from, fhir_end(r.issued, zone) AS issued_to,
        CASE WHEN first_point IS NOT NULL THEN fhir_start(first_point, zone) END AS first_from,
        CASE WHEN first_point IS NOT NULL THEN fhir_end(first_point, zone) END AS first_to
    FROM moment
),
dated AS (
    SELECT
        *,
        changed AND coalesce(updated, issued_to) IS NULL AS changed_some_time,
        coalesce(point_to, finish_to, begin_to) AS ended,
        coalesce(point_from, greatest(begin_from, finish_from)) AS ended_from,
        coalesce(first_to, point_to, least(begin_to, finish_to), finish_to) AS started,
        coalesce(first_from, point_from, least(begin_from, finish_from)) AS started_from
    FROM spanned
),
timed AS MATERIALIZED (
    SELECT
        file, position, subject_key, own, r.component AS component, started, started_from,
        CASE WHEN changed_some_time
             THEN CASE WHEN encounter_end IS NOT NULL THEN greatest(ended, encounter_end) END
             ELSE coalesce(greatest(ended, issued_to, amended), encounter_end) END AS time,
        CASE WHEN changed_some_time THEN greatest(ended_from, encounter_end_from)
             ELSE coalesce(greatest(ended_from, issued_from, amended_from), encounter_end_from)
             END AS time_from,
        CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status END AS void
    FROM dated
),
part AS (
    SELECT file, position, subject_key, time, time_from, started, started_from, void, own AS p, false AS nested,
        json_array_length(component) > 0 AS has_parts
    FROM timed
    UNION ALL
    SELECT file, position, subject_key, time, time_from, started, started_from, void,
        unnest(from_json(component, '[' || $value || ']')), true, false
    FROM timed WHERE component IS NOT NULL
),
named AS (
    SELECT
        *,
        concept(p.code) AS c,
        concept(p.valueCodeableConcept) AS answer,
        p.valueQuantity AS q,
        from_json(p.valueRange, '{"low": ' || $quantity || ', "high": ' || $quantity || '}') AS g,
        from_json(p.valueRatio, '{"numerator": ' || $quantity || ', "denominator": ' || $quantity || '}') AS o,
        from_json(p.valueSampledData,
            '{"origin": ' || $quantity || ', "factor": "DOUBLE", "data": "VARCHAR"}') AS w,
        from_json(p.valuePeriod, '{"start": "VARCHAR", "end": "VARCHAR"}') AS span
    FROM part
),
valued AS (
    SELECT
        *,
        coalesce(
            q.value,
            p.valueInteger,
            p.valueBoolean::INT,
            CASE WHEN coalesce(quantity_unit(g.low), '') = coalesce(quantity_unit(g.high), quantity_unit(g.low), '')
                THEN (g.low.value + g.high.value) / 2 END,
            g.low.value, g.high.value,
            o.numerator.value / nullif(o.denominator.value, 0),
            coalesce(w.origin.value, 0) + coalesce(w.factor, 1) * list_avg(
                list_transform(string_split(w.data, ' '), lambda x: try_cast(x AS DOUBLE))
            ),
            try_cast(regexp_extract(trim(p.valueString), '^((<=|>=|<|>) *)?([-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?)$', 3) AS DOUBLE)
        ) AS number,
        coalesce(
            q.comparator,
            CASE WHEN g IS NOT NULL AND number IS NOT NULL
                THEN concat(g.low.value, '..', g.high.value) END,
            CASE WHEN o.numerator.value IS NOT NULL THEN concat(o.numerator.value, ':', o.denominator.value) END,
            p.valueString, p.valueDateTime, p.valueTime, p.valueSampledData::VARCHAR,
            CASE WHEN span.start IS NOT NULL OR span."end" IS NOT NULL THEN concat(span.start, '/', span."end") END
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
        quantity_unit(w.origin)
    ) END AS unit,
    concat_ws(': ', c.display, answer.display) AS display,
    CASE WHEN answer.code IS NOT NULL THEN list_concat([c.code, answer.code], list_concat(c.parents, answer.parents))
         WHEN absent THEN list_prepend(c.code, c.parents)
         ELSE c.parents END AS parents,
    coalesce(void, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM valued
WHERE nested OR NOT coalesce(has_parts, false) OR number IS NOT NULL OR words IS NOT NULL
    OR answer.code IS NOT NULL OR absent
