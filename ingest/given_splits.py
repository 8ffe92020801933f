"""Take the splits that a table of labels gives, and make of them the four that training needs.

Published sets mostly have train, val and test. Training needs four: `tuning` stops early,
`calibration` fits the calibrator, and what fits may not be what judges. So val is dealt out to
tuning and calibration, and where there is no val, a quarter of train is (the shares that splits
have otherwise). Who judges stays as given, in any case.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ingest.errors import CohortError
from ingest.schema import SPLITS
from ingest.splits import SHARES, draw_of

__all__ = ["NAMES", "complete_splits", "read_splits_column"]

NAMES = {
    **{name: name for name in SPLITS},
    "training": "train",
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "tuning"),
    **dict.fromkeys(("calib", "cal"), "calibration"),
    **dict.fromkeys(("test", "testing", "held-out", "heldout", "holdout"), "held_out"),
}
"""What tables call splits, in small letters; `val` and its like are dealt out (see above)."""


def read_splits_column(
    subjects: Iterable[int], words: Iterable[str | None], table: str
) -> pd.DataFrame:
    """Give subject_id and split of each subject that rows name.

    Args:
        subjects: [n] whose row it is.
        words: [n] what stands in the column.
        table: the table's name, for errors.

    Raises:
        CohortError: a row has no split, or none that we know; or a subject has two.
    """
    named = pd.DataFrame({"subject_id": list(subjects), "word": list(words)})
    named["split"] = [NAMES.get((word or "").lower()) for word in named["word"]]
    unknown = int(named["split"].isna().sum())
    if unknown:
        raise CohortError(
            f"{table}: {unknown} rows have no split that is known; known are {', '.join(NAMES)}"
        )
    kept = named[["subject_id", "split"]].drop_duplicates()
    twice = int(kept["subject_id"].duplicated(keep="first").sum())
    if twice:
        raise CohortError(
            f"{table} puts {twice} subjects into more than one split, so a model would be judged "
            "on patients that it was fitted on; give each subject one split, or leave --split out"
        )
    return kept.sort_values("subject_id").reset_index(drop=True)


def complete_splits(splits: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Deal out what is needed for the four splits; give them, and what was done in words.

    Raises:
        CohortError: nobody is in train.
    """
    found, said = splits.copy(), []
    there = set(found["split"])
    if "train" not in there:
        raise CohortError("the table's splits put nobody into train, so nothing could be fitted")
    between = {"tuning", "calibration"}
    if len(between & there) == 1:
        [have] = between & there
        lack = (between - there).pop()
        among = found["split"].isin(between).to_numpy()
        _deal(found, among, {"tuning": 1, "calibration": 1})
        said.append(
            f"the table has a split for {have} and none for {lack}: its subjects were dealt out to "
            "both, half and half"
        )
    elif not between & there:
        among = (found["split"] == "train").to_numpy()
        _deal(found, among, {name: SHARES[name] for name in ("train", "tuning", "calibration")})
        said.append(
            "the table has no split to tune and calibrate on: an eighth of train's subjects each "
            "was dealt out to tuning and to calibration"
        )
    if "held_out" not in there:
        said.append("the table holds nobody out: nothing can be judged but by train --folds")
    return found, said


def _deal(splits: pd.DataFrame, among: np.ndarray, shares: dict[str, float]) -> None:
    """Deal subjects out in the order of their digests, so that it is the same each time."""
    subjects = splits["subject_id"].to_numpy()[among]
    order = sorted(subjects.tolist(), key=draw_of)
    bounds = np.cumsum(list(shares.values())) / sum(shares.values()) * len(order)
    places = np.searchsorted(bounds, np.arange(len(order)), "right")
    names = list(shares)
    dealt = {
        subject: names[min(int(place), len(names) - 1)]
        for subject, place in zip(order, places, strict=True)
    }
    splits.loc[among, "split"] = [dealt[subject] for subject in subjects.tolist()]
