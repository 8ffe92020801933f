"""How unlike training's a note or an image is: Mahalanobis distance of its frozen tokens' mean.

A row is as unlike as the most unlike of its notes, or of its images: one film of another part of
the body among three chest films is what is to be found. The distance uses the whole covariance,
shrunk as much as the number of items asks for (Ledoit and Wolf, Journal of Multivariate Analysis
88, 2004), for what a picture or a language of another kind does happens mostly in directions in
which training's items hardly differ. Tried once among 7,000 simulated patients, the share of items
flagged at 0.01 (`python -m tests.benchmarks.unlikeness` measures what was chosen, the last line):

    distance                              films inverted   words shuffled   in Chinese
    first 16 principal directions, white            35 %              0 %          0 %
    first 32                                        98 %              0 %          0 %
    10th neighbour in the first 16                  38 %              0 %          0 %
    10th neighbour by cosine                       100 %             28 %        100 %
    first 16 and the rest as one (PPCA)            100 %             65 %        100 %
    whole covariance, shrunk (this)                100 %            100 %        100 %

Neighbours would have to be kept, too, and tokens can be turned back into much of a text; a mean and
a covariance are nobody's. Standard deviations of tokens beside their means found no more. What is
not found: a mirrored film (1 %), for a mean knows no places, and what the encoder itself does not
see, as capitals.
"""

from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float, Float64

from fusion.candidates import Embedder
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["ItemMeans", "TokenSpread", "read_items"]

_ROWS_AT_ONCE = 256  # a note's tokens are some 60 kB


class ItemMeans(NamedTuple):
    """Hold the notes or images of rows, each as the mean of its tokens; m items."""

    row: np.ndarray
    """[m] int64."""

    mean: np.ndarray
    """[m d] float64."""


def read_items(timelines: Timelines, modality: Modality, encoders: Embedder) -> ItemMeans:
    """Read each note, or each image, that has a token."""
    rows, means = [np.zeros(0, np.int64)], []
    for start in range(0, len(timelines), _ROWS_AT_ONCE):
        chunk = np.arange(start, min(start + _ROWS_AT_ONCE, len(timelines)))
        some = timelines.take(chunk)
        part = some.part(modality)
        if modality is Modality.NOTES:
            tokens = encoders.notes(part["text_value"].fillna("").astype(str).tolist())
        else:
            part = part.dropna(subset="image")
            tokens = encoders.images([some.images / str(image) for image in part["image"]])
        full = np.array([len(each) > 0 for each in tokens], bool)
        rows.append(part["row"].to_numpy(np.int64)[full] + start)
        means += [np.asarray(each, np.float64).mean(axis=0) for each in tokens if len(each)]
    return ItemMeans(np.concatenate(rows), np.stack(means) if means else np.zeros((0, 0)))


class TokenSpread:
    """Know where train's items lie, and how far an item is from them."""

    def __init__(self, *, centre: Float[np.ndarray, " d"], whiten: Float[np.ndarray, "d d"]):
        self.centre = np.asarray(centre, np.float32)
        self.whiten = np.asarray(whiten, np.float32)
        """The Cholesky factor of the inverse of the shrunk covariance."""

    @classmethod
    def fit(cls, items: Float64[np.ndarray, "m d"]) -> Self:
        """Measure the mean and the shrunk covariance of train's items, two or more."""
        from sklearn.covariance import ledoit_wolf

        covariance, _ = ledoit_wolf(items)
        variance = float(np.trace(covariance)) / len(covariance)
        covariance = covariance + max(1e-6 * variance, 1e-12) * np.eye(len(covariance))
        precision = np.linalg.inv(covariance)
        whiten = np.linalg.cholesky((precision + precision.T) / 2)
        return cls(centre=items.mean(axis=0), whiten=whiten)

    def distance(self, items: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, " m"]:
        """Say how far each item is: 1 is about the root mean square of train's."""
        white = (items - self.centre.astype(np.float64)) @ self.whiten.astype(np.float64)
        far = np.sqrt((white**2).mean(axis=1))
        return np.where(np.isnan(far), np.inf, far)  # tokens that are no numbers are like nothing

    def by_row(self, items: ItemMeans, b: int) -> Float64[np.ndarray, " b"]:
        """Give each row the distance of its most unlike item; NaN where it has none."""
        found = np.full(b, -np.inf)
        if len(items.row):
            np.maximum.at(found, items.row, self.distance(items.mean))
        return np.where(found == -np.inf, np.nan, found)
