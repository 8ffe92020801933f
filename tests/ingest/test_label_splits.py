"""The splits that a table of labels gives, what is dealt out beside them, and whose splits hold."""

from pathlib import Path

import pandas as pd
import pytest

from ingest.errors import CohortError, UsageError
from ingest.given_splits import complete_splits, read_splits_column
from ingest.labels import read_cohort
from ingest.table_cohort import describe_table
from tests.ingest.ward import Ward, make_ward


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    return make_ward(tmp_path_factory.mktemp("ward"))


def test_the_tables_splits_are_taken_and_what_training_lacks_is_dealt_out() -> None:
    subjects = range(1, 101)
    words = ["Train"] * 60 + ["val"] * 20 + ["test"] * 20
    given = read_splits_column(subjects, words, "t")
    splits, said = complete_splits(given)
    assert splits["split"].value_counts().to_dict() == {
        "train": 60,
        "held_out": 20,
        "tuning": 10,
        "calibration": 10,
    }
    assert set(splits.loc[splits["split"] == "held_out", "subject_id"]) == set(range(81, 101))
    assert "dealt out to both, half and half" in said[0]
    again, _ = complete_splits(given.sample(frac=1, random_state=1))
    assert again.sort_values("subject_id").reset_index(drop=True).equals(splits)

    splits, said = complete_splits(
        read_splits_column(range(96), ["train"] * 80 + ["test"] * 16, "t")
    )
    counts = {"train": 60, "tuning": 10, "calibration": 10, "held_out": 16}
    assert splits["split"].value_counts().to_dict() == counts
    assert "an eighth of train's subjects" in said[0]

    four = ["train", "tuning", "calibration", "held_out"]
    splits, said = complete_splits(read_splits_column(range(4), four, "t"))
    assert (list(splits["split"]), said) == (four, [])
    _, said = complete_splits(read_splits_column(range(3), four[:3], "t"))
    assert "holds nobody out" in said[0]


def test_a_subject_in_two_splits_is_refused(ward: Ward, tmp_path: Path) -> None:
    rows = [
        ("who", "when", "part", "label"),
        ("ann", "2024-01-02", "train", "1"),
        ("bob", "2024-02-02", "train", "0"),
        ("ann", "2024-02-02", "test", "0"),
    ]
    with pytest.raises(CohortError, match=r"puts 1 subjects into more than one split"):
        ward.cohort(tmp_path, rows, subject="who", time="when", split="part")
    rows[-1] = ("ann", "2024-02-02", "elsewhere", "0")
    with pytest.raises(CohortError, match=r"1 rows have no split that is known; known are train"):
        ward.cohort(tmp_path, rows, subject="who", time="when", split="part")
    with pytest.raises(CohortError, match="put nobody into train"):
        complete_splits(pd.DataFrame({"subject_id": [1], "split": ["held_out"]}))
    with pytest.raises(UsageError, match="--split takes the table's splits and --seed draws"):
        ward.cohort(tmp_path, rows, subject="who", split="part", seed=1)


def test_given_splits_hold_in_the_cohort_and_otherwise_the_stores_do(
    ward: Ward, tmp_path: Path
) -> None:
    parts = {"ann": "train", "bob": "tuning", "cyd": "calibration", "dan": "test"}
    rows = [("who", "part", "label")]
    rows += [(name, part, str(n % 2)) for n, (name, part) in enumerate(parts.items())]
    flow = ward.cohort(tmp_path, rows, subject="who", split="part")
    index = read_cohort(tmp_path / "cohort").index.set_index("subject_id")["split"]
    assert {name: index[ward.ids[name]] for name in parts} == {**parts, "dan": "held_out"}
    assert "test for held_out" in describe_table(flow)
    ward.cohort(tmp_path, rows, subject="who")
    index = read_cohort(tmp_path / "cohort").index.set_index("subject_id")["split"]
    own = pd.read_parquet(ward.store / "metadata" / "subject_splits.parquet")
    assert index.to_dict() == dict(zip(own["subject_id"], own["split"], strict=True))
