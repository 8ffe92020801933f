"""Read and write the task file of a cohort whose labels came from a table, and say when it asks.

    metadata: {title: …, description: …, exclude_codes: […]}     as an ACES task's (ingest/task.py)
    label_table:
      table: labels.csv             the table's name
      sha256: …                     of its bytes
      label: pneumonia              its columns: of the label,
      subject: patient_id           … the subject, the image, the time and the split, where given
      prediction_time: film         given (by the table), film or last_event

Such a file says where the labels came from; it can't make them again without the table. For a
patient whom the table does not name it says when a risk is asked for: at each film, or at the last
event. Where the table gave the times itself, nobody knows it of others: then the cohort, and the
run, hold `times/TASK.parquet` with the table's own (subject_id, prediction_time), and for anybody
else a time must be given.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ingest.errors import CohortError
from ingest.store import RecordStore
from ingest.task import Rows, Task, TaskSettings, read_task

__all__ = [
    "Asked",
    "LabelSource",
    "TableTask",
    "last_known",
    "open_task",
    "times_of_table_task",
    "write_table_task",
    "write_times",
]

Asked = Literal["given", "film", "last_event"]

_KEY = "label_table"
_TIMES = {"subject_id": pa.int64(), "prediction_time": pa.timestamp("us")}


class LabelSource(BaseModel):
    """Say which table labels came from, and which of its columns; what `label_table` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str
    sha256: str
    label: str
    subject: str | None = None
    image: str | None = None
    time: str | None = None
    split: str | None = None
    prediction_time: Asked


@dataclass(frozen=True, kw_only=True)
class TableTask:
    """Hold the task of a column of labels."""

    name: str
    """The file's name without `.yaml`."""

    path: Path
    settings: TaskSettings
    source: LabelSource

    label_length: None = None
    """No table says how far ahead its labels look."""


def open_task(path: Path) -> Task | TableTask:
    """Read a task of either kind: ACES's, or a table's.

    Raises:
        InputError: there is no such file.
        CohortError: it is neither, or says what such a file can't.
    """
    content = _content(path)
    if content is None:
        return read_task(path)
    try:
        settings = TaskSettings(**(content.get("metadata") or {}))
        source = LabelSource(**content[_KEY])
    except (ValidationError, TypeError) as error:
        raise CohortError(
            f"{path} is not the task of a table of labels ({type(error).__name__}); make the "
            "cohort again"
        ) from None
    return TableTask(name=path.stem, path=path, settings=settings, source=source)


def write_table_task(path: Path, settings: dict[str, Any], source: LabelSource) -> None:
    """Write the task file of a column of labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"metadata": settings, _KEY: source.model_dump(exclude_none=True)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=96)
    path.write_text(f"# Labels that came from a table; see ingest/table_task.py.\n{text}", "utf-8")


def write_times(path: Path, times: pd.DataFrame) -> None:
    """Write subject_id and prediction_time of the rows that a table named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array(times[name], kind) for name, kind in _TIMES.items()}
    order = [(name, "ascending") for name in _TIMES]
    pq.write_table(pa.table(columns).sort_by(order), path)


def times_of_table_task(
    store: Path,
    task: TableTask,
    subject_ids: Iterable[int] | None = None,
    *,
    rows: Rows | None = None,
) -> pd.DataFrame:
    """Give subject_id and prediction_time of those to whom a table's task applies.

    Args:
        store: the record store.
        task: the task; where the table gave the times, they lie beside its directory in `times/`.
        subject_ids: only these subjects.
        rows: all, first or last of a subject's times; by default what the task says.
    """
    asked = task.source.prediction_time
    if asked == "film":
        found = RecordStore(store).query(
            "SELECT DISTINCT subject_id, time AS prediction_time FROM events "
            "WHERE starts_with(code, 'IMAGE//') AND time IS NOT NULL"
        )
    elif asked == "last_event":
        found = last_known(RecordStore(store), task.settings.exclude_codes)
    else:
        found = _given_times(task)
        known = set(RecordStore(store).subjects().tolist())
        found = found[found["subject_id"].isin(known)]
    if subject_ids is not None:
        found = found[found["subject_id"].isin(list(subject_ids))]
    found = found[list(_TIMES)].drop_duplicates().sort_values(list(_TIMES))
    found = found.astype({"subject_id": "int64", "prediction_time": "datetime64[us]"})
    kept = rows or task.settings.rows
    if kept != "all":
        found = found.drop_duplicates("subject_id", keep=kept)
    return found.reset_index(drop=True)


def last_known(store: RecordStore, exclude_codes: Iterable[str] = ()) -> pd.DataFrame:
    """Give subject_id and prediction_time: when the last that a model may see of each was known.

    Codes that are left out do not count, nor does birth: an outcome that is on record would make a
    prediction time of itself.
    """
    compiled = [re.compile(pattern) for pattern in exclude_codes]
    ends = store.query(
        "SELECT subject_id, code, max(time) AS prediction_time FROM events "
        "WHERE time IS NOT NULL AND code <> 'MEDS_BIRTH' GROUP BY ALL"
    )
    hidden = [c for c in ends["code"].unique() if any(p.search(c) for p in compiled)]
    seen = ends[~ends["code"].isin(hidden)]
    return seen.groupby("subject_id", as_index=False)["prediction_time"].max()


def _given_times(task: TableTask) -> pd.DataFrame:
    file = task.path.parent.parent / "times" / f"{task.name}.parquet"
    if not file.is_file():
        return pd.DataFrame({name: [] for name in _TIMES})
    try:
        return pq.read_table(file, columns=list(_TIMES)).to_pandas()
    except (OSError, ValueError) as error:
        raise CohortError(
            f"{file} cannot be read ({type(error).__name__}); make it again: the cohort by "
            "`medweave cohort`, a run by `medweave train`"
        ) from None


def _content(path: Path) -> dict[str, Any] | None:
    """Give what a table's task file holds; None where it is another file."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None  # read_task says what is wrong
    return content if isinstance(content, dict) and isinstance(content.get(_KEY), dict) else None
