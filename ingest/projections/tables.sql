-- What is filled on the way, beside `projected` (whose columns ingest/schema.py states).
--
-- A record's `place` is its file's number among those that landed, times 2**40, plus its position in
-- the file. A reference's `token` is a hash of it: references are many, and what they stand for is
-- found out once for each that is different (`cited`), not once a record.

-- The FHIR files: by number the id, what a Bundle that is the whole file is known by, the site's zone.
CREATE TABLE landed (number BIGINT, file VARCHAR, scope VARCHAR, zone VARCHAR);

-- What became of each record, and whose it is; records of which something was left out for want of a date.
CREATE TABLE outcome (file VARCHAR, position BIGINT, status VARCHAR, detail VARCHAR, subject_key VARCHAR);

CREATE TABLE undated (file VARCHAR, position BIGINT, type VARCHAR);

-- Records without a code, of which FHIR's own definition has yet to say whether they are valid.
CREATE TABLE doubtful (batch INTEGER, place BIGINT, type VARCHAR);

-- Of each batch with any: how many records without a code were held against FHIR's own definition.
CREATE TABLE refusable (n BIGINT);

-- What images are joined by.
CREATE TABLE imaging_study (
    subject_key VARCHAR, study_uid VARCHAR, series_uids VARCHAR[], sop_uids VARCHAR[], accessions VARCHAR[],
    available TIMESTAMP, occurred TIMESTAMP
);

CREATE TABLE patient_identifier (subject_key VARCHAR, value VARCHAR);

-- From reading (read.sql): each record's head, and what others refer to. `scope` is null where it is
-- the file's.
CREATE TABLE record (
    batch INTEGER, place BIGINT, scope VARCHAR, seq BIGINT, type VARCHAR, id VARCHAR, deletion BOOLEAN,
    updated TIMESTAMP, version BIGINT, status VARCHAR, subject UBIGINT, encounter UBIGINT, drug UBIGINT,
    modified BOOLEAN, problem VARCHAR, skip VARCHAR
);

CREATE TABLE linked_url (place BIGINT, scope VARCHAR, full_url VARCHAR);

CREATE TABLE kept (place BIGINT, json VARCHAR);

CREATE TABLE holder (place BIGINT, contained VARCHAR);

CREATE TABLE stay (
    place BIGINT, period STRUCT("start" VARCHAR, "end" VARCHAR), disposition VARCHAR
);

CREATE TABLE named (place BIGINT, i STRUCT(system VARCHAR, value VARCHAR));

-- The subjects, encounters and drugs that records refer to; and what else is not plainly `Type/id`.
CREATE TABLE cited (token UBIGINT, scope VARCHAR, ref VARCHAR);

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

-- What the index keeps of each line (trace.sql): what it is, speaks of, and what it can be spoken of by
-- are hashes, which take little room.
CREATE TABLE trace (
    place BIGINT, type VARCHAR, key UBIGINT, deletion BOOLEAN, subject UBIGINT, encounter UBIGINT, bytes UINTEGER
);

CREATE TABLE depend (place BIGINT, token UBIGINT, link BOOLEAN);

CREATE TABLE provide (place BIGINT, token UBIGINT, whole UBIGINT)
