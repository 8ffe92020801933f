"""Several processes of one machine that train one model together, as torchrun starts them.

The first does all that there is to do, as if it were alone: it reads, encodes, fits, chooses,
writes and speaks. The others wait at a door. Where a model is trained, the first hands them what it
trains and on what, and all take the steps together (`fusion.share`). So there is one truth, nobody
else reads a store or writes a run, and a run that goes on where it was killed needs no agreement.

Where one process fails, all end, and the first says why: what the other told it, or that it ended
without a word, as one does whose memory ran out.
"""

import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from ingest.errors import LimitError, MedweaveError, UsageError

__all__ = ["agreed", "help_out", "in_step", "is_helper", "place", "together"]

_T = TypeVar("_T")
_EVER = timedelta(days=365)
"""Helpers wait at the door for as long as the first encodes or fits what needs no help."""
_FAILED = "failed"


@dataclass
class _Company:
    """Hold how this process reaches the others."""

    store: Any
    door: Any
    """The process group in which helpers wait."""
    busy: bool = False
    """A model is being trained; an error leaves it so, since who waits in a step hears no word."""


class _EndedError(BaseException):
    """The launcher ends this process, since another one ended, or since it was told to."""


_company: _Company | None = None


def place() -> tuple[int, int]:
    """Say which process of a common training this is, and of how many: (0, 1) for one alone."""
    return _launched() if _company is not None else (0, 1)


def is_helper() -> bool:
    """Say whether torchrun started this process to help another one; imports nothing heavy."""
    return _launched()[0] > 0


def in_step(work: Callable[[], _T]) -> _T:
    """Do work in the first process, with the others at the door; alone, just do it.

    Raises:
        UsageError: the processes are of several machines, or too many for the GPUs.
        LimitError: another process ended without a word; its own error where it told one.
    """
    if _launched()[1] == 1:
        return work()
    _refuse()
    company = _join()
    before = signal.signal(signal.SIGTERM, _end)
    try:
        return work()
    except (Exception, _EndedError) as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's: what is said is said to its end
        if isinstance(error, MedweaveError) or not _is_of_another(error):
            raise
        _raise_for_another(company)
    finally:
        if signal.getsignal(signal.SIGTERM) is _end:
            signal.signal(signal.SIGTERM, before)
        _leave(company)


def help_out() -> None:
    """Wait at the door and help where a model is trained, until the first process is through.

    Where that one fails, it ends as well: the first speaks for itself. Where this one fails, it
    tells the first, and raises its error.
    """
    import torch.distributed as dist

    try:
        _refuse()
    except UsageError:  # of all of them; the first says so
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # waiting at the door, Python would not hear it
    company = _join()
    try:
        while True:
            box: list[Any] = [None]
            dist.broadcast_object_list(box, src=0, group=company.door)
            if box[0] is None:
                break
            work, arguments, options = box.pop()
            work(*arguments, **options)
            del arguments, options
    except Exception as error:
        if _is_of_another(error):
            return
        told = error if isinstance(error, MedweaveError) else _defect(error)
        with suppress(Exception):
            company.store.set(_FAILED, pickle.dumps(told))
        raise
    dist.destroy_process_group()


def together(work: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Call a module's function in every process, with the same arguments, at the same time.

    Raises:
        ValueError: torchrun started several processes, and they are not in step.
    """
    company = _company
    if company is None:
        if _launched()[1] > 1:
            raise ValueError(
                "torchrun started several processes: call fusion.processes.in_step in the first "
                "and help_out in the others, and train within"
            )
        return work(*arguments, **options)
    import torch.distributed as dist

    company.busy = True
    dist.broadcast_object_list([(work, arguments, options)], src=0, group=company.door)
    found = work(*arguments, **options)
    company.busy = False
    return found


def agreed(value: _T) -> _T:
    """Give what the first process has for a value, so that all go on in the same way."""
    if _company is None:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0, group=_company.door)
    return box[0]


def _launched() -> tuple[int, int]:
    """Read what torchrun says: the number of this process, and how many there are."""
    if "LOCAL_RANK" not in os.environ:
        return 0, 1
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _refuse() -> None:
    import torch

    count = _launched()[1]
    here = int(os.environ.get("LOCAL_WORLD_SIZE", str(count)))
    if here != count:
        raise UsageError(
            f"training takes the processes of one machine; torchrun started {count}, {here} of "
            "them here; leave out --nnodes"
        )
    if torch.cuda.is_available() and torch.cuda.device_count() < count:
        raise UsageError(
            f"each process needs a GPU of its own; torchrun started {count} and there are "
            f"{torch.cuda.device_count()}; lower --nproc-per-node"
        )


def _join() -> _Company:
    global _company
    import torch
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    store, number, count = next(iter(rendezvous("env://")))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    store = dist.PrefixStore("medweave", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=count)
    _company = _Company(store=store, door=dist.new_group(backend="gloo", timeout=_EVER))
    return _company


def _leave(company: _Company) -> None:
    global _company
    import torch.distributed as dist

    _company = None
    if company.busy:  # the others are not at the door: they end as this process does
        return
    with suppress(RuntimeError):  # they may be gone
        dist.broadcast_object_list([None], src=0, group=company.door)
        dist.destroy_process_group()


def _end(*_: object) -> NoReturn:
    raise _EndedError


def _is_of_another(error: BaseException) -> bool:
    """Tell what only follows from another process's end."""
    import torch.distributed as dist

    lost = isinstance(error, RuntimeError) and "gloo" in str(error)
    return lost or isinstance(error, (_EndedError, dist.DistError))


def _raise_for_another(company: _Company) -> NoReturn:
    told = None
    with suppress(Exception):
        if company.store.check([_FAILED]):
            told = pickle.loads(company.store.get(_FAILED))  # noqa: S301 - of our own process
    company.busy = True
    count = _launched()[1]
    raise told or LimitError(
        f"one of the {count} processes ended before its time, as happens where memory runs out or "
        "torchrun is stopped; the same command goes on with the models that were fitted"
    ) from None


def _defect(error: Exception) -> MedweaveError:
    if isinstance(error, MemoryError):
        return LimitError("there is not enough memory for all processes; lower --nproc-per-node")
    # The text of any other error may hold a patient's data: its kind must do.
    return LimitError(
        f"process {_launched()[0]} met an unexpected {type(error).__name__}; --debug shows where"
    )
