"""Read a record store: a MEDS dataset with Medweave's extension columns.

The store is read through DuckDB, straight from its Parquet; nothing is held in memory but what
was asked for. Relations can be filtered and joined on, and become pandas by `.df()`, Arrow by
`.to_arrow_table()`:

    store = RecordStore(Path("store/"))
    store.timeline(store.subjects()[0]).df()
    store.events().filter("code = 'LOINC//8480-6'").aggregate("avg(numeric_value)")
"""

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from ingest.errors import StoreError
from ingest.nifti import SUFFIX, Volume, read_volume
from ingest.timeline import TIMELINE_COLUMNS, Timelines

__all__ = ["RecordStore"]

_TIMELINES = f"""
SELECT {", ".join(TIMELINE_COLUMNS)} FROM (
    SELECT
        w.row,
        e.time,
        (epoch_us(w.prediction_time) - epoch_us(e.time)) / 86400e6 AS days_before,
        e.code,
        e.numeric_value,
        e.text_value,
        e.unit,
        e.image,
        CASE WHEN starts_with(e.code, 'NOTE//') THEN 'notes'
             WHEN starts_with(e.code, 'IMAGE//') THEN 'images'
             ELSE 'events' END AS modality,
        e.source
    FROM events e
    JOIN wanted w
      ON w.subject_id = e.subject_id AND (e.time IS NULL OR e.time <= w.prediction_time)
) ORDER BY row, time NULLS FIRST, code, numeric_value, source, text_value, image
"""


class RecordStore:
    """Open a store for reading.

    Raises:
        StoreError: the directory is no store, or of another layout.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        needed = ("metadata/dataset.json", "metadata/codes.parquet", "ingest_report.json")
        missing = [name for name in needed if not (self.path / name).is_file()]
        if missing or not any((self.path / "data").glob("*.parquet")):
            lacks = ", ".join([*missing, *([] if missing else ["data/*.parquet"])])
            raise StoreError(
                f"{self.path} is not a record store: it lacks {lacks}; `medweave ingest` makes one"
            )
        self._con = duckdb.connect()
        self._con.execute("SET TimeZone = 'UTC'")
        files = str(self.path / "data" / "*.parquet").replace("'", "''")
        self._con.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{files}')")
        codes = str(self.path / "metadata" / "codes.parquet").replace("'", "''")
        self._con.execute(f"CREATE VIEW codes AS SELECT * FROM read_parquet('{codes}')")

    def events(self) -> duckdb.DuckDBPyRelation:
        """Give all events as a DuckDB relation with the columns of EVENT_SCHEMA."""
        return self._con.table("events")

    def query(self, sql: str) -> pd.DataFrame:
        """Ask in SQL (DuckDB's) of the views `events` and `codes`; give the answer as a table."""
        with self._con.cursor() as cursor:
            return cursor.sql(sql).df()

    def timeline(self, subject_id: int) -> duckdb.DuckDBPyRelation:
        """Give one subject's events, in the store's order: static ones first, then by time."""
        return (
            self.events()
            .filter(f"subject_id = {int(subject_id)}")
            .order("time NULLS FIRST, code, source")
        )

    def notes(self) -> duckdb.DuckDBPyRelation:
        """Give the notes that could be read: subject_id, time, occurred, code, text, source."""
        return self._con.sql(
            "SELECT subject_id, time, occurred, code, text_value AS text, source FROM events"
            " WHERE starts_with(code, 'NOTE//') ORDER BY subject_id, time, source"
        )

    def images(self) -> duckdb.DuckDBPyRelation:
        """Give the images: subject_id, time, occurred, code, image (see `image_path`), source."""
        return self._con.sql(
            "SELECT subject_id, time, occurred, code, image, source FROM events"
            " WHERE starts_with(code, 'IMAGE//') ORDER BY subject_id, time, source"
        )

    def timelines(self, index: pd.DataFrame) -> Timelines:
        """Give what was known of each subject at its prediction time: one join for all rows.

        `index` has subject_id and prediction_time (UTC, without zone); a subject may come many
        times, and one of whom nothing is known has no events.
        """
        frame = pd.DataFrame(
            {
                "subject_id": index["subject_id"].to_numpy(np.int64),
                "prediction_time": pd.to_datetime(index["prediction_time"])
                .astype("datetime64[us]")
                .to_numpy(),
            }
        )
        wanted = frame.assign(row=np.arange(len(frame), dtype=np.int64))
        # A cursor of its own, so that a server's threads don't meet in one.
        with self._con.cursor() as cursor:
            cursor.register("wanted", wanted)
            events = cursor.sql(_TIMELINES).df()
        return Timelines(index=frame, events=events, images=self.path)

    def subjects(self) -> np.ndarray:
        """List the subject ids, sorted: [n] int64."""
        found = self._con.sql("SELECT DISTINCT subject_id FROM events ORDER BY 1").fetchnumpy()
        return np.asarray(found["subject_id"], dtype=np.int64)

    def codes(self) -> pd.DataFrame:
        """Give each code with its description and parent_codes."""
        return self._read("codes.parquet")

    def splits(self) -> pd.DataFrame:
        """Give subject_id and split."""
        return self._read("subject_splits.parquet")

    def report(self) -> dict[str, Any]:
        """Give the accounting of the ingest that made the store."""
        return json.loads((self.path / "ingest_report.json").read_text("utf-8"))

    def image_path(self, image: str) -> Path:
        """Give the file of an event's `image`.

        Raises:
            StoreError: the path leads out of the store.
        """
        path = (self.path / image).resolve()
        if not path.is_relative_to(self.path.resolve()):
            raise StoreError("an image's path leads out of its store")
        return path

    def volume_path(self, image: str) -> Path | None:
        """Give the NIfTI file of an event's `image` where that is a volume's; None for a film.

        Raises:
            StoreError: the path leads out of the store.
        """
        path = self.image_path(image).with_suffix(SUFFIX)
        return path if path.is_file() else None

    def volume(self, image: str) -> Volume | None:
        """Open the volume of an event's `image`; None where it is a film.

        Its values are in modality units (HU in CT), not windowed, and are read as they are used.

        Raises:
            StoreError: the path leads out of the store, or the file is damaged.
        """
        path = self.volume_path(image)
        return None if path is None else read_volume(path)

    def _read(self, name: str) -> pd.DataFrame:
        file = str(self.path / "metadata" / name)
        return self._con.sql("SELECT * FROM read_parquet($file)", params={"file": file}).df()
