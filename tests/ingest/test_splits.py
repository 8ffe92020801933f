"""Splits: each subject for ever on one side, in the stated shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.schema import SPLITS
from ingest.splits import SHARES, assign_splits, split_of

ids = st.integers(min_value=0, max_value=2**53 - 1)


@given(st.lists(ids, max_size=50), st.integers(min_value=0, max_value=5))
def test_a_subjects_split_does_not_depend_on_the_others(subjects, seed):
    table = assign_splits(np.array(subjects, dtype=np.int64), seed=seed)
    assert table["subject_id"].tolist() == sorted(set(subjects))
    assert table["split"].tolist() == [split_of(s, seed) for s in sorted(set(subjects))]


def test_splits_have_their_shares():
    shares = assign_splits(np.arange(50_000))["split"].value_counts(normalize=True)
    assert sum(SHARES.values()) == pytest.approx(1)
    for split in SPLITS:
        assert shares[split] == pytest.approx(SHARES[split], abs=0.007)  # three standard errors


def test_another_seed_gives_other_splits_that_owe_the_first_nothing():
    one, two = (assign_splits(np.arange(20_000), seed=s)["split"].to_numpy() for s in (0, 1))
    alike = np.mean(one == two)
    assert alike == pytest.approx(sum(share**2 for share in SHARES.values()), abs=0.012)


def test_splits_stay_what_they_were_when_first_released():
    assert [split_of(s) for s in (7, 42, 2**53 - 1)] == ["train", "train", "calibration"]
