-- What is filled on the way, beside `projected` (whose columns ingest/schema.py states).

-- What became of each record; records of which something was left out for want of a date.
CREATE TABLE outcome (file VARCHAR, position BIGINT, status VARCHAR, detail VARCHAR);

CREATE TABLE undated (file VARCHAR, position BIGINT, type VARCHAR);

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

CREATE TABLE attached_bytes (key VARCHAR, mime VARCHAR, data VARCHAR)
