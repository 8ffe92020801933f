"""Rows whose finding a frozen encoder does not tell, with encoders of a few thousand weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image
from timm.models import save_for_hf
from torch import nn

from encoders.frozen import FrozenEncoders
from encoders.image import ImageConfig
from fusion.rows import Rows
from ingest.schema import Modality
from ingest.timeline import TIMELINE_COLUMNS, Timelines
from tests.fusion.small_encoders import write_bert

__all__ = ["noted_rows", "small_encoders", "striped_rows", "write_short_sighted"]

_MOMENT = pd.Timestamp("2024-03-01")
_FILLING = ("no", "complaint", "at", "all", "good", "exercise", "tolerance", "feels")


def write_short_sighted(place: Path) -> Path:
    """Write timm's smallest ResNet, each kernel of which sees one pixel: brightness, no shape."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = timm.create_model("test_resnet", pretrained=False)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
            middle = module.kernel_size[0] // 2
            kept = 3 * module.weight.data[:, :, middle, middle].clone()
            module.weight.data.zero_()
            module.weight.data[:, :, middle, middle] = kept
    save_for_hf(backbone, str(place), safe_serialization=True)
    return place


def small_encoders(place: Path, *, cache: Path | None = None) -> FrozenEncoders:
    """Give a short-sighted image encoder of 32 pixels a side, and a BERT of width 32."""
    if not (place / "resnet").is_dir():
        write_short_sighted(place / "resnet")
        write_bert(place / "bert")
    made = FrozenEncoders(cache, text=str(place / "bert"), image=str(place / "resnet"))
    made.image_config = ImageConfig(weights=str(place / "resnet"), size_px=32, grid=2)
    return made


def striped_rows(place: Path, n: int, seed: int) -> Rows:
    """Draw films whose stripes stand upright in the ill and lie in the well, as bright as each."""
    rng = np.random.default_rng(seed)
    ill = rng.random(n) < 0.5
    place.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for row in range(n):
        grey = 110 + 10 * rng.standard_normal((32, 32))
        stripes = 40 * np.sign(np.sin((np.arange(32) + rng.integers(8) + 0.5) * np.pi / 4))
        grey += stripes[None, :] if ill[row] else stripes[:, None]
        name = f"{seed}-{row}.png"
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(place / name)
        rows.append({"row": row, "image": name, "code": "IMAGE//DX//PA"})
    return _rows(rows, Modality.IMAGES, ill, place)


def noted_rows(place: Path, n: int, seed: int) -> Rows:
    """Write notes in which one of two words means something only beside one of two others."""
    rng = np.random.default_rng(seed)
    ill = rng.random(n) < 0.5
    rows: list[dict[str, Any]] = []
    for row in range(n):
        one = rng.random() < 0.5
        words = ["breathless" if one else "well", "swollen" if one ^ ill[row] else "tired"]
        words += [str(rng.choice(_FILLING))]
        rng.shuffle(words)
        rows.append({"row": row, "text_value": " ".join(words), "code": "NOTE//LOINC//11488-4"})
    return _rows(rows, Modality.NOTES, ill, place)


def _rows(rows: list[dict[str, Any]], modality: Modality, ill: np.ndarray, place: Path) -> Rows:
    events = pd.DataFrame(rows).reindex(columns=list(TIMELINE_COLUMNS))
    events["time"], events["days_before"] = _MOMENT - pd.Timedelta(days=1), 1.0
    events["modality"] = str(modality)
    index = pd.DataFrame({"subject_id": np.arange(1, len(ill) + 1), "prediction_time": _MOMENT})
    timelines = Timelines(index=index, events=events, images=place)
    return Rows(timelines=timelines, labels=ill[:, None].astype(np.float32))
