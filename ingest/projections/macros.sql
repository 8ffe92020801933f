-- What the projections share: how FHIR writes times, values and references.
--
-- A time with a zone is an instant; one without is in the site's zone (`zone`); all become UTC.
-- A date, month or year stands for a period: `fhir_end` gives its last second, because what is
-- dated with it may have been known only then; `fhir_start` gives its first. So beside each `time`
-- and `occurred` made of ends, `time_from` and `occurred_from` say the same of starts: the earliest
-- that the stated dates allow. account.sql drops those that say nothing new.

CREATE MACRO local_time(t, zone) AS
    CASE WHEN zone = 'UTC' THEN t ELSE timezone('UTC', timezone(zone, t)) END;

-- A year outside 1700 to 2399 is a stand-in ("9999-12-31": no end yet) or a slip, and no time: as an
-- event's time it would say that the patient was followed for ever.
CREATE MACRO fhir_instant(t, zone) AS CASE
    WHEN NOT regexp_matches(t, '^(1[7-9]|2[0-3])[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:') THEN NULL
    WHEN regexp_matches(t, '(Z|[+-][0-9]{2}:?[0-9]{2})$') THEN timezone('UTC', try_cast(t AS TIMESTAMPTZ))
    ELSE local_time(try_cast(t AS TIMESTAMP), zone)
END;

-- The midnight that a date, month or year begins with, in no zone.
CREATE MACRO first_midnight(t) AS CASE
    WHEN regexp_full_match(t, '(1[7-9]|2[0-3])[0-9]{2}(-[0-9]{2}){0,2}')
    THEN try_cast(rpad(t, 10, CASE length(t) WHEN 4 THEN '-01-01' ELSE '-01' END) AS TIMESTAMP)
END;

CREATE MACRO fhir_start(t, zone) AS CASE
    WHEN length(t) > 10 THEN fhir_instant(t, zone)
    ELSE local_time(first_midnight(t), zone)
END;

CREATE MACRO fhir_end(t, zone) AS CASE
    WHEN length(t) > 10 THEN fhir_instant(t, zone)
    ELSE local_time(first_midnight(t) + CASE length(t) WHEN 10 THEN INTERVAL '1 day'
        WHEN 7 THEN INTERVAL '1 month' ELSE INTERVAL '1 year' END - INTERVAL '1 second', zone)
END;

-- A period's end is when all of it was known; one that is still open is known from its start.
-- The same stands in ingest/fields.py, for periods that a projection takes.
CREATE MACRO period_end(p, zone) AS coalesce(fhir_end(p."end", zone), fhir_end(p.start, zone));
CREATE MACRO period_end_from(p, zone) AS greatest(fhir_start(p.start, zone), fhir_start(p."end", zone));

-- The moments of a Timing, in whichever order they are written: all of it was known with the last.
CREATE MACRO event_span(events, zone) AS {
    'ended': list_max(list_transform(from_json(events, '["VARCHAR"]'), lambda t: fhir_end(t, zone))),
    'ended_from': list_max(list_transform(from_json(events, '["VARCHAR"]'), lambda t: fhir_start(t, zone))),
    'began': list_min(list_transform(from_json(events, '["VARCHAR"]'), lambda t: fhir_end(t, zone))),
    'began_from': list_min(list_transform(from_json(events, '["VARCHAR"]'), lambda t: fhir_start(t, zone)))
};

-- When that was known of which only the record's making is dated (R5's `recorded`, captured whatever the
-- status, so of what was planned long before it was done): not before its stay was over.
CREATE MACRO recorded_alone(recorded, stay_end, goes_on) AS
    CASE WHEN NOT goes_on THEN greatest(recorded, stay_end) END;

-- Whether a report, a letter or a value was changed after it was told: what stands there was not known
-- before. R4 says amended, corrected or appended, R5 modified, too.
CREATE MACRO is_changed(status) AS status IN ('amended', 'corrected', 'appended', 'modified');

CREATE MACRO finite(x) AS CASE WHEN isfinite(x) THEN x END;

-- What a number's place says: the number, also of a bound in words ("< 5"); and as words its comparator, or
-- all of it where it is no number ("5,4" may be two).
CREATE MACRO bound_number(said) AS try_cast(regexp_extract(
    trim(said), '^((<=|>=|<|>) *)?([-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?)$', 3) AS DOUBLE);
CREATE MACRO said_number(said) AS CASE
    WHEN isfinite(try_cast(said AS DOUBLE)) THEN try_cast(said AS DOUBLE)
    WHEN said IS NOT NULL THEN finite(bound_number(said))
END;
CREATE MACRO said_words(said, comparator) AS CASE
    WHEN said IS NULL OR isfinite(try_cast(said AS DOUBLE)) THEN comparator
    WHEN isfinite(bound_number(said)) THEN coalesce(comparator, regexp_extract(trim(said), '^[<>]=?'))
    ELSE nullif(concat(comparator, trim(said)), '')
END;

-- A verification status that denies or doubts, in whichever coding (or words, or STU3's bare code).
CREATE MACRO verification(coding, words, bare) AS list_filter(
    ['entered-in-error', 'refuted', 'unconfirmed', 'provisional', 'differential'],
    lambda w: list_contains(
        list_transform(list_concat(coding ->> '$[*].code', [words, bare]), lambda x: lower(trim(x))), w)
)[1];

-- UCUM where the quantity has it (its code may be of another system), else what a person reads.
CREATE MACRO written_unit(system, code, unit) AS coalesce(
    CASE WHEN system IS NULL OR system = 'http://unitsofmeasure.org' THEN code END, unit, code
);
CREATE MACRO quantity_unit(q) AS written_unit(q.system, q.code, q.unit);

-- What a quotient is divided by: "/mL", "/(kg/h)" where that is a quotient or a product itself (annotations
-- apart), nothing where it is a pure number.
CREATE MACRO per_unit(unit) AS CASE
    WHEN unit IS NULL OR unit = '1' THEN ''
    WHEN regexp_matches(regexp_replace(unit, '\{[^{}]*\}', '{}', 'g'), '[/.].') THEN '/(' || unit || ')'
    ELSE '/' || unit
END;

-- A `urn:uuid:` that says who is meant within its Bundle alone: no UUID (RFC 9562: version, variant),
-- or a counted one, which others have too. Digits that are drawn by chance have fewer than eight
-- different ones, or seven zeros in a row, once in millions.
CREATE MACRO local_urn(u) AS u LIKE 'urn:uuid:%' AND NOT (
    regexp_full_match(u, '(?i)urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}')
    AND NOT contains(u, '0000000')
    AND len(list_distinct(regexp_extract_all(lower(u[10:]), '[0-9a-f]'))) > 7
);

-- The key `Type/id` that a reference stands for, seen from a Bundle (or file) and a resource in it;
-- `plain_key` where that needs no looking up. A join with `reference` for all rows is faster.
CREATE MACRO plain_key(container, ref) AS CASE
    WHEN regexp_full_match(ref, '[A-Z][A-Za-z]+/[^/?#|]+') THEN ref
    WHEN ref LIKE '#%' THEN container || ref
END;

CREATE MACRO ref_key(from_scope, container, ref) AS coalesce(
    plain_key(container, ref),
    (SELECT max(x.key) FROM reference x WHERE x.scope = from_scope AND x.ref = ref)
);

-- What a reference is known by: one within its resource by that, one that is not plain by its Bundle too.
CREATE MACRO reference_token(ref, plain, key, scope) AS CASE
    WHEN plain THEN hash(ref)
    WHEN starts_with(ref, '#') THEN hash(key || ref)
    WHEN ref IS NOT NULL THEN hash(ref, scope)
END;

-- What a reference can be found by: as it is written, by its last two parts, by an identifier.
CREATE MACRO is_plain(ref) AS regexp_full_match(ref, '[A-Z][A-Za-z]+/[^/?#|]+');
CREATE MACRO scoped(ref, scope) AS CASE WHEN local_urn(ref) THEN ref || '@' || scope ELSE ref END;
CREATE MACRO bare_reference(ref) AS regexp_replace(ref, '/_history/[^/]*$', '');
CREATE MACRO reference_tokens(ref) AS list_filter([
    bare_reference(ref),
    nullif(regexp_extract(bare_reference(ref), '([A-Z][A-Za-z]+/[^/?#|]+)$', 1), ''),
    nullif(regexp_extract(ref, '^[A-Za-z]+[?]identifier=(?:.*[|])?(.*)$', 1), '')
], lambda t: t IS NOT NULL);
