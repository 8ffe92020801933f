"""Find which old records something new bears on, by the index alone.

The connection has the tables of trace.sql filled with what is new, and the index attached as `old`.
Two questions are asked of it:

- `pull`: what must be read again so that new records are resolved, chosen and projected as they
  would be among all records: whatever they refer to, however far; other versions of the same
  resources; the patients that are linked to theirs; and of patients whose encounters or own records
  are new, all encounters (a death is dated by them).
- `find_dependents`: which old records refer to something that is no longer what it was.

Hashes stand for names, so both may give too much, which costs time, and never too little.
"""

import duckdb

__all__ = ["PROVIDERS", "add_pulled", "find_dependents", "pull"]

PROVIDERS = "('Encounter', 'Location', 'Medication', 'Binary')"
"""What others take something from (projections/provider.sql); of a Patient it is whom it became."""

_NEW_TOKENS = """
SELECT key AS token FROM trace WHERE key IS NOT NULL
UNION SELECT subject FROM trace WHERE subject IS NOT NULL
UNION SELECT encounter FROM trace WHERE encounter IS NOT NULL
UNION SELECT token FROM depend
"""

_OLD_TOKENS = """
WITH rows AS (SELECT key, subject, encounter FROM old.trace SEMI JOIN frontier USING (place))
SELECT key AS token FROM rows WHERE key IS NOT NULL
UNION SELECT subject FROM rows WHERE subject IS NOT NULL
UNION SELECT encounter FROM rows WHERE encounter IS NOT NULL
UNION SELECT token FROM old.depend SEMI JOIN frontier USING (place)
"""

_FOUND = """
CREATE OR REPLACE TEMP TABLE frontier AS
SELECT DISTINCT place FROM (
    SELECT place FROM old.trace WHERE key IN (SELECT token FROM wanted)
    UNION ALL SELECT place FROM old.provide WHERE token IN (SELECT token FROM wanted)
    UNION ALL SELECT place FROM old.depend
        WHERE link AND token IN (SELECT token FROM wanted UNION ALL SELECT token FROM spoken)
) ANTI JOIN pulled USING (place)
"""

# Whose encounters count: new patients' and new encounters' patients, by any of their versions.
_MATES = """
CREATE OR REPLACE TEMP TABLE frontier AS
WITH said AS (
    SELECT key AS token FROM trace WHERE type = 'Patient'
    UNION SELECT subject FROM trace WHERE type = 'Encounter'
    UNION SELECT token FROM depend
        SEMI JOIN (FROM trace WHERE type IN ('Patient', 'Encounter')) USING (place)
),
patients AS (
    SELECT place, key FROM old.trace SEMI JOIN pulled USING (place) WHERE type = 'Patient'
),
meant AS (
    SELECT place FROM patients WHERE key IN (SELECT token FROM said)
    UNION SELECT place FROM patients SEMI JOIN (
        SELECT place FROM old.provide WHERE token IN (SELECT token FROM said)) USING (place)
),
subjects AS (
    SELECT DISTINCT subject_key FROM old.state SEMI JOIN meant USING (place)
    WHERE subject_key IS NOT NULL
)
SELECT s.place FROM old.state s SEMI JOIN subjects USING (subject_key)
SEMI JOIN (FROM old.trace WHERE type IN ('Patient', 'Encounter')) t ON t.place = s.place
ANTI JOIN pulled p ON p.place = s.place
"""


def pull(con: duckdb.DuckDBPyConnection) -> None:
    """Fill `pulled` (place) with what must be read again for the sake of what is new."""
    con.execute("CREATE TABLE pulled (place BIGINT)")
    con.execute("CREATE OR REPLACE TEMP TABLE frontier (place BIGINT)")
    con.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS {_NEW_TOKENS}")
    con.execute("CREATE OR REPLACE TEMP TABLE spoken AS SELECT token FROM provide")
    _go_on(con)
    [(any_of_these,)] = con.execute(
        "SELECT count(*) FROM trace WHERE type IN ('Patient', 'Encounter')"
    ).fetchall()
    if any_of_these:
        con.execute(_MATES)
        _go_on_from_frontier(con)


def add_pulled(con: duckdb.DuckDBPyConnection, places: str) -> None:
    """Pull these places (a query), and what they need."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE frontier AS"
        f" SELECT DISTINCT place FROM ({places}) ANTI JOIN pulled USING (place)"
    )
    _go_on_from_frontier(con)


def _go_on(con: duckdb.DuckDBPyConnection) -> None:
    """Pull what has the wanted tokens, and so on until nothing is left to find."""
    con.execute(_FOUND)
    _go_on_from_frontier(con)


def _go_on_from_frontier(con: duckdb.DuckDBPyConnection) -> None:
    while con.execute("SELECT count(*) FROM frontier").fetchall() != [(0,)]:
        con.execute("INSERT INTO pulled FROM frontier")
        con.execute(f"CREATE OR REPLACE TEMP TABLE wanted AS {_OLD_TOKENS}")
        con.execute(
            "CREATE OR REPLACE TEMP TABLE spoken AS"
            " SELECT token FROM old.provide SEMI JOIN frontier USING (place)"
        )
        con.execute(_FOUND)


_CHANGED = f"""
CREATE OR REPLACE TEMP TABLE changed AS
WITH heads AS (
    SELECT place, type, key FROM trace
    UNION ALL SELECT place, type, key FROM old.trace SEMI JOIN pulled USING (place)
),
keys AS (SELECT DISTINCT key FROM heads WHERE type IN {PROVIDERS}),
before AS (
    SELECT key, arg_max(value, segment) AS value
    FROM old.every_provider SEMI JOIN keys USING (key) GROUP BY key
),
other AS (
    SELECT key FROM keys LEFT JOIN before b USING (key) LEFT JOIN provider p USING (key)
    WHERE coalesce(b.value, 0) <> coalesce(p.value, 0)
),
other_place AS (SELECT place FROM heads SEMI JOIN other USING (key)),
-- A fullUrl that the resource did not have.
urls AS (
    SELECT DISTINCT p.token, t.key FROM provide p JOIN trace t USING (place) WHERE p.whole IS NULL
),
known_urls AS (
    SELECT p.token, t.key FROM old.provide p JOIN old.trace t USING (place)
    WHERE p.whole IS NULL AND p.token IN (SELECT token FROM urls)
),
-- An identifier that not all of its versions have: which of them counts does not matter then.
version AS (
    SELECT place, key FROM trace WHERE type IN ('Patient', 'Encounter', 'Location', 'Medication')
    UNION ALL
    SELECT t.place, t.key
    FROM old.trace t SEMI JOIN pulled USING (place) JOIN old.state s USING (place)
    WHERE t.key IN (SELECT key FROM trace) AND s.status NOT IN ('superseded', 'deleted')
        AND t.type IN ('Patient', 'Encounter', 'Location', 'Medication')
),
versions AS (
    SELECT key, count(*) AS n, bool_or(place NOT IN (SELECT place FROM trace)) AS known
    FROM version GROUP BY key
),
named AS (
    SELECT place, token, whole FROM provide WHERE whole IS NOT NULL
    UNION ALL
    SELECT place, token, whole FROM old.provide SEMI JOIN pulled USING (place)
    WHERE whole IS NOT NULL
),
held AS (
    SELECT v.key, n.token, n.whole, count(DISTINCT v.place) AS n
    FROM version v JOIN named n USING (place) GROUP BY ALL
)
SELECT key AS token FROM other
UNION SELECT token FROM provide SEMI JOIN other_place USING (place)
UNION SELECT token FROM old.provide SEMI JOIN other_place USING (place)
UNION SELECT token FROM (FROM urls EXCEPT FROM known_urls)
UNION SELECT h.token FROM held h JOIN versions v USING (key) WHERE NOT v.known OR h.n < v.n
"""

# A reference that is no plain `Type/id` is in `depend`; a plain one to a patient stays what it is,
# but for mergers.
_DEPENDENTS = """
SELECT place FROM old.trace WHERE encounter IN (SELECT token FROM changed)
UNION SELECT place FROM old.depend WHERE token IN (SELECT token FROM changed)
"""

# The same patient may have been merged, unmerged or merged elsewhere; nobody else moves.
_MOVED = """
CREATE OR REPLACE TEMP TABLE moved AS
WITH heads AS (
    SELECT key, type, subject FROM trace
    UNION ALL SELECT key, type, subject FROM old.trace SEMI JOIN pulled USING (place)
),
touched AS (
    SELECT key AS token FROM heads WHERE type = 'Patient' UNION SELECT subject FROM heads
    UNION SELECT token FROM depend WHERE link
    UNION SELECT token FROM old.depend SEMI JOIN pulled USING (place) WHERE link
),
before AS (
    SELECT key, subject_key FROM old.merged
    WHERE hash(key) IN (SELECT token FROM touched)
        OR hash(subject_key) IN (SELECT token FROM touched)
)
SELECT key, coalesce(b.subject_key, key) AS was, coalesce(m.subject_key, key) AS now
FROM before b FULL JOIN merged m USING (key)
WHERE coalesce(b.subject_key, key) <> coalesce(m.subject_key, key)
"""

# Whose sex, birth and death may be told otherwise now.
_RETOLD = """
CREATE OR REPLACE TEMP TABLE retold AS
WITH other AS (
    SELECT t.place FROM trace t WHERE t.type = 'Patient'
        OR (t.type = 'Encounter' AND t.key IN (SELECT token FROM changed))
),
old_other AS (
    SELECT place FROM old.trace SEMI JOIN pulled USING (place)
    WHERE (type = 'Patient' AND key IN (SELECT key FROM trace))
        OR (type = 'Encounter' AND key IN (SELECT token FROM changed))
)
SELECT subject_key FROM old.state SEMI JOIN old_other USING (place)
UNION SELECT subject_key FROM resolved WHERE place IN (FROM other UNION ALL FROM old_other)
UNION SELECT was FROM moved UNION SELECT now FROM moved
"""


# Whose imaging studies may be told otherwise: all of theirs are, for what images are joined by says
# of no record from which it came.
_STUDIED = """
CREATE OR REPLACE TEMP TABLE studied AS
WITH old_study AS (SELECT place, key FROM old.trace WHERE type = 'ImagingStudy'),
other AS (
    SELECT place FROM old_study WHERE key IN (SELECT key FROM trace WHERE type = 'ImagingStudy')
    UNION SELECT place FROM old_study SEMI JOIN dependent USING (place)
),
told AS (
    SELECT place FROM other UNION SELECT place FROM trace WHERE type = 'ImagingStudy'
)
SELECT subject_key FROM old.state SEMI JOIN other USING (place) WHERE subject_key IS NOT NULL
UNION SELECT subject_key FROM resolved WHERE place IN (FROM told) AND subject_key IS NOT NULL
"""

_STUDIES = """
INSERT INTO dependent
SELECT s.place FROM old.state s SEMI JOIN studied USING (subject_key)
SEMI JOIN (SELECT place FROM old.trace WHERE type = 'ImagingStudy') t ON t.place = s.place
ANTI JOIN dependent d ON d.place = s.place
WHERE s.status NOT IN ('superseded', 'deleted')
"""

# By which old records.
_RETOLD_BY = """
CREATE OR REPLACE TEMP TABLE retold_by AS
SELECT t.place, t.type
FROM old.state s SEMI JOIN retold USING (subject_key)
JOIN (SELECT place, type FROM old.trace WHERE type IN ('Patient', 'Encounter')) t USING (place)
"""


def find_dependents(con: duckdb.DuckDBPyConnection) -> None:
    """Fill `dependent` (place): current old records that must be projected again.

    Needs what is new and what was pulled to be chosen and resolved, and `provider` made of it. Then
    fills `lacking` (place), too: what else must be pulled before anything can be projected. Leaves
    `retold` and `studied` (subject_key): whose patients and imaging studies are all among them.
    """
    con.execute(_CHANGED)
    con.execute(_MOVED)
    con.execute(_RETOLD)
    con.execute(_RETOLD_BY)
    [(changed, moved)] = con.execute(
        "SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM moved)"
    ).fetchall()
    found = ["SELECT place FROM retold_by WHERE type = 'Patient'"]
    if changed:  # to look through all that there is takes most of the time of a small addition
        found.append(_DEPENDENTS)
    if moved:
        found.append("SELECT place FROM old.state WHERE subject_key IN (SELECT was FROM moved)")
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE dependent AS
        WITH found AS ({" UNION ".join(found)})
        SELECT place FROM old.state SEMI JOIN found USING (place)
        WHERE status NOT IN ('superseded', 'deleted')
        """
    )
    con.execute(_STUDIED)
    con.execute(_STUDIES)
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE lacking AS
        SELECT place FROM (FROM dependent UNION SELECT place FROM retold_by)
        ANTI JOIN pulled USING (place)
        """
    )
