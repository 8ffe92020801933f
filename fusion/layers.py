"""The pieces of the fusion model: attention, item tokens, and one bottleneck layer.

Everything here treats `seen` strictly: what stands where it is false is replaced before any
arithmetic touches it, so that padding and hidden content cannot change a bit.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.time import TimeEncoding
from fusion.share import Dropout

__all__ = ["Attention", "BottleneckLayer", "GatedUnit", "ItemTokens"]


class Attention(nn.Module):
    """Attend from `q` to `n` tokens with several heads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ask = nn.Linear(width, width, bias=False)
        self.offer = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        y: Float[Tensor, "b n d"],
        seen: Bool[Tensor, "b q n"] | None = None,
        *,
        weights: bool = False,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b q n"] | None]:
        """Give what was attended to and, where asked for, the weights averaged over heads.

        Each query must see at least one token.
        """
        query = self.ask(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = self.offer(y).unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, 1)
        mask = None if seen is None else seen[:, None]
        given = None
        if weights:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            shares = scores.softmax(dim=-1)
            given = shares.mean(dim=1)
            attended = shares @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value, mask)
        return self.out(attended.transpose(1, 2).flatten(2)), given


class GatedUnit(nn.Module):
    """Multiply two views of a token: products of what different modalities say are learnt here."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.both = nn.Linear(width, 4 * width)
        self.out = nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Give what is to be added to `x`."""
        gate, value = self.both(self.norm(x)).chunk(2, dim=-1)
        return self.dropout(self.out(gate * value))


class ItemTokens(nn.Module):
    """Pool each note or image to a few tokens.

    Frozen features are centred and whitened by what train showed (`centre` and `whiten` are not
    trained), then a few learned queries pool them; one more token is a linear view of the item as a
    whole (its features side by side where it has as many as `positions`, else their mean), in the
    directions that `fusion.whitening` finds worth it.
    """

    def __init__(
        self,
        *,
        raw_width: int,
        width: int,
        queries: int,
        heads: int,
        dropout: float,
        components: int,
        positions: int,
        summary: int,
        kinds: int,
    ):
        super().__init__()
        self.positions = positions
        whole = raw_width * max(positions, 1)
        self.register_buffer("centre", torch.zeros(raw_width))
        self.register_buffer("whiten", torch.zeros(raw_width, components))
        self.register_buffer("whole_centre", torch.zeros(whole))
        self.register_buffer("whole_whiten", torch.zeros(whole, summary))
        self.project = nn.Linear(components, width)
        self.project_whole = nn.Linear(summary, width)
        self.position = nn.Parameter(torch.zeros(positions, width)) if positions else None
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.5)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.dropout = Dropout(dropout)
        self.time = TimeEncoding(width)
        self.kind = nn.Embedding(kinds + 1, width)
        nn.init.normal_(self.kind.weight, std=0.1)

    def forward(
        self,
        values: Float[Tensor, "b i n r"],
        seen: Bool[Tensor, "b i n"],
        time: Float[Tensor, "b i"],
        kind: Int[Tensor, "b i"],
    ) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"], Float[Tensor, "b s"]]:
        """Give `queries + 1` tokens for each of the i items, and the mean of wholes."""
        b, i, n, _ = values.shape
        values, seen = values.flatten(0, 1), seen.flatten(0, 1)
        there = seen.any(dim=1)
        values = torch.where(seen[..., None], values, self.centre)
        x = self.project((values - self.centre) @ self.whiten)
        if self.position is not None:
            x = x + self.position[torch.arange(n, device=x.device) % self.positions]
        x = self.norm(x)
        readable = seen | ~there[:, None]  # an absent item reads its padding, and is masked later
        queries = self.queries.expand(b * i, -1, -1)
        pooled, _ = self.attention(queries, x, readable[:, None].expand(-1, queries.shape[1], -1))
        whole = self._whole(values, seen)
        pooled = torch.cat([pooled, self.project_whole(whole)[:, None]], dim=1)
        about = self.time(time.flatten()) + self.kind(kind.flatten())
        pooled = self.dropout(pooled) + about[:, None]
        count = pooled.shape[1]
        return (
            pooled.unflatten(0, (b, i)).flatten(1, 2),
            there.view(b, i, 1).expand(b, i, count).flatten(1),
            _mean(whole.unflatten(0, (b, i)), there.view(b, i)),
        )

    def summary(
        self, values: Float[Tensor, "b i n r"], seen: Bool[Tensor, "b i n"]
    ) -> Float[Tensor, "b s"]:
        """Give the mean of each row's items as wholes; 0 where there is none."""
        b, i, _, _ = values.shape
        flat = torch.where(seen[..., None], values, self.centre).flatten(0, 1)
        whole = self._whole(flat, seen.flatten(0, 1))
        return _mean(whole.unflatten(0, (b, i)), seen.any(dim=2))

    def _whole(
        self, values: Float[Tensor, "m n r"], seen: Bool[Tensor, "m n"]
    ) -> Float[Tensor, "m s"]:
        if self.positions:
            lacking = max(0, self.positions - values.shape[1])
            flat = F.pad(values[:, : self.positions], (0, 0, 0, lacking)).flatten(1)
        else:
            there = seen[..., None].to(values.dtype)
            flat = (values * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        return (flat - self.whole_centre) @ self.whole_whiten


def _mean(values: Float[Tensor, "b i s"], seen: Bool[Tensor, "b i"]) -> Float[Tensor, "b s"]:
    there = seen[..., None]
    return torch.where(there, values, 0.0).sum(dim=1) / there.sum(dim=1).clamp(min=1)


class BottleneckLayer(nn.Module):
    """Let latents read each modality's tokens, then let latents and queries talk.

    Each modality is attended to by itself and the answers are added: with one softmax over all,
    a hundred laboratory values would drown one image.
    """

    def __init__(self, width: int, heads: int, dropout: float, modalities: int):
        super().__init__()
        self.read_norm = nn.LayerNorm(width)
        self.read = nn.ModuleList(Attention(width, heads) for _ in range(modalities))
        self.talk_norm = nn.LayerNorm(width)
        self.talk = Attention(width, heads)
        self.gated = GatedUnit(width, dropout)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b v l d"],
        latents: int,
        tokens: list[tuple[Float[Tensor, "b _ d"], Bool[Tensor, "b v _"]]],
        *,
        weights: bool = False,
    ) -> tuple[Float[Tensor, "b v l d"], list[Tensor], list[Tensor | None]]:
        """Give the latents and queries, and for each modality what it answered the latents.

        `v` are views of the same rows, which differ in what of the tokens is seen: keys and values
        are computed once for all. The last answer is, where asked for, what the latents looked at
        in each modality, [b v l n].
        """
        v = x.shape[1]
        asking = self.read_norm(x[:, :, :latents]).flatten(1, 2)
        answers, looks = [], []
        for read, (values, seen) in zip(self.read, tokens, strict=True):
            answer, look = read(asking, values, seen.repeat_interleave(latents, 1), weights=weights)
            answers.append(answer.unflatten(1, (v, latents)))
            looks.append(None if look is None else look.unflatten(1, (v, latents)))
        heard = torch.stack(answers).sum(dim=0)
        x = torch.cat([x[:, :, :latents] + self.dropout(heard), x[:, :, latents:]], dim=2)
        normed = self.talk_norm(x).flatten(0, 1)
        x = x + self.dropout(self.talk(normed, normed)[0]).unflatten(0, (-1, v))
        return x + self.gated(x), answers, looks
