-- What the batch's medication resources speak of: the Medication that each refers to, else its own words.
CREATE OR REPLACE TEMP TABLE drug AS
WITH asked AS (
    SELECT r.file, r.position, m.c AS found, CASE WHEN m.c.code IS NULL THEN '[' || concat_ws(',',
        json_extract(r.json, ['$.medicationCodeableConcept', '$.medication.concept', '$.medicationReference',
            '$.medication.reference'])) || ']' END AS said
    FROM read_resource r LEFT JOIN medication m ON m.key = r.drug_key
    WHERE r.type IN ('MedicationRequest', 'MedicationAdministration', 'MedicationStatement', 'MedicationDispense')
),
chosen AS (
    SELECT file, position, CASE WHEN found.code IS NOT NULL THEN found ELSE concept(said) END AS c
    FROM asked
)
SELECT file, position, c.code AS code, c.display AS display, c.parents AS parents
FROM chosen WHERE c.code IS NOT NULL
