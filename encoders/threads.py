"""How torch shares out the processor's cores.

Our tensors are small: splitting each operation over cores gains a sixth on an idle machine, and on
a busy one every operation waits for the slowest core (measured on two shared cores: 48 images a
second with one thread an operation, 3 to 14 with two). So an operation runs on one core, and whole
batches run side by side. As a gift, results do not depend on the number of cores to the last bit.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["one_thread", "side_by_side"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@contextmanager
def one_thread() -> Iterator[None]:
    """Run each operation of torch and NumPy on one core, and give the others back after."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _pools().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _pools() -> ThreadpoolController:
    """Find NumPy's and SciPy's pools, once: looking through all that is loaded takes 4 ms.

    What is imported here has loaded them by then.
    """
    import scipy.linalg  # noqa: F401 - has a BLAS of its own

    return ThreadpoolController()


def side_by_side(
    work: Callable[[_In], _Out], batches: Iterable[_In], *, device: str = "cpu"
) -> Iterator[_Out]:
    """Map over batches on as many cores as torch was given, in order; on a GPU one by one."""
    workers = torch.get_num_threads() if device == "cpu" else 1
    with (
        one_thread(),
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        yield from pool.map(work, batches)
