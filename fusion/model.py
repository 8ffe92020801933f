"""The fusion model: bottleneck attention over the tokens of three modalities.

Notable choices:

- A few latents and one query a task; in each layer the latents read each modality's tokens, then
  latents and queries attend to each other. The cost is linear in the tokens.
- What a row lacks is one learned missing token a modality, so that no row is refused and "has no
  image" may itself be read. A hidden modality and a lacking one are the same.
- While it trains, each batch is read twice, once in full and once with a random subset of what each
  row has, so that every subset of modalities is trained and none at the cost of the whole.
- Gated units multiply, so that interactions between modalities need no depth to be learnt.
- The log odds are those of a penalised regression (`fusion.wide`) plus what attention finds on top
  of it, which starts at 0: with few patients there is little, and early stopping keeps it so.
- One auxiliary head a modality keeps the loudest modality from silencing the others.
"""

from typing import no_type_check

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel

from encoders.events import EventsConfig, EventsEncoder, EventsPart
from fusion.layers import BottleneckLayer, ItemTokens
from fusion.output import RiskOutput
from fusion.share import draw_uniform, known_labels
from fusion.wide import WidePart, shown_blocks

__all__ = ["RiskConfig", "RiskModel", "masked_loss"]

_MODALITIES = 3


@no_type_check  # transformers makes a dataclass of it that takes more than its own fields
class RiskConfig(PreTrainedConfig):
    """Size the fusion model."""

    model_type = "medweave_risk"

    tasks: int = 1
    features: int = 4
    """Features of the events' vocabulary."""
    note_width: int = 384
    """Width of a frozen note token."""
    image_width: int = 432
    """Width of a frozen image token."""
    image_tokens: int = 16
    """Frozen tokens of an image, in the order of their places."""
    kinds: int = 0
    """Kinds of notes and images that train had."""
    width: int = 64
    layers: int = 2
    latents: int = 8
    heads: int = 4
    item_queries: int = 2
    """Learned queries that pool one note or image."""
    note_components: int = 64
    image_components: int = 64
    """Directions of a frozen token that are kept."""
    note_summary: int = 64
    image_summary: int = 64
    """Directions of a whole item that are kept."""
    bins: int = 8
    rank: int = 8
    dropout: float = 0.4
    hidden_share: float = 0.4
    """Chance that a modality is hidden from the second reading while training."""
    subset_weight: float = 0.5
    auxiliary_weight: float = 0.3


class RiskModel(PreTrainedModel):
    """Turn the parts of rows (`fusion.parts`) into log odds of each task."""

    config_class = RiskConfig
    base_model_prefix = "risk"
    main_input_name = "event_feature"

    def __init__(self, config: RiskConfig):
        super().__init__(config)
        width, heads, dropout = config.width, config.heads, config.dropout
        if width % heads:
            raise ValueError(f"width must be a multiple of heads; got width={width}, heads={heads}")
        self.events = EventsEncoder(
            EventsConfig(features=config.features, width=width, bins=config.bins, rank=config.rank)
        )
        shared = {
            "width": width,
            "queries": config.item_queries,
            "heads": heads,
            "dropout": dropout,
            "kinds": config.kinds,
        }
        self.notes = ItemTokens(
            raw_width=config.note_width,
            components=config.note_components,
            positions=0,
            summary=config.note_summary,
            **shared,
        )
        self.images = ItemTokens(
            raw_width=config.image_width,
            components=config.image_components,
            positions=config.image_tokens,
            summary=config.image_summary,
            **shared,
        )
        self.wide = WidePart(
            features=config.features,
            notes=config.note_summary,
            images=config.image_summary,
            tasks=config.tasks,
        )
        self.modality = nn.Parameter(torch.randn(_MODALITIES, width) * 0.1)
        self.missing = nn.Parameter(torch.randn(_MODALITIES, width) * 0.1)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(_MODALITIES))
        self.latents = nn.Parameter(torch.randn(config.latents, width) * 0.5)
        self.queries = nn.Parameter(torch.randn(config.tasks, width) * 0.5)
        self.layers = nn.ModuleList(
            BottleneckLayer(width, heads, dropout, _MODALITIES) for _ in range(config.layers)
        )
        self.final_norm = nn.LayerNorm(width)
        self.head = nn.Parameter(torch.zeros(config.tasks, width))
        self.auxiliary = nn.ModuleList(nn.Linear(width, config.tasks) for _ in range(_MODALITIES))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights as the modules made them."""

    def forward(
        self,
        event_feature: Int[Tensor, "b e"],
        event_value: Float[Tensor, "b e"],
        event_time: Float[Tensor, "b e"],
        event_seen: Bool[Tensor, "b e"],
        note_values: Float[Tensor, "b i n dn"],
        note_seen: Bool[Tensor, "b i n"],
        note_time: Float[Tensor, "b i"],
        note_kind: Int[Tensor, "b i"],
        image_values: Float[Tensor, "b j m di"],
        image_seen: Bool[Tensor, "b j m"],
        image_time: Float[Tensor, "b j"],
        image_kind: Int[Tensor, "b j"],
        wide: Float[Tensor, "b 5 k"] | None = None,
        labels: Float[Tensor, "b k"] | None = None,
        output_attentions: bool = False,
    ) -> RiskOutput:
        """Give log odds, and with labels the loss; what is padding is not read."""
        part = EventsPart(
            feature=event_feature, value=event_value, seen=event_seen, time=event_time
        )
        events = self.events(part)
        notes, note_shown, note_whole = self.notes(note_values, note_seen, note_time, note_kind)
        images, image_shown, image_whole = self.images(
            image_values, image_seen, image_time, image_kind
        )
        tokens = [
            (norm(torch.where(seen[..., None], values, 0.0) + self.modality[m]), seen)
            for m, (norm, values, seen) in enumerate(
                zip(
                    self.norms,
                    (events.values, notes, images),
                    (event_seen, note_shown, image_shown),
                    strict=True,
                )
            )
        ]
        present = torch.stack([seen.any(dim=1) for _, seen in tokens], dim=1)
        if wide is None:
            wide = self.wide(
                event_feature, event_value, event_seen, note_whole, image_whole, present
            )
        views = [present]
        if self.training:
            hidden = draw_uniform(present.shape, present.device) < self.config.hidden_share
            views.append(present & ~hidden)
        logits, auxiliary, attentions = self._fuse(
            tokens, torch.stack(views, dim=1), wide, weights=output_attentions
        )
        loss = None
        if labels is not None:
            loss = masked_loss(logits[:, 0], labels)
            if self.training:
                known = torch.where(present[..., None], labels[:, None], torch.nan)
                loss = loss + self.config.subset_weight * masked_loss(logits[:, 1], labels)
                loss = loss + self.config.auxiliary_weight * masked_loss(auxiliary, known)
        return RiskOutput(
            loss=loss,
            logits=logits[:, 0],
            auxiliary=auxiliary,
            attentions=attentions if output_attentions else None,
        )

    def _fuse(
        self,
        tokens: list[tuple[Tensor, Tensor]],
        shown: Bool[Tensor, "b v s"],
        wide: Float[Tensor, "b 5 k"],
        *,
        weights: bool,
    ) -> tuple[Tensor, Tensor, tuple[tuple[Tensor | None, ...], ...]]:
        """Read the tokens in v views, each of which shows some modalities."""
        b, v, _ = shown.shape
        padded = []
        for m, (values, seen) in enumerate(tokens):
            here = shown[:, :, m : m + 1]
            values = torch.cat([self.missing[m].expand(b, 1, -1), values], dim=1)
            padded.append((values, torch.cat([~here, seen[:, None] & here], dim=2)))
        x = torch.cat([self.latents, self.queries]).expand(b, v, -1, -1)
        first: list[Tensor] = []
        attentions = []
        for layer in self.layers:
            x, answers, looks = layer(x, self.config.latents, padded, weights=weights)
            first = first or answers
            attentions.append(tuple(None if look is None else look[:, 0] for look in looks))
        auxiliary = [
            head(answer[:, 0].mean(dim=1))
            for head, answer in zip(self.auxiliary, first, strict=True)
        ]
        asked = self.final_norm(x[:, :, self.config.latents :])
        blocks = torch.where(shown_blocks(shown)[..., None], wide[:, None, :-1], 0.0)
        logits = wide[:, None, -1] + blocks.sum(dim=2) + (asked * self.head).sum(dim=-1)
        return logits, torch.stack(auxiliary, dim=1), tuple(attentions)


def masked_loss(logits: Float[Tensor, "..."], labels: Float[Tensor, "..."]) -> Tensor:
    """Give the mean log-loss over the labels that are known; 0 where none is.

    Of a share of a batch it is that share's part, times the number of processes.

    >>> masked_loss(torch.zeros(1, 2), torch.tensor([[1.0, float("nan")]])).item()
    0.6931471824645996
    """
    known = torch.isfinite(labels)
    losses = F.binary_cross_entropy_with_logits(
        logits, torch.where(known, labels, 0.0), reduction="none"
    )
    return torch.where(known, losses, 0.0).sum() / known_labels(known)
