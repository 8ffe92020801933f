-- Observation → one event for its own value and one for each component (a panel without a value of
-- its own gives its components alone).
--
-- `time`: the later of the end of `effective[x]` and `issued`; an amended or corrected value counts
-- from its amendment on (`meta.lastUpdated`, or the `issued` of that version); where neither says when
-- that was, from its encounter's end, else it is left out. `occurred`: the start of `effective[x]`.
-- A coded value stands in the code (`LOINC//72166-2//SNOMED//266919005`), so that its presence can
-- be learnt from; quantities, integers, booleans (1, 0), the middle of a range, a ratio's quotient
-- and the mean of sampled data are `numeric_value`, and so is the bound in words like "<5"; a comparator,
-- words, dates, a ratio as it is written ("<1.0:8.0") and the samples themselves (as JSON) are `text_value`.
-- A range's bounds in two units are each converted in its own ("5..20"); where they can't be, the text has
-- both units and the number is the lower bound. With `dataAbsentReason` in place of a value the code
-- ends in `//ABSENT` and the text says why: that it was looked for in vain is not a measurement.
-- What FHIR does not allow is not lost: words in a number's place ("5,4") are text, a list of one quantity is
-- that, of several, or what is no quantity or range, the text as it is written; a component alone counts as
-- a list of it. Of an attachment (R5) the text is the words that we can read, else its title or type, of a
-- reference its display or type. Without any value the text is what `interpretation` says, else the first
-- `note`.
--
-- texts: valueString valueBoolean valueInteger valueTime valueDateTime dataAbsentReason
-- texts: interpretation[0].coding[0].code interpretation[0].text interpretation.coding[0].code note[0].text
-- nested: effectiveTiming.event component valueRange valueRatio valueSampledData valuePeriod
-- nested: valueAttachment valueReference
-- bare: valueQuantity
-- times: effectiveDateTime effectiveInstant effectivePeriod.start effectivePeriod.end issued meta.lastUpdated
-- quantities: valueQuantity
-- concepts: code valueCodeableConcept
WITH timed_often AS (
    SELECT
        *,
-- if effectiveTiming.event
        event_span("effectiveTiming.event", zone) AS events
-- end if
-- unless effectiveTiming.event
        NULL::STRUCT(ended TIMESTAMP, ended_from TIMESTAMP, began TIMESTAMP, began_from TIMESTAMP) AS events
-- end if
    FROM resource
),
pointed AS (
    SELECT
        *,
        CASE WHEN "effectiveDateTime" IS NOT NULL THEN "effectiveDateTime.last"
             WHEN "effectiveInstant" IS NOT NULL THEN "effectiveInstant.last"
             ELSE events.ended END AS point,
        CASE WHEN "effectiveDateTime" IS NOT NULL THEN "effectiveDateTime.first"
             WHEN "effectiveInstant" IS NOT NULL THEN "effectiveInstant.first"
             ELSE events.ended_from END AS point_from
    FROM timed_often
),
dated AS (
    SELECT
        *,
        is_changed(status) AS changed,
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
            events.began, point,
            least("effectivePeriod.start.last", "effectivePeriod.end.last"), "effectivePeriod.end.last"
        ) AS started,
        coalesce(
            events.began_from, point_from,
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
listed AS (
    SELECT *,
        CASE WHEN starts_with("component", '{') THEN concat('[', "component", ']') ELSE "component" END AS parts
    FROM timed
),
part AS (
    SELECT
        place, subject_key, time, time_from, started, started_from, void, json_array_length(parts) > 0 AS has_parts,
        "code" AS c, "valueCodeableConcept" AS answer,
        "valueQuantity.value" AS quantity, "valueQuantity.words" AS beside, "valueQuantity.unit" AS unit,
        "valueQuantity" AS bare,
        "valueInteger" AS integer, "valueBoolean" AS yes,
        "valueString" AS said, "valueDateTime" AS date, "valueTime" AS hour,
        "valueRange" AS range, "valueRatio" AS ratio, "valueSampledData" AS samples, "valuePeriod" AS period,
        "valueAttachment" AS attachment, "valueReference" AS pointer,
        coalesce("interpretation[0].coding[0].code", "interpretation[0].text", "interpretation.coding[0].code",
            "note[0].text") AS remark,
        "dataAbsentReason" AS reason
    FROM listed
-- if component
    UNION ALL
    SELECT
        place, subject_key, time, time_from, started, started_from, void, false,
        concept(p.code), concept(p.valueCodeableConcept),
        said_number(p.valueQuantity.value), said_words(p.valueQuantity.value, p.valueQuantity.comparator),
        quantity_unit(p.valueQuantity),
        CASE WHEN p.valueQuantity.value IS NULL AND contains(parts, '"valueQuantity"')
             THEN parts ->> concat('$[', n - 1, '].valueQuantity') END,
        p.valueInteger, p.valueBoolean, p.valueString, p.valueDateTime, p.valueTime,
        p.valueRange::VARCHAR, p.valueRatio::VARCHAR, p.valueSampledData::VARCHAR, p.valuePeriod::VARCHAR,
        p.valueAttachment::VARCHAR, p.valueReference::VARCHAR, p.interpretation ->> '$[0].coding[0].code',
        p.dataAbsentReason::VARCHAR
    FROM (
        SELECT *, unnest(each) AS p, generate_subscripts(each, 1) AS n
        FROM (SELECT *, from_json(parts, '[' || $value || ']') AS each FROM listed WHERE parts IS NOT NULL)
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
ranged AS (
    SELECT
        *,
        CASE WHEN g.low.value IS NOT NULL THEN quantity_unit(g.low) END AS low_unit,
        CASE WHEN g.high.value IS NOT NULL THEN quantity_unit(g.high) END AS high_unit,
        CASE WHEN low_unit <> high_unit THEN unit_change(c.code, low_unit) END AS of_low,
        CASE WHEN low_unit <> high_unit THEN unit_change(c.code, high_unit) END AS of_high
    FROM opened
),
bound AS (
    SELECT
        *,
        coalesce(of_low.unit = of_high.unit, false) AS joined,
        joined OR coalesce(low_unit = high_unit, true) AS one_unit,
        CASE WHEN joined THEN g.low.value * of_low.factor + of_low.shift ELSE g.low.value END AS low,
        CASE WHEN joined THEN g.high.value * of_high.factor + of_high.shift ELSE g.high.value END AS high
    FROM ranged
),
told AS (
    SELECT
        * EXCLUDE (g, o, w, span, low_unit, high_unit, of_low, of_high, joined, one_unit, low, high),
        coalesce(
            CASE WHEN one_unit THEN (low + high) / 2 END, low, high,
            CASE WHEN o IS NOT NULL THEN o.numerator.value / nullif(o.denominator.value, 0) END,
            CASE WHEN w IS NOT NULL THEN coalesce(w.origin.value, 0) + coalesce(w.factor, 1) * list_avg(
                list_transform(string_split(w.data, ' '), lambda x: try_cast(x AS DOUBLE))) END
        ) AS composed,
        coalesce(
            CASE WHEN joined THEN of_low.unit END, low_unit, high_unit,
            CASE WHEN o IS NOT NULL
                 THEN quantity_unit(o.numerator) || per_unit(quantity_unit(o.denominator)) END,
            CASE WHEN w IS NOT NULL THEN quantity_unit(w.origin) END
        ) AS composed_unit,
        CASE WHEN joined THEN format('{:.9g}..{:.9g}', low, high)
             WHEN NOT one_unit THEN concat(low, ' ', low_unit, '..', high, ' ', high_unit)
             WHEN g IS NOT NULL THEN concat(low, '..', high) END AS bounds,
        CASE WHEN o.numerator.value IS NOT NULL THEN concat(
            o.numerator.comparator, o.numerator.value, ':', o.denominator.comparator, o.denominator.value
        ) END AS quotient,
        CASE WHEN span.start IS NOT NULL OR span."end" IS NOT NULL THEN concat(span.start, '/', span."end") END AS days
    FROM bound
),
-- end if
-- unless component valueRange valueRatio valueSampledData valuePeriod
told AS (
    SELECT *, NULL::DOUBLE AS composed, NULL::VARCHAR AS composed_unit, NULL::VARCHAR AS bounds,
        NULL::VARCHAR AS quotient, NULL::VARCHAR AS days
    FROM part
),
-- end if
unpacked AS (
    SELECT
        * REPLACE (coalesce(quantity, lone.value) AS quantity, coalesce(beside, lone.words) AS beside,
            coalesce(unit, lone.unit) AS unit)
    FROM (
        SELECT *,
-- if valueQuantity component
            CASE
                WHEN NOT starts_with(bare, '[') AND NOT starts_with(bare, '{')
                THEN {'value': said_number(bare), 'words': said_words(bare, NULL), 'unit': NULL::VARCHAR}
                WHEN starts_with(bare, '[') AND json_array_length(bare) = 1 AND starts_with(bare ->> '$[0]', '{') THEN {
                    'value': said_number(bare ->> '$[0].value'),
                    'words': said_words(bare ->> '$[0].value', bare ->> '$[0].comparator'),
                    'unit': written_unit(bare ->> '$[0].system', bare ->> '$[0].code', bare ->> '$[0].unit')
                }
                WHEN starts_with(bare, '[') AND bare <> '[]'
                THEN {'value': NULL::DOUBLE, 'words': bare, 'unit': NULL::VARCHAR}
            END AS lone
-- end if
-- unless valueQuantity component
            NULL::STRUCT(value DOUBLE, words VARCHAR, unit VARCHAR) AS lone
-- end if
        FROM told
    )
),
valued AS (
    SELECT
        *,
        coalesce(
            quantity, said_number(integer), try_cast(yes AS BOOLEAN)::INT, composed,
            CASE WHEN said IS NOT NULL THEN bound_number(said) END
        ) AS number,
        coalesce(
            beside, said_words(integer, NULL), CASE WHEN try_cast(yes AS BOOLEAN) IS NULL THEN yes END,
            CASE WHEN number IS NOT NULL THEN bounds END, quotient, said, date, hour, samples, days,
-- if component valueAttachment
            CASE WHEN attachment IS NOT NULL THEN coalesce(
                read_note(attachment ->> '$.contentType', attachment ->> '$.data').text,
                attachment ->> '$.title', attachment ->> '$.contentType') END,
-- end if
-- if component valueReference
            CASE WHEN pointer IS NOT NULL THEN coalesce(
                pointer ->> '$.display', pointer ->> '$.type',
                nullif(regexp_extract(pointer ->> '$.reference', '([A-Z][A-Za-z]+)/', 1), '')) END,
-- end if
            CASE WHEN number IS NULL AND contains(coalesce(range, ratio), '"value"') THEN coalesce(range, ratio) END
        ) AS words,
        CASE WHEN json_valid(reason)
             THEN coalesce((reason ->> '$.coding[*].code')[1], reason ->> '$.text') END AS why,
        reason IS NOT NULL AND number IS NULL AND words IS NULL AND answer.code IS NULL AS absent
    FROM unpacked
)
SELECT
    place, subject_key, time, time_from,
    started AS occurred, started_from AS occurred_from,
    CASE WHEN answer.code IS NOT NULL THEN c.code || '//' || answer.code WHEN absent THEN c.code || '//ABSENT'
         ELSE c.code END AS code,
    finite(number) AS numeric_value,
    nullif(trim(CASE
        WHEN absent THEN why
        WHEN words IS NULL AND number IS NULL AND answer.code IS NULL THEN remark
        ELSE words END), '') AS text_value,
    CASE WHEN number IS NOT NULL THEN coalesce(unit, composed_unit) END AS unit,
    CASE WHEN answer.display IS NULL THEN coalesce(c.display, '') ELSE concat_ws(': ', c.display, answer.display) END
        AS display,
    CASE WHEN answer.code IS NOT NULL THEN list_concat([c.code, answer.code], list_concat(c.parents, answer.parents))
         WHEN absent THEN list_prepend(c.code, c.parents)
         ELSE c.parents END AS parents,
    coalesce(void, CASE WHEN c.code IS NULL THEN 'no code' END) AS skip
FROM valued
WHERE has_parts IS DISTINCT FROM true OR number IS NOT NULL OR words IS NOT NULL OR answer.code IS NOT NULL OR absent
