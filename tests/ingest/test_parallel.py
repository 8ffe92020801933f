"""Several things at a time, in threads: that they are, and how a failure ends them."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ingest.parallel import in_parallel


def do_all(
    items: Iterable[Any],
    do: Callable[[Any], object],
    *,
    workers: int = 3,
    stop: Callable[[], None] = lambda: None,
) -> None:
    in_parallel(items, do, workers=workers, stop=stop, bar={"disable": True})


def test_as_many_are_done_at_a_time_as_there_are_workers() -> None:
    together = threading.Barrier(3, timeout=5)  # breaks, unless three wait at it at once
    do_all(range(6), lambda _: together.wait())


def test_no_more_are_done_at_a_time_than_there_are_workers() -> None:
    together = threading.Barrier(3, timeout=0.3)
    with pytest.raises(threading.BrokenBarrierError):
        do_all(range(6), lambda _: together.wait(), workers=2)


def test_each_is_done_once_and_taken_only_when_it_is_its_turn() -> None:
    taken, done = [], []

    def items() -> Iterable[int]:
        for number in range(100):
            assert number - len(done) <= 2
            taken.append(number)
            yield number

    do_all(items(), done.append)
    assert taken == list(range(100))
    assert sorted(done) == taken


def test_the_first_failure_stops_what_the_others_wait_for_and_is_raised() -> None:
    stopped, begun = threading.Event(), threading.Barrier(3, timeout=5)
    done = []

    def do(number: int) -> None:
        done.append(number)
        begun.wait()
        if number == 1:
            raise ValueError("the second")
        assert stopped.wait(5), "nobody was told to stop"

    with pytest.raises(ValueError, match="the second"):
        do_all(range(100), do, stop=stopped.set)
    assert sorted(done) == [0, 1, 2]


def test_a_failure_of_what_gives_the_items_is_raised_too() -> None:
    def items() -> Iterable[int]:
        yield 1
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        do_all(items(), lambda _: None)
