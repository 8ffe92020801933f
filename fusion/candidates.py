"""The models that every training fits, simplest first, and what each of them must be able to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Float64

from fusion.finetune_config import FinetuneConfig
from fusion.rows import Rows
from fusion.scoring import ALL_MODALITIES
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = [
    "CANDIDATES",
    "EVERY_CANDIDATE",
    "ON_REQUEST",
    "Candidate",
    "Embedder",
    "Lesson",
    "candidate_type",
]


class Embedder(Protocol):
    """What candidates need of the frozen encoders (`encoders.frozen.FrozenEncoders`)."""

    @property
    def text_width(self) -> int:
        """Say how wide a note's tokens are."""
        ...

    @property
    def image_width(self) -> int:
        """Say how wide an image's tokens are."""
        ...

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Say how text and pixels are prepared and with which weights, as JSON."""
        ...

    def check(self, stated: Mapping[str, Any]) -> None:
        """Refuse a model that was trained on the tokens of other encoders."""
        ...

    def notes(self, texts: Sequence[str], *, progress: bool = False) -> list[np.ndarray]:
        """Give each text's tokens, [n d]."""
        ...

    def images(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        """Give each image's tokens, [n d]."""
        ...

    def image_views(self, paths: Sequence[Path], *, progress: bool = False) -> list[np.ndarray]:
        """Give each image's tokens, [n d], as another view of the same image has them."""
        ...

    def text_encoder(self) -> Any:
        """Give a copy of the text encoder, to be trained; needed by `notes_finetuned` alone."""
        ...

    def image_encoder(self) -> Any:
        """Give a copy of the image encoder, to be trained; needed by `images_finetuned` alone."""
        ...

    def squares(self, paths: Sequence[Path], *, progress: bool = False) -> Any:
        """Decode images once, for training to read many times (`encoders.squares.Squares`)."""
        ...

    def reading_with(self, *, text: Any = None, image: Any = None) -> Self:
        """Give encoders that read with the weights of the given ones."""
        ...


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Hold what a candidate is fitted on: the same for every candidate."""

    tasks: tuple[str, ...]

    train: Rows
    """A task with one class here gets the base rate; it is not an error."""

    tuning: Rows
    """For early stopping alone."""

    encoders: Embedder

    seed: int = 0

    progress: bool = False
    """Whether to show bars."""

    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    """How candidates that fine-tune an encoder do it."""

    def without(self, outside: np.ndarray) -> Self:
        """Give the lesson less some of train's rows."""
        inside = np.setdiff1d(np.arange(len(self.train)), outside)
        return replace(self, train=self.train.take(inside))


@runtime_checkable
class Candidate(Protocol):
    """A model that can be fitted, saved, loaded and asked; a Scorer (`fusion.scoring`)."""

    name: ClassVar[str]
    """As in EVERY_CANDIDATE; also the folder under `models/`."""

    tasks: tuple[str, ...]

    @classmethod
    def fit(cls, lesson: Lesson) -> Self:
        """Fit on the lesson's train rows."""
        ...

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk as `fusion.scoring.Scorer` promises.

        A modality that is masked and one that the patient lacks are the same to a model:
        `score(t, m)` is `score(t.only(m))`.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the fitted parts as safetensors, JSON or text; the same parts, the same bytes."""
        ...

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote, without unpickling."""
        ...


CANDIDATES: dict[str, str] = {
    "prevalence": "fusion.prevalence:PrevalenceCandidate",
    "events_logistic": "fusion.linear:EventsLogisticCandidate",
    "events_boosting": "fusion.boosting:EventsBoostingCandidate",
    "notes_tfidf": "fusion.probes:NotesTfidfCandidate",
    "notes_embedding": "fusion.probes:NotesEmbeddingCandidate",
    "images_embedding": "fusion.probes:ImagesEmbeddingCandidate",
    "average": "fusion.late:AverageCandidate",
    "stacked": "fusion.late:StackedCandidate",
    "attention": "fusion.attention:AttentionCandidate",
}
"""Name to `module:class`, simplest first: the order that decides between equals. Imported when
asked for, so that serving a logistic regression does not import torch. All are fitted unasked."""

# After attention: of all models they have by far the most weights that were fitted, and whoever
# serves one has to read each item with an encoder of its own. Equals should be served by another.
ON_REQUEST: dict[str, str] = {
    "notes_finetuned": "fusion.finetuned:NotesFinetunedCandidate",
    "images_finetuned": "fusion.finetuned:ImagesFinetunedCandidate",
}
"""As CANDIDATES; fitted only where asked for by name, since they take many times longer."""

EVERY_CANDIDATE: dict[str, str] = {**CANDIDATES, **ON_REQUEST}
"""All that there are, in the order that decides between equals."""


def candidate_type(name: str) -> type[Candidate]:
    """Import a candidate's class by its name.

    >>> candidate_type("prevalence").name
    'prevalence'
    >>> candidate_type("oracle")
    Traceback (most recent call last):
    ...
    ValueError: no candidate is called 'oracle'; there are prevalence, events_logistic, \
events_boosting, notes_tfidf, notes_embedding, images_embedding, average, stacked, attention, \
notes_finetuned, images_finetuned
    """
    if name not in EVERY_CANDIDATE:
        known = ", ".join(EVERY_CANDIDATE)
        raise ValueError(f"no candidate is called {name!r}; there are {known}")
    module, _, attribute = EVERY_CANDIDATE[name].partition(":")
    return getattr(import_module(module), attribute)
