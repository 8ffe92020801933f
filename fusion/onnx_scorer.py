"""Score timelines with what `medweave export` wrote: onnxruntime, and no torch model.

onnx/
  export.json         tasks, calibration, preprocessing, sizes, the run's manifest hash, and the
                      SHA-256 of each file below
  text.onnx, image.onnx, fusion.onnx     the graphs (`fusion.onnx_graphs`)
  tokenizer/          how text.onnx wants a text cut, as Hugging Face tokenizers read it
  vocabulary.json     features of the events (`encoders.vocabulary`)
  export_report.json  how it compares with the run; no part of the export
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import expit
from torch import Tensor

from encoders.onnx_frozen import OnnxEncoders, open_graph
from encoders.vocabulary import EventVocabulary
from fusion.calibration import Calibrator
from fusion.parts import Parts, PartsConfig
from fusion.rows import drop_codes
from fusion.run import digest_files, read_json
from fusion.scoring import ALL_MODALITIES
from ingest.errors import RunError
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["EXPORT_LAYOUT", "PARTS", "OnnxScorer", "exported_files", "feed", "verify_export"]

EXPORT_LAYOUT = 1
"""Raised when what an export holds changes: old ones are exported anew."""

PARTS: dict[str, tuple[str, ...]] = {
    "event_feature": ("rows", "events"),
    "event_value": ("rows", "events"),
    "event_time": ("rows", "events"),
    "event_seen": ("rows", "events"),
    "note_values": ("rows", "notes", "note_tokens"),
    "note_seen": ("rows", "notes", "note_tokens"),
    "note_time": ("rows", "notes"),
    "note_kind": ("rows", "notes"),
    "image_values": ("rows", "images"),
    "image_seen": ("rows", "images"),
    "image_time": ("rows", "images"),
    "image_kind": ("rows", "images"),
}
"""Inputs of fusion.onnx, in order, with those of their axes, from the first, that may vary."""

_ROWS_A_BATCH = 64
_SMALLEST = 1e-6  # as fusion.attention has it
_SAID = (
    "layout",
    "sha256",
    "tasks",
    "calibration",
    "preprocessing",
    "parts",
    "kinds",
    "image_tokens",
)


class OnnxScorer:
    """Score with an exported attention model, calibrated; a Scorer (`fusion.scoring`)."""

    tasks: tuple[str, ...]

    def __init__(self, folder: Path, *, threads: int = 1):
        """Check and open an export.

        Args:
            folder: what `medweave export` wrote.
            threads: of the processor that one operation may use.

        Raises:
            RunError: a file is missing, was changed, or is of another version.
            UsageError: onnxruntime is not installed.
        """
        said = verify_export(folder)
        self.tasks = tuple(said["tasks"])
        self._encoders = OnnxEncoders(folder, said["preprocessing"], threads=threads)
        self._graph = open_graph(folder / "fusion.onnx", threads=threads)
        self._vocabulary = EventVocabulary.from_json(read_json(folder / "vocabulary.json"))
        self._parts = PartsConfig(**said["parts"])
        self._kinds = list(said["kinds"])
        self._image_tokens = int(said["image_tokens"])
        self._calibrators = [Calibrator.from_json(said["calibration"][t]) for t in self.tasks]
        self._exclude_codes = tuple(said["exclude_codes"])

    def score(
        self, timelines: Timelines, modalities: frozenset[Modality] = ALL_MODALITIES
    ) -> Float64[np.ndarray, "b k"]:
        """Give each row's risk of each task, as the run's own attention model does."""
        parts = Parts.read(
            drop_codes(timelines, self._exclude_codes).only(modalities),
            self._vocabulary,
            self._encoders,
            self._parts,
            kinds=self._kinds,
            widths=(self._encoders.text_width, self._encoders.image_width),
        )
        logits = [np.zeros((0, len(self.tasks)))]
        for start in range(0, len(parts), _ROWS_A_BATCH):
            batch = parts.batch(range(start, min(start + _ROWS_A_BATCH, len(parts))))
            told = self._graph.run(None, feed(batch, self._image_tokens))[0]
            logits.append(told.astype(np.float64))
        risks = np.clip(expit(np.concatenate(logits)), _SMALLEST, 1 - _SMALLEST)
        columns = [fit.apply(risks[:, i]) for i, fit in enumerate(self._calibrators)]
        return np.stack(columns, axis=1)


def feed(batch: Mapping[str, Tensor], image_tokens: int) -> dict[str, np.ndarray]:
    """Give a batch of `Parts` as fusion.onnx takes it: images padded to `image_tokens`.

    Raises:
        RunError: an image has more tokens than any of train's had.
    """
    arrays = {name: batch[name].numpy() for name in PARTS}
    found = arrays["image_seen"].shape[2]
    if found > image_tokens:
        raise RunError(
            f"an image must have at most {image_tokens} tokens, as in training; got {found}"
        )
    lacking = [(0, 0), (0, 0), (0, image_tokens - found)]
    arrays["image_seen"] = np.pad(arrays["image_seen"], lacking)
    arrays["image_values"] = np.pad(arrays["image_values"], [*lacking, (0, 0)])
    return arrays


def exported_files(folder: Path) -> list[Path]:
    """List the files that export.json states the SHA-256 of, sorted."""
    names = ("text.onnx", "image.onnx", "fusion.onnx", "vocabulary.json")
    found = [folder / name for name in names if (folder / name).is_file()]
    found += [file for file in (folder / "tokenizer").rglob("*") if file.is_file()]
    return sorted(found)


def verify_export(folder: Path) -> dict[str, Any]:
    """Check each file of an export against export.json, and give what that says.

    Raises:
        RunError: a file is missing, was changed or was added, or the layout is another.
    """
    if not (folder / "export.json").is_file():
        raise RunError(
            f"{folder / 'export.json'} is not there; an export is what `medweave export` writes"
        )
    said = read_json(folder / "export.json", *_SAID, "exclude_codes")
    if said["layout"] != EXPORT_LAYOUT:
        raise RunError(
            f"{folder} was exported by another version of Medweave (layout {said['layout']}, this "
            f"one reads {EXPORT_LAYOUT}); export again"
        )
    stated, found = said["sha256"], digest_files(folder, exported_files(folder))
    for name in sorted(stated.keys() | found.keys()):
        if name not in found:
            raise RunError(f"{folder}: {name} is missing; export again")
        if name not in stated:
            raise RunError(f"{folder}: {name} was added after the export; export again")
        if found[name] != stated[name]:
            raise RunError(
                f"{folder}: {name} was changed since it was exported (SHA-256 differs); "
                "export again"
            )
    return said
