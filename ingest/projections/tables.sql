-- What is filled on the way, beside `projected` (whose columns ingest/schema.py states).

-- What became of each record, and whose it is; records of which something was left out for want of a date.
CREATE TABLE outcome (file VARCHAR, position BIGINT, status VARCHAR, detail VARCHAR, subject_key VARCHAR);

CREATE TABLE undated (file VARCHAR, position BIGINT, type VARCHAR);

-- Of each batch with any: how many records without a code were held against FHIR's own definition.
CREATE TABLE refusable (n BIGINT);

-- What images are joined by.
CREATE TABLE imaging_study (
    subject_key VARCHAR, study_uid VARCHAR, series_uids VARCHAR[], sop_uids VARCHAR[], accessions VARCHAR[],
    available TIMESTAMP, occurred TIMESTAMP
);

CREATE TABLE patient_identifier (subject_key VARCHAR, value VARCHAR);

-- From the first reading (read.sql): each record's head, and what others refer to.
CREATE TABLE record (
    batch INTEGER, file VARCHAR, position BIGINT, scope VARCHAR, seq BIGINT, type VARCHAR, id VARCHAR,
    full_url VARCHAR, deletion BOOLEAN, updated TIMESTAMP, version BIGINT, status VARCHAR,
    subject_ref VARCHAR, encounter_ref VARCHAR, drug_ref VARCHAR, modified BOOLEAN, zone VARCHAR,
    problem VARCHAR, skip VARCHAR
);

CREATE TABLE kept (file VARCHAR, position BIGINT, json VARCHAR);

CREATE TABLE holder (file VARCHAR, position BIGINT, contained VARCHAR);

CREATE TABLE stay (
    file VARCHAR, position BIGINT, period STRUCT("start" VARCHAR, "end" VARCHAR), disposition VARCHAR
);

CREATE TABLE named (file VARCHAR, position BIGINT, i STRUCT(system VARCHAR, value VARCHAR));

CREATE TABLE cited_reference (scope VARCHAR, ref VARCHAR);

-- From resolving (references.sql, resolved.sql).
CREATE TABLE contained (scope VARCHAR, zone VARCHAR, key VARCHAR, type VARCHAR, json VARCHAR);

CREATE TABLE reference (scope VARCHAR, ref VARCHAR, key VARCHAR);

CREATE TABLE encounter (
    key VARCHAR, subject_key VARCHAR, start TIMESTAMP, "end" TIMESTAMP, end_from TIMESTAMP,
    end_as_written VARCHAR, died BOOLEAN
);

CREATE TABLE location (key VARCHAR, name VARCHAR);

CREATE TABLE medication (key VARCHAR, c STRUCT(code VARCHAR, display VARCHAR, parents VARCHAR[]));

CREATE TABLE attached_bytes (key VARCHAR, mime VARCHAR, data VARCHAR);

-- What the index keeps of each line (trace.sql): `place` is the file's number and the position in it;
-- what it is, speaks of, and what it can be spoken of by are hashes, which take little room.
CREATE TABLE trace (
    place BIGINT, type VARCHAR, key UBIGINT, deletion BOOLEAN, subject UBIGINT, encounter UBIGINT, bytes UINTEGER
);

CREATE TABLE depend (place BIGINT, token UBIGINT, link BOOLEAN);

CREATE TABLE provide (place BIGINT, token UBIGINT, whole UBIGINT)
