"""Keep in the index what images were joined by, so that a new delivery needs no old file again.

Whole tables of the index, written anew by each build:

    film                file, told, status, detail, undated, said: each image file: its header, or
                        why it has none, as JSON; what became of it; hashes of its events
    film_event          file, subject_key, name, image: each image event
    imaging_study, patient_identifier
                        what images are joined by, as the projections fill them

One patient, study or slice that comes may join, move or part any number of images, so an addition
joins all of them anew, by the headers that the index holds, and by the same code as a full build.
What comes out otherwise than before is then taken away and put in; files are read only where they
are new, or where a picture is wanted that was not kept.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from ingest.imaging import project_images
from ingest.landing import LandedFile
from ingest.schema import PROJECTED_COLUMNS
from ingest.writer import NAME

__all__ = ["FILMS", "begin_films", "drop_unused_images", "is_film", "rejoin_films"]

_SAID = f"hash({', '.join(PROJECTED_COLUMNS)})"

FILMS = {
    "film": f"""
        SELECT f.file, f.told, o.status, o.detail, coalesce(u.n, 0) AS undated, e.said
        FROM film_told f JOIN outcome o USING (file)
        LEFT JOIN (SELECT file, count(*) AS n FROM undated GROUP BY file) u USING (file)
        LEFT JOIN (
            SELECT file, list_sort(list({_SAID})) AS said
            FROM projected SEMI JOIN film_told USING (file) GROUP BY file
        ) e USING (file)
    """,
    "film_event": f"""
        SELECT file, subject_key, {NAME} AS name, image
        FROM projected SEMI JOIN film_told USING (file)
    """,
    "imaging_study": "FROM imaging_study WHERE subject_key IS NOT NULL",
    "patient_identifier": "FROM patient_identifier WHERE subject_key IS NOT NULL",
}
"""What each table is made of; `film_told` is of `project_images`."""

_SPOKEN = """
SELECT DISTINCT subject_key FROM old.state s SEMI JOIN old.event USING (place)
WHERE status = 'projected' AND subject_key IS NOT NULL
"""


def is_film(file: LandedFile) -> bool:
    """Say whether a file is an image that is joined by itself, and not by a mapped CSV."""
    return file.kind in ("dicom", "image") and not file.mapping


def begin_films(con: duckdb.DuckDBPyConnection) -> None:
    """Create `film_told` where no image was there to fill it."""
    con.execute("CREATE TABLE IF NOT EXISTS film_told (file VARCHAR, told VARCHAR)")


def rejoin_films(
    con: duckdb.DuckDBPyConnection, files: Sequence[LandedFile], images: Path, *, progress: bool
) -> None:
    """Project the images as if all that landed had been read; leave what is new or different.

    Fills `renewed_film` with the rows of `old.film` that count no longer, and `projected`,
    `outcome` and `undated` with what counts instead; makes `film_next` and `film_event_next`, and
    `imaging_study` and `patient_identifier` whole.

    Args:
        con: an addition's, in which the records are projected; the index is attached as `old`.
        files: all that landed.
        images: where the new store's pictures are; the old one's are there.
        progress: whether to show bars on stderr.
    """
    begin_films(con)
    con.execute(
        """
        DELETE FROM patient_identifier
        WHERE subject_key IS NULL OR subject_key NOT IN
            (SELECT subject_key FROM retold WHERE subject_key IS NOT NULL);
        INSERT INTO patient_identifier
        FROM old.patient_identifier ANTI JOIN retold USING (subject_key);
        INSERT INTO imaging_study FROM old.imaging_study ANTI JOIN studied USING (subject_key);
        """
    )
    con.execute("CREATE TABLE renewed_film AS FROM old.film LIMIT 0")
    films = [file for file in files if is_film(file)]
    if not films or not _may_differ(con, films):
        con.execute("CREATE VIEW film_next AS FROM old.film")
        con.execute("CREATE VIEW film_event_next AS FROM old.film_event")
        return
    known = dict(con.execute("SELECT file, told FROM old.film").fetchall())
    spoken = "FROM known_now"
    use: dict[str, Any] = {"mapped": any(file.mapping for file in files), "progress": progress}
    project_images(con, films, images, known=known, spoken=spoken, **use)
    con.execute(f"CREATE TABLE film_next AS {FILMS['film']}")
    con.execute(f"CREATE TABLE film_event_next AS {FILMS['film_event']}")
    con.execute(
        """
        CREATE TEMP TABLE same_film AS
        SELECT n.file FROM film_next n JOIN old.film o USING (file)
        WHERE n.status = o.status AND n.detail IS NOT DISTINCT FROM o.detail
            AND n.undated = o.undated AND n.said IS NOT DISTINCT FROM o.said;
        INSERT INTO renewed_film FROM old.film ANTI JOIN same_film USING (file);
        """
    )
    for table in ("projected", "outcome", "undated"):
        con.execute(f"DELETE FROM {table} WHERE file IN (FROM same_film)")


def drop_unused_images(con: duckdb.DuckDBPyConnection, data: Path, images: Path) -> None:
    """Delete pictures and volumes that are no event's.

    Args:
        con: an addition's, of which `rejoin_films` is done.
        data: data/ of the new store.
        images: images/ of the new store.
    """
    shown = con.execute("SELECT DISTINCT image FROM film_event_next").fetchall()
    used = {Path(image).stem for (image,) in shown}  # a volume has its picture's name
    left = [path for path in images.glob("*") if path.stem not in used]
    if not left:
        return
    shards = str(data / "*.parquet").replace("'", "''")
    mapped = con.execute(f"SELECT DISTINCT image FROM '{shards}' WHERE image IS NOT NULL")
    used |= {Path(image).stem for (image,) in mapped.fetchall()}
    for path in left:
        if path.stem not in used:
            path.unlink()


def _may_differ(con: duckdb.DuckDBPyConnection, films: Sequence[LandedFile]) -> bool:
    """Fill `known_now`, whose records have events; say whether what images hang on is different."""
    con.execute(f"CREATE TEMP TABLE known_before AS {_SPOKEN}")
    con.execute(
        f"CREATE TEMP TABLE known_now AS {_SPOKEN} AND s.place NOT IN (SELECT place FROM renewed)"
        " UNION SELECT subject_key FROM projected WHERE subject_key IS NOT NULL"
    )
    pairs = [("known_now", "known_before")]
    pairs += [(name, f"old.{name}") for name in ("imaging_study", "patient_identifier")]
    for one, other in pairs:
        different = (
            f"SELECT 1 FROM (FROM {one} EXCEPT ALL FROM {other})"
            f" UNION ALL SELECT 1 FROM (FROM {other} EXCEPT ALL FROM {one}) LIMIT 1"
        )
        if con.execute(different).fetchall():
            return True
    [(known,)] = con.execute("SELECT count(*) FROM old.film").fetchall()
    return known != len(films)
