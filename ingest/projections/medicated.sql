-- What a medication resource speaks of → `medicated`: `resource` with the drug, which is the Medication
-- that it refers to, else its own words (R5 has both under `medication`).
CREATE OR REPLACE TEMP VIEW medicated AS
SELECT r.*, CASE
    WHEN m.c.code IS NOT NULL THEN m.c
    WHEN "medicationCodeableConcept".code IS NOT NULL THEN "medicationCodeableConcept"
    WHEN "medication.concept".code IS NOT NULL THEN "medication.concept"
    WHEN "medicationReference".code IS NOT NULL THEN "medicationReference"
    ELSE "medication.reference" END AS drug
FROM (SELECT * RENAME (drug AS drug_token) FROM resource) r LEFT JOIN drug_at m ON m.token = r.drug_token
