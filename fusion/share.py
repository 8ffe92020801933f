"""The rows of a batch that one of several processes has, and what follows from having only some.

Processes that train a model together (`fusion.processes`) each read some rows of every batch. So
that a step is the one that a single process would take, whatever their number:

- What is drawn for a row (dropout, hidden modalities) is drawn for the whole batch by every
  process, from the same state, and each takes its own rows.
- A mean over the known labels divides by how many the whole batch has, and not the rows here:
  labels have gaps, and a mean of the processes' means would weigh those labels most that have the
  fewest beside them.
- A process for whom a last, small batch has no row reads one that is another's, without its labels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.processes import place

__all__ = [
    "Dropout",
    "Share",
    "draw_uniform",
    "known_labels",
    "share_rows",
    "sharing",
    "whole_loss",
]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Say which rows of a whole batch are here: those from `first` on."""

    first: int
    rows: int
    whole: int
    """Rows of the whole batch."""
    processes: int
    borrowed: bool = False
    """The one row here is another process's, for the batch has too few."""

    def of(self, rows: Sequence[int]) -> list[int]:
        """Take the rows that are here out of those of the whole batch."""
        return list(rows[self.first : self.first + self.rows])

    def cut(self, drawn: Tensor) -> Tensor:
        """Take what was drawn for the rows here; the first axis counts rows, or parts of them."""
        each = len(drawn) // self.whole
        return drawn[self.first * each : (self.first + self.rows) * each]


# Of a context, as the model is called deep within the Trainer and has no other way to be told.
_share: ContextVar[Share | None] = ContextVar("share", default=None)


def share_rows(whole: int, among: tuple[int, int] | None = None) -> Share | None:
    """Give this process's share of a batch; None where it has the batch to itself.

    Args:
        whole: rows of the batch, at least 1.
        among: number of the process and how many there are; as `fusion.processes.place` by default.

    >>> share_rows(5, (1, 2))
    Share(first=2, rows=3, whole=5, processes=2, borrowed=False)
    >>> share_rows(1, (0, 2))
    Share(first=0, rows=1, whole=1, processes=2, borrowed=True)
    """
    number, processes = among or place()
    if processes == 1:
        return None
    first, end = (whole * edge // processes for edge in (number, number + 1))
    if first == end:
        return Share(first=0, rows=1, whole=whole, processes=processes, borrowed=True)
    return Share(first=first, rows=end - first, whole=whole, processes=processes)


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Read a share of a batch within this context."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


class Dropout(nn.Dropout):
    """Drop as `nn.Dropout` does, of a row the same whoever reads it; rows come first."""

    def forward(self, input: Tensor) -> Tensor:
        """Zero some and scale the others."""
        share = _share.get() if self.training else None
        if share is None:
            return super().forward(input)
        whole = input.new_ones((len(input) // share.rows * share.whole, *input.shape[1:]))
        return input * share.cut(F.dropout(whole, self.p))


def draw_uniform(shape: Sequence[int], device: torch.device) -> Tensor:
    """Draw from 0 to below 1, for a row the same whoever reads it; rows come first."""
    share = _share.get()
    if share is None:
        return torch.rand(tuple(shape), device=device)
    return share.cut(torch.rand((shape[0] // share.rows * share.whole, *shape[1:]), device=device))


def known_labels(known: Tensor) -> Tensor:
    """Count the labels that a mean divides by, at least 1.

    Shared, it is the whole batch's over the number of processes, since these then take the mean of
    their gradients.
    """
    share = _share.get()
    if share is None:
        return known.sum().clamp(min=1)
    return _added(known.sum()).clamp(min=1) / share.processes


def whole_loss(loss: Tensor) -> Tensor:
    """Give the whole batch's loss from that of a share: the same number in every process."""
    share = _share.get()
    return loss if share is None else _added(loss.detach()) / share.processes


def _added(mine: Tensor) -> Tensor:
    """Add up over all processes."""
    from torch.distributed import all_reduce

    added = mine.clone()
    all_reduce(added)
    return added
