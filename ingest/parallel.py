"""Do several things at a time, and stop all of them at the first failure."""

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tqdm import tqdm

__all__ = ["cores", "in_parallel"]

_T = TypeVar("_T")
_STOPPING_S = 5.0


def cores() -> int:
    """Say how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(
    items: Iterable[_T],
    do: Callable[[_T], object],
    *,
    workers: int,
    stop: Callable[[], None],
    bar: dict[str, Any],
) -> None:
    """Do each item, `workers` at a time, taking the next only when one is done.

    Args:
        items: What is to be done; may be made as it is taken.
        do: Does one item, in a thread.
        workers: Threads.
        stop: Called at the first failure (or Ctrl-C), to end what the other threads wait for.
        bar: tqdm's arguments.

    Raises:
        BaseException: what `do` raised first.
    """
    failures: list[BaseException] = []
    taking = threading.Lock()
    left = iter(items)

    def work() -> None:
        try:
            while not failures:
                with taking:
                    try:
                        item = next(left)
                    except StopIteration:
                        return
                do(item)
                shown.update()
        except BaseException as failure:  # raised again where it can be seen
            failures.append(failure)
            stop()

    with tqdm(**bar) as shown:
        # Daemons: a thread that hangs in a server's silence must not keep Ctrl-C waiting.
        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive() and not failures:
                    thread.join(0.1)
        except BaseException:
            stop()
            failures.append(KeyboardInterrupt())
            raise
        finally:
            for thread in threads:
                thread.join(_STOPPING_S if failures else None)
    if failures:
        raise failures[0]
