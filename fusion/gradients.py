"""Integrated gradients of the attention model: which events, sentences and places made the risk.

From the average of train's notes or films (or events that say nothing) a straight way leads to what
the row has; along it each part's share of the change is collected (Sundararajan, Taly and Yan,
"Axiomatic attribution for deep networks", 2017). The shares add up to the whole change. Of an
image, parts are the cells of the feature map that the model reads, so this is Grad-CAM with signs,
integrated over the way (Selvaraju et al. 2017; Sattarzadeh et al. 2021).

The events of the model's wide part are a sum and need no way.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.threads import one_thread
from encoders.tokens import Tokens
from fusion.attention import AttentionCandidate
from fusion.inside import Inside, code_of
from fusion.layers import ItemTokens
from fusion.model import RiskModel
from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["AttentionInside"]

_STEPS = 16
"""Points of the Gauss-Legendre rule along the way; the sum is then right to some 1e-4."""

_NAME = {Modality.EVENTS: "event", Modality.NOTES: "note", Modality.IMAGES: "image"}


class AttentionInside:
    """Share out the mean log odds of the members for one row; a `fusion.inside.TakeApart`."""

    def __init__(self, model: AttentionCandidate, timelines: Timelines, task: int):
        """Read the row, once for all subsets of modalities."""
        self._model, self._timelines, self._task = model, timelines, task
        self._parts = model.read(timelines)
        self._batch = self._parts.batch([0])
        self._batch.pop("labels", None)

    def __call__(self, modality: Modality, shown: frozenset[Modality]) -> Inside:
        """Take one modality apart, with what is not shown masked."""
        batch = dict(self._batch)
        for hidden in set(Modality) - shown:
            seen = f"{_NAME[hidden]}_seen"
            batch[seen] = torch.zeros_like(batch[seen])
        if not bool(batch[f"{_NAME[modality]}_seen"].any()):
            return Inside()
        with one_thread():
            found = [_member(member, batch, modality, self._task) for member in self._model.members]
        shares = np.mean([shares for shares, _ in found], axis=0)
        if modality == Modality.EVENTS:
            events: dict[str, float] = {}
            for feature, share in zip(self._parts.events.feature, shares.tolist(), strict=True):
                code = code_of(self._model.vocabulary.features[int(feature)])
                events[code] = events.get(code, 0.0) + share
            return Inside(events=events)
        slopes = np.mean([slopes for _, slopes in found], axis=0)
        seen = batch[f"{_NAME[modality]}_seen"][0].numpy()
        numbers = _item_numbers(self._model, self._timelines, modality)
        each = {number: shares[i][seen[i]] for i, number in enumerate(numbers)}
        if modality == Modality.IMAGES:
            return Inside(images=each)
        steep = {number: slopes[i][seen[i]] for i, number in enumerate(numbers)}
        return Inside(sentences=each, slopes=steep)


def _member(
    member: RiskModel, batch: dict[str, Tensor], modality: Modality, task: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give one member's shares, [e] of events or [i n] of items, and slopes, [i n d]."""
    points, weights = np.polynomial.legendre.leggauss(_STEPS)
    along = torch.tensor((points + 1) / 2, dtype=torch.float32)
    weight = torch.tensor(weights / 2, dtype=torch.float32)
    rows: dict[str, Any] = {
        name: t.expand(_STEPS, *t.shape[1:]).clone() for name, t in batch.items()
    }
    if modality == Modality.EVENTS:
        share = along[:, None].repeat(1, batch["event_seen"].shape[1]).requires_grad_()
        with member.events.register_forward_hook(lambda *call: _scaled(call[-1], share)):
            logits = _logits(member, rows, share, task)
        (slope,) = torch.autograd.grad(logits.sum(), share)
        found = (weight[:, None] * slope).sum(dim=0)
        return found[batch["event_seen"][0]].double().numpy(), np.zeros(0)
    name = f"{_NAME[modality]}_values"
    layer = member.notes if modality == Modality.NOTES else member.images
    values = batch[name]
    start = _average(layer, values).expand_as(values)
    away = values - start
    scale = along[:, None, None, None]
    rows[name] = (start + scale * away).requires_grad_()
    logits = _logits(member, rows, None, task)
    (slope,) = torch.autograd.grad(logits.sum(), rows[name])
    slope = (weight[:, None, None, None] * slope).sum(dim=0)
    return (slope * away[0]).sum(dim=-1).double().numpy(), slope.double().numpy()


def _scaled(tokens: Tokens, share: Tensor) -> Tokens:
    return replace(tokens, values=tokens.values * share[..., None])


def _logits(member: RiskModel, rows: dict[str, Any], share: Tensor | None, task: int) -> Tensor:
    """Ask a member, with the share of each event that is there where events are on the way."""
    note = member.notes.summary(rows["note_values"], rows["note_seen"])
    image = member.images.summary(rows["image_values"], rows["image_seen"])
    seen = [rows[f"{name}_seen"].flatten(1).any(dim=1) for name in _NAME.values()]
    asked = [rows[f"event_{what}"] for what in ("feature", "value", "seen")]
    wide = member.wide(*asked, note, image, torch.stack(seen, dim=1))
    if share is not None:
        first = (share[..., None] * _curves(member, rows)).sum(dim=1)
        wide = torch.cat([first[:, None], wide[:, 1:]], dim=1)
    return member(**rows, wide=wide).logits[:, task]


def _curves(member: RiskModel, rows: dict[str, Any]) -> Tensor:
    """Give each event's log odds in the wide part, [1 e k]: it is asked for one at a time."""
    feature, value, seen = (rows[f"event_{what}"][0] for what in ("feature", "value", "seen"))
    alone = len(feature)
    nothing = [
        feature.new_zeros((alone, weight.shape[0] - 1), dtype=torch.float32)
        for weight in (member.wide.note_weight, member.wide.image_weight)
    ]
    present = torch.zeros((alone, len(_NAME)), dtype=torch.bool)
    present[:, 0] = True
    blocks = member.wide(feature[:, None], value[:, None], seen[:, None], *nothing, present)
    return blocks[None, :, 0].detach()


def _average(layer: ItemTokens, values: Tensor) -> Tensor:
    """Give the item that says nothing as a whole: the average of train's, [1 1 n d]."""
    n, width = values.shape[2:]
    if layer.positions:
        whole = layer.whole_centre.view(layer.positions, width)
        lacking = layer.centre.expand(max(0, n - layer.positions), width)
        return torch.cat([whole[:n], lacking])[None, None]
    return layer.whole_centre.expand(1, 1, n, width)


def _item_numbers(model: AttentionCandidate, timelines: Timelines, modality: Modality) -> list[int]:
    """Say which notes or images the model read, newest first, as `Timelines.part` numbers them."""
    part = timelines.part(modality)
    if modality == Modality.IMAGES:
        return part.index[part["image"].notna()][::-1][: model.parts.images_at_most].tolist()
    part = part[part["text_value"].notna()].iloc[::-1].head(model.parts.notes_at_most)
    tokens = model._encoders.notes(part["text_value"].astype(str).tolist())
    return [int(n) for n, read in zip(part.index, tokens, strict=True) if len(read)]
