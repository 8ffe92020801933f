"""Contract 2: one MEDS label file a task, joined on subject and prediction time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from meds import LabelSchema, SubjectSplitSchema

from ingest.errors import CohortError
from ingest.labels import read_cohort, write_labels, write_splits

TIME = pd.Timestamp("2020-01-01 12:00")


def labels(subjects: list[int], values: list[bool]) -> pd.DataFrame:
    return pd.DataFrame({"subject_id": subjects, "prediction_time": TIME, "boolean_value": values})


def test_a_label_that_cannot_be_known_is_a_gap_not_a_negative(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels" / "death.parquet", labels([1, 2], [True, False]))
    write_labels(tmp_path / "labels" / "stroke.parquet", labels([2], [True]))
    write_splits(
        tmp_path / "splits.parquet",
        pd.DataFrame({"subject_id": [1, 2], "split": ["train", "held_out"]}),
    )
    cohort = read_cohort(tmp_path)
    assert cohort.tasks == ("death", "stroke")
    np.testing.assert_array_equal(cohort.labels, [[1, np.nan], [0, 1]])
    assert cohort.rows("held_out").tolist() == [1]


def test_the_files_are_valid_meds(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels" / "death.parquet", labels([2, 1], [True, False]))
    write_splits(
        tmp_path / "splits.parquet", pd.DataFrame({"subject_id": [2, 1], "split": ["train"] * 2})
    )
    written = pq.read_table(tmp_path / "labels" / "death.parquet")
    LabelSchema.validate(written)
    SubjectSplitSchema.validate(pq.read_table(tmp_path / "splits.parquet"))
    assert written["subject_id"].to_pylist() == [1, 2]


def test_a_subject_without_a_split_is_refused(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels" / "death.parquet", labels([1, 2], [True, False]))
    write_splits(tmp_path / "splits.parquet", pd.DataFrame({"subject_id": [1], "split": ["train"]}))
    with pytest.raises(CohortError, match="lacks 1 of the rows"):
        read_cohort(tmp_path)


def test_a_directory_that_is_no_cohort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="is not a cohort"):
        read_cohort(tmp_path)


def test_a_split_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels" / "death.parquet", labels([1], [True]))
    write_splits(tmp_path / "splits.parquet", pd.DataFrame({"subject_id": [1], "split": ["train"]}))
    with pytest.raises(ValueError, match="split must be one of train, tuning"):
        read_cohort(tmp_path).rows("test")
