"""Folds: whole subjects, both classes spread, every subject held out once."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.folds import assign_folds, fold_splits
from ingest.schema import SPLITS


@st.composite
def cohorts(draw):
    """Rows of subjects who may have several, with at least `folds` subjects of each class."""
    folds = draw(st.integers(min_value=2, max_value=5))
    positive, negative = (draw(st.integers(min_value=folds, max_value=25)) for _ in range(2))
    subjects = np.random.default_rng(draw(st.integers(0, 99))).permutation(positive + negative)
    repeats = draw(
        st.lists(st.integers(1, 3), min_size=len(subjects), max_size=len(subjects)).map(np.array)
    )
    labels = np.repeat(np.arange(len(subjects)) < positive, repeats).astype(np.float32)
    return np.repeat(subjects, repeats), labels, folds


@settings(deadline=None)
@given(cohorts(), st.integers(min_value=0, max_value=3))
def test_folds_keep_subjects_whole_and_spread_both_classes(cohort, seed):
    subjects, labels, folds = cohort
    fold_of = assign_folds(subjects, labels, folds, seed)
    table = pd.DataFrame({"subject": subjects, "label": labels, "fold": fold_of})
    assert set(fold_of) == set(range(folds))
    assert (table.groupby("subject")["fold"].nunique() == 1).all()
    for _, members in table.drop_duplicates("subject").groupby("label"):
        sizes = members["fold"].value_counts().reindex(range(folds), fill_value=0)
        assert sizes.max() - sizes.min() <= 1
    everybody = table.drop_duplicates("subject")["fold"].value_counts()
    assert everybody.max() - everybody.min() <= 1


@settings(deadline=None, max_examples=40)
@given(cohorts())
def test_each_subject_is_held_out_once_and_each_fold_can_fit_and_choose(cohort):
    subjects, labels, folds = cohort
    fold_of = assign_folds(subjects, labels, folds)
    held_out = []
    for fold in range(folds):
        splits = fold_splits(subjects, labels, fold_of, fold)
        assert splits["subject_id"].tolist() == sorted(set(subjects.tolist()))
        assert set(splits["split"]) <= set(SPLITS)
        out = splits[splits["split"] == "held_out"]["subject_id"]
        assert set(out) == set(subjects[fold_of == fold])
        held_out += out.tolist()
        rest = splits[splits["split"] != "held_out"]
        for label in (0, 1):
            members = rest[rest["subject_id"].isin(subjects[labels == label])]
            if len(members) >= 3:
                assert set(members["split"]) == {"train", "tuning", "calibration"}
    assert sorted(held_out) == sorted(set(subjects.tolist()))


def test_the_rest_of_a_fold_is_divided_as_the_splits_are():
    subjects, labels = np.arange(500), np.arange(500) % 2
    fold_of = assign_folds(subjects, labels, 5)
    counts = fold_splits(subjects, labels, fold_of, 0)["split"].value_counts()
    assert counts.to_dict() == {"train": 300, "tuning": 50, "calibration": 50, "held_out": 100}


def test_folds_do_not_depend_on_the_order_of_rows_and_do_on_the_seed():
    subjects, labels = np.arange(40), np.arange(40) % 2
    fold_of = assign_folds(subjects, labels, 4)
    order = np.random.default_rng(0).permutation(40)
    assert np.array_equal(assign_folds(subjects[order], labels[order], 4), fold_of[order])
    assert not np.array_equal(assign_folds(subjects, labels, 4, seed=1), fold_of)


def test_an_unknown_label_counts_as_negative():
    fold_of = assign_folds(np.arange(6), np.array([1, 1, 0, 0, np.nan, np.nan]), 2)
    assert np.array_equal(fold_of, assign_folds(np.arange(6), np.array([1, 1, 0, 0, 0, 0]), 2))


@pytest.mark.parametrize("folds", [1, 4])
def test_more_folds_than_subjects_of_a_class_are_refused(folds):
    with pytest.raises(ValueError, match=f"got folds={folds} with 3 positive and 7 negative"):
        assign_folds(np.arange(10), np.arange(10) < 3, folds)


def test_a_fold_that_is_not_there_and_labels_of_another_length_are_refused():
    subjects, labels = np.arange(8), np.arange(8) % 2
    with pytest.raises(ValueError, match=r"fold must be one of \[0, 1\]; got 2"):
        fold_splits(subjects, labels, assign_folds(subjects, labels, 2), 2)
    with pytest.raises(ValueError, match="must be as long; got 7 and 8"):
        assign_folds(subjects, labels[:7], 2)
