-- The numbers of `candidate` (of `projected`, where a mapping wrote it) in each code's one unit; see
-- ingest/units.py.
--
-- The bounds of a range are converted with its middle ("3.0..7.0"); those of a range in two units were
-- converted before, or have their units beside them. A ratio as it is written keeps its unit beside it
-- ("<5.0:2.0 mg/mL"), a comparator needs none. What can't be converted stays as it is.
CREATE OR REPLACE TEMP TABLE unit_pair AS
SELECT code, unit, unit_change(code, unit) AS new
FROM (SELECT DISTINCT code, unit FROM candidate WHERE unit IS NOT NULL);

UPDATE candidate SET
    numeric_value = numeric_value * p.new.factor + p.new.shift,
    unit = p.new.unit,
    text_value = CASE
        WHEN p.new.factor = 1 AND p.new.shift = 0 THEN text_value
        WHEN regexp_full_match(text_value, '(-?[0-9][0-9.eE+-]*)?\.\.(-?[0-9][0-9.eE+-]*)?') THEN concat(
            format('{:.9g}', try_cast(string_split(text_value, '..')[1] AS DOUBLE) * p.new.factor + p.new.shift),
            '..',
            format('{:.9g}', try_cast(string_split(text_value, '..')[2] AS DOUBLE) * p.new.factor + p.new.shift))
        WHEN regexp_full_match(text_value, '(<=?|>=?|ad)?-?[0-9][0-9.eE+-]*:(<=?|>=?|ad)?-?[0-9][0-9.eE+-]*')
            THEN concat(text_value, ' ', candidate.unit)
        ELSE text_value END
FROM unit_pair p
WHERE p.code = candidate.code AND p.unit = candidate.unit
    AND p.new.unit IS NOT NULL AND (p.new.unit <> p.unit OR p.new.factor <> 1)
