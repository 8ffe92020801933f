-- What the batch's medication resources speak of: the Medication that each refers to, else its own words.
CREATE OR REPLACE TEMP TABLE drug AS
WITH asked AS (
    SELECT r.file, r.position, m.c AS found, '[' || concat_ws(',',
        r.json -> '$.medicationCodeableConcept', r.json -> '$.medicationReference') || ']' AS said
    FROM read_resource r
    LEFT JOIN medication m ON m.key = ref_key(r.scope, r.key, r.json ->> '$.medicationReference.reference')
    WHERE r.type IN ('MedicationRequest', 'MedicationAdministration', 'MedicationStatement', 'MedicationDispense')
),
chosen AS (
    SELECT file, position, CASE WHEN found.code IS NOT NULL THEN found ELSE concept(said) END AS c
    FROM asked
)
SELECT file, position, c.code AS code, c.display AS display, c.parents AS parents
FROM chosen WHERE c.code IS NOT NULL
