"""Threads: given back after, and never felt in a result."""

import pytest
import torch

from encoders.threads import one_thread, side_by_side


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_are_given_back_after_an_error_too() -> None:
    def fail() -> None:
        with one_thread():
            assert torch.get_num_threads() == 1
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert torch.get_num_threads() == 2


def test_batches_come_back_in_order_and_each_ran_on_one_core() -> None:
    def work(number: int) -> tuple[int, int]:
        return number, torch.get_num_threads()

    assert list(side_by_side(work, range(20))) == [(n, 1) for n in range(20)]
    assert torch.get_num_threads() == 2


def test_an_error_in_a_batch_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda n: 1 // n, [1, 0, 1]))
    assert torch.get_num_threads() == 2
