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
--
-- texts: valueString valueBoolean valueInteger valueTime valueDateTime dataAbsentReason
-- nested: component valueRange valueRatio valueSampledData valuePeriod
-- times: effectiveDateTime effectiveInstant effectiveTiming.event[0] effectiveTiming.event[#-1] effectivePeriod.start effectivePeriod.end issued meta.lastUpdated
-- quantities: valueQuantity
-- concepts: code valueCodeableConcept
WITH pointed AS (
    SELECT
        *,
        CASE WHEN "effectiveDateTime" IS NOT NULL THEN "effectiveDateTime.last"
             WHEN "effectiveInstant" IS NOT NULL THEN "effectiveInstant.last"
             ELSE "effectiveTiming.event[#-1].last" END AS point,
        CASE WHEN "effectiveDateTime" IS NOT NULL THEN "effectiveDateTime.first"
             WHEN "effectiveInstant" IS NOT NULL THEN "effectiveInstant.first"
             ELSE "effectiveTiming.event[#-1].first" END AS point_from
    FROM resource
),
dated AS (
    SELECT
        *,
        status IN ('amended', 'corrected') AS changed,
        changed AND coalesce(updated, "issued.last") IS NULL AS changed_some_time,
        CASE WHEN changed THEN updated END AS amended,
        CASE WHEN changed THEN "meta.lastUpdated.first" END AS amended_from,
        coalesce(point, "effectivePeriod.end.last", "effectivePeriod.start.last") AS ended,
        coalesce(point_from, greatest("effectivePeriod.start.first", "effectivePeriod.end.first")) AS ended_from
    FROM pointed
),
timed AS (
    SELECT
        * EXCLUDE (status),
        coalesce(
            "effectiveTiming.event[0].last", point,
            least("effectivePeriod.start.last", "effectivePeriod.end.last"), "effectivePeriod.end.last"
        ) AS started,
        coalesce(
            "effectiveTiming.event[0].first", point_from,
            least("effectivePeriod.start.first", "effectivePeriod.end.first")
        ) AS started_from,
        CASE WHEN changed_some_time
             THEN CASE WHEN encounter_end IS NOT NULL THEN greatest(ended, encounter_end) END
             ELSE coalesce(greatest(ended, "issued.last", amended), encounter_end) END AS time,
        CASE WHEN changed_some_time THEN greatest(ended_from, encounter_end_from)
             ELSE coalesce(greatest(ended_from, "issued.first", amended_from), encounter_end_from)
             END AS time_from,
        CASE WHEN status IN ('registered', 'cancelled', 'entered-in-error') THEN status END AS void
    FROM dated
),
part AS (
    SELECT
        place, subject_key, time, time_from, started, started_from, void, json_array_length("component") > 0 AS has_parts,
        "code" AS c, "valueCodeableConcept" AS answer,
        "valueQuantity.value" AS quantity, "valueQuantity.comparator" AS comparator, "valueQuantity.unit" AS unit,
        try_cast("valueInteger" AS DOUBLE) AS integer, try_cast("valueBoolean" AS BOOLEAN) AS yes,
        "valueString" AS said, "valueDateTime" AS date, "valueTime" AS hour,
        "valueRange" AS range, "valueRatio" AS ratio, "valueSampledData" AS samples, "valuePeriod" AS period,
        "dataAbsentReason" AS reason
    FROM timed
-- if component
    UNION ALL
    SELECT
        place, subject_key, time, time_from, started, started_from, void, false,
        concept(p.code), concept(p.valueCodeableConcept),
        p.valueQuantity.value, p.valueQuantity.comparator, quantity_unit(p.valueQuantity),
        p.valueInteger, p.valueBoolean, p.valueString, p.valueDateTime, p.valueTime,
        p.valueRange::VARCHAR, p.valueRatio::VARCHAR, p.valueSampledData::VARCHAR, p.valuePeriod::VARCHAR,
        p.dataAbsentReason::VARCHAR
    FROM (
        SELECT *, unnest(from_json("component", '[' || $value || ']')) AS p FROM timed WHERE "component" IS NOT NULL
    )
-- end if
),
-- if component valueRange valueRatio valueSampledData valuePeriod
opened AS (
    SELECT
        *,
        CASE WHEN range IS NOT NULL
             THEN from_json(range, '{"low": ' || $quantity || ', "high": ' || $quantity || '}') END AS g,
        CASE WHEN ratio IS NOT NULL
             THEN from_json(ratio, '{"numerator": ' || $quantity || ', "denominator": ' || $quantity || '}') END AS o,
        CASE WHEN samples IS NOT NULL THEN from_json(samples,
            '{"origin": ' || $quantity || ', "factor": "DOUBLE", "data": "VARCHAR"}') END AS w,
        CASE WHEN period IS NOT NULL THEN from_json(period, '{"start": "VARCHAR", "end": "VARCHAR"}') END AS span
    FROM part
),
told AS (
    SELECT
        * EXCLUDE (g, o, w, span),
        coalesce(
            CASE WHEN g IS NOT NULL THEN coalesce(
                CASE WHEN coalesce(quantity_unit(g.low), '') = coalesce(quantity_unit(g.high), quantity_unit(g.low), '')
                    THEN (g.low.value + g.high.value) / 2 END,
                g.low.value, g.high.value) END,
            CASE WHEN o IS NOT NULL THEN o.numerator.value / nullif(o.denominator.value, 0) END,
            CASE WHEN w IS NOT NULL THEN coalesce(w.origin.value, 0) + coalesce(w.factor, 1) * list_avg(
                list_transform(string_split(w.data, ' '), lambda x: try_cast(x AS DOUBLE))) END
        ) AS composed,
        coalesce(
            CASE WHEN g IS NOT NULL THEN coalesce(quantity_unit(g.low), quantity_unit(g.high)) END,
            CASE WHEN o IS NOT NULL
                 THEN quantity_unit(o.numerator) || coalesce('/' || quantity_unit(o.denominator), '') END,
            CASE WHEN w IS NOT NULL THEN quantity_unit(w.origin) END
        ) AS composed_unit,
        CASE WHEN g IS NOT NULL THEN concat(g.low.value, '..', g.high.value) END AS bounds,
        CASE WHEN o.numerator.value IS NOT NULL THEN concat(o.numerator.value, ':', o.denominator.value) END AS quotient,
        CASE WHEN span.start IS NOT NULL OR span."end" IS NOT NULL THEN concat(span.start, '/', span."end") END AS days
    FROM opened
),
-- end if
-- unless component valueRange valueRatio valueSampledData valuePeriod
told AS (
    SELECT *, NULL::DOUBLE AS composed, NULL::VARCHAR AS composed_unit, NULL::VARCHAR AS bounds,
        NULL::VARCHAR AS quotient, NULL::VARCHAR AS days
    FROM part
),
-- end if
valued AS (
    SELECT
        *,
        coalesce(
            quantity,
            integer,
            yes::INT,
            composed,
            CASE WHEN said IS NOT NULL THEN try_cast(regexp_extract(
                trim(said), '^((<=|>=|<|>) *)?([-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?)$', 3) AS DOUBLE) END
        ) AS number,
        coalesce(
            comparator, CASE WHEN number IS NOT NULL THEN bounds END, quotient, said, date, hour, samples, days
        ) AS words,
        reason IS NOT NULL AND number IS NULL AND words IS NULL AND answer.code IS NULL AS absent
    FROM told
)
SELECT
    place, subject_key, time, time_from,
    started AS occurred, started_from AS occurred_from,
    CASE WHEN answer.code IS NOT NULL THEN c.code || '//' || answer.code WHEN absent THEN c.code || '//ABSENT'
         ELSE c.code END AS code,
    finite(number) AS numeric_value,
    nullif(trim(words), '') AS text_value,
    CASE WHEN number IS NOT NULL THEN coalesce(unit, composed_unit) END AS unit,
    CASE WHEN answer.display IS NULL THEN coalesce(c.display, '') ELSE concat_ws(': ', c.display, answer.display) END
        AS display,
    CASE WHEN answer.code IS NOT NULL THEN list_concat([c.code, answer.code], list_concat(c.parents, answer.parents))
         WHEN absent THEN list_prepend(c.code, c.parents)
         ELSE c.parents END AS parents,
    coalesce(void, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM valued
WHERE has_parts IS DISTINCT FROM true OR number IS NOT NULL OR words IS NOT NULL OR answer.code IS NOT NULL OR absent
