"""The candidate `attention`: fit, keep and ask the fusion model.

A folder holds `vocabulary.json`, `attention.json` (tasks, configuration, preprocessing of the
frozen encoders) and one `member-N/` with config.json and model.safetensors for each member of the
ensemble. Members differ in their seed alone; the risk is the mean of theirs on the scale of log
odds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float64
from scipy.special import expit

from encoders.build import quiet_transformers
from encoders.threads import one_thread
from encoders.vocabulary import EventVocabulary
from fusion.candidates import Embedder, Lesson
from fusion.model import RiskConfig, RiskModel
from fusion.parts import Parts, PartsConfig, item_kinds
from fusion.run import read_json, write_json
from fusion.scoring import ALL_MODALITIES
from fusion.training import TrainingConfig, train_member
from fusion.whitening import fit_whitening
from fusion.wide import WideInputs, fit_wide, wide_features
from ingest.errors import RunError
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["AttentionCandidate", "AttentionConfig"]

_ROWS_A_BATCH = 64
_VIEWED_AT_MOST = 1200  # images that are read in another view as well
_SMALLEST = 1e-6  # a risk is strictly between 0 and 1


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Choose how many members the ensemble has."""

    members: int = 3
    """Models that differ in their seed; more are steadier and slower to train."""

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"members must be at least 1; got members={self.members}")


class AttentionCandidate:
    """Ask an ensemble of fusion models; a `fusion.candidates.Candidate`."""

    name: ClassVar[str] = "attention"

    def __init__(
        self,
        *,
        tasks: tuple[str, ...],
        members: Sequence[RiskModel],
        vocabulary: EventVocabulary,
        encoders: Embedder,
        parts: PartsConfig,
        kinds: Sequence[str],
    ):
        self.tasks = tasks
        self.members = [member.eval() for member in members]
        self.vocabulary = vocabulary
        self.parts = parts
        self.kinds = list(kinds)
        self._encoders = encoders

    @classmethod
    def fit(
        cls,
        lesson: Lesson,
        *,
        ensemble: AttentionConfig | None = None,
        training: TrainingConfig | None = None,
        **sizes: Any,
    ) -> Self:
        """Fit on train and stop early on tuning; `sizes` are fields of RiskConfig."""
        ensemble, training = ensemble or AttentionConfig(), training or TrainingConfig()
        encoders, seed = lesson.encoders, lesson.seed
        parts = PartsConfig()
        vocabulary = EventVocabulary.fit(lesson.train.timelines)
        kinds = item_kinds(lesson.train.timelines)
        widths = (encoders.text_width, encoders.image_width)
        read = [
            Parts.read(
                rows.timelines,
                vocabulary,
                encoders,
                parts,
                kinds=kinds,
                widths=widths,
                progress=lesson.progress,
            ).labelled(rows.labels)
            for rows in (lesson.train, lesson.tuning)
        ]
        config = RiskConfig(
            tasks=len(lesson.tasks),
            features=len(vocabulary),
            kinds=len(kinds),
            note_width=widths[0],
            image_width=widths[1],
            image_tokens=max([1, *(len(item) for row in read[0].images.tokens for item in row)]),
            **sizes,
        )
        first = _new_model(config, seed)
        views = _two_views(lesson)
        with one_thread():
            rows = _fit_fixed(first, read[0], vocabulary, views, lesson.train.subjects, seed)
        fixed = first.state_dict()
        members = []
        for number in range(ensemble.members):
            model = _new_model(config, seed + 1000 * number)
            learnt = dict(model.named_parameters())
            model.load_state_dict(
                {name: t for name, t in fixed.items() if name not in learnt}, strict=False
            )
            bar = f"attention {number + 1} of {ensemble.members}" if lesson.progress else None
            members.append(
                train_member(model, rows, read[1], training, seed=seed + number, progress=bar)
            )
        return cls(
            tasks=lesson.tasks,
            members=members,
            vocabulary=vocabulary,
            encoders=encoders,
            parts=parts,
            kinds=kinds,
        )

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give the risk; what is outside `modalities` is taken away before anything reads it."""
        return self.score_parts(self.read(timelines.only(modalities)))

    def read(self, timelines: Timelines) -> Parts:
        """Encode timelines into what the members read."""
        first = self.members[0].config
        return Parts.read(
            timelines,
            self.vocabulary,
            self._encoders,
            self.parts,
            kinds=self.kinds,
            widths=(first.note_width, first.image_width),
        )

    def score_parts(self, parts: Parts) -> Float64[np.ndarray, "b k"]:
        """Give the risk of rows that are already encoded."""
        logits = [np.zeros((0, len(self.tasks)))]
        with torch.inference_mode(), one_thread():
            for start in range(0, len(parts), _ROWS_A_BATCH):
                rows = range(start, min(start + _ROWS_A_BATCH, len(parts)))
                batch = parts.batch(rows)
                batch.pop("labels", None)
                answers = [member(**batch).logits for member in self.members]
                logits.append(torch.stack(answers).mean(dim=0).double().numpy())
        return np.clip(expit(np.concatenate(logits)), _SMALLEST, 1 - _SMALLEST)

    def save(self, folder: Path) -> None:
        """Write the fitted parts; the same parts, the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "vocabulary.json", self.vocabulary.to_json())
        content = {
            "tasks": list(self.tasks),
            "members": len(self.members),
            "parts": asdict(self.parts),
            "kinds": self.kinds,
            "preprocessing": self._encoders.preprocessing,
        }
        write_json(folder / "attention.json", content)
        for number, member in enumerate(self.members):
            with quiet_transformers():
                member.save_pretrained(folder / f"member-{number}")

    @classmethod
    def load(cls, folder: Path, encoders: Embedder) -> Self:
        """Read what `save` wrote.

        Raises:
            RunError: a file is missing, or the encoders are not those of training.
        """
        content = read_json(folder / "attention.json")
        encoders.check(content["preprocessing"])
        members = []
        for number in range(content["members"]):
            place = folder / f"member-{number}"
            if not (place / "model.safetensors").is_file():
                raise RunError(f"{place} lacks model.safetensors, the weights of the model")
            with quiet_transformers():
                member = RiskModel.from_pretrained(place, local_files_only=True)
            for tensor in member.state_dict(keep_vars=True).values():
                tensor.data = tensor.data.clone()  # out of the file: see fusion.parts on alignment
            members.append(member)
        return cls(
            tasks=tuple(content["tasks"]),
            members=members,
            vocabulary=EventVocabulary.from_json(read_json(folder / "vocabulary.json")),
            encoders=encoders,
            parts=PartsConfig(**content["parts"]),
            kinds=content["kinds"],
        )


def _new_model(config: RiskConfig, seed: int) -> RiskModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RiskModel(config)


def _two_views(lesson: Lesson) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Give the tokens of some of train's images, and of another view of each."""
    timelines = lesson.train.timelines
    part = timelines.part(Modality.IMAGES).dropna(subset="image")
    newest = part.drop_duplicates("row", keep="last")["image"].astype(str)
    paths = [timelines.images / path for path in sorted(set(newest))]
    if len(paths) > _VIEWED_AT_MOST:
        rng = np.random.default_rng(lesson.seed)
        chosen = np.sort(rng.choice(len(paths), _VIEWED_AT_MOST, replace=False))
        paths = [paths[place] for place in chosen]
    if not paths:
        return None
    encoders = lesson.encoders
    first, second = encoders.images(paths), encoders.image_views(paths, progress=lesson.progress)
    return first, second


def _fit_fixed(
    model: RiskModel,
    train: Parts,
    vocabulary: EventVocabulary,
    views: tuple[list[np.ndarray], list[np.ndarray]] | None,
    subjects: np.ndarray,
    seed: int,
) -> Parts:
    """Set what is measured and not learnt, and give train's rows their wide log odds."""
    for layer, items, seen in (
        (model.notes, train.notes, None),
        (model.images, train.images, views),
    ):
        some = [item for row in items.tokens for item in row]
        fit_whitening(layer, some, views=seen, seed=seed)
    summaries: list[tuple[np.ndarray, ...]] = []
    with torch.inference_mode():
        for start in range(0, len(train), _ROWS_A_BATCH):
            batch = train.batch(range(start, min(start + _ROWS_A_BATCH, len(train))))
            note = model.notes.summary(batch["note_values"], batch["note_seen"])
            image = model.images.summary(batch["image_values"], batch["image_seen"])
            seen = [batch[f"{name}_seen"].flatten(1).any(1) for name in ("event", "note", "image")]
            summaries.append((note.numpy(), image.numpy(), torch.stack(seen, dim=1).numpy()))
    note, image, present = (np.concatenate(parts) for parts in zip(*summaries, strict=True))
    read = wide_features(vocabulary.features)[train.events.feature]
    fitted = fit_wide(
        model.wide,
        WideInputs(
            row=np.repeat(np.arange(len(train)), np.diff(train.events.start))[read],
            feature=train.events.feature[read],
            value=train.events.value[read],
            note=note,
            image=image,
            present=present,
            labels=train.labels,
            subjects=subjects,
        ),
        seed=seed,
    )
    return replace(train, wide=fitted.outside)
