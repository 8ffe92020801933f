-- A batch of lines, for the second time → `read_resource`: those that are current, with what was found out.
CREATE OR REPLACE TEMP TABLE read_resource AS
SELECT r.*, CASE WHEN l.wrapped THEN (l.text -> '$.resource')::VARCHAR ELSE l.text END AS json
FROM batch l JOIN placed r ON r.file = l.file AND r.position = l.position
WHERE r.batch = $batch AND r.type <> 'Patient'
