import os
import signal
import time
from pathlib import Path

import pytest

from ingest.errors import LimitError
from ingest.limits import Caps, LimitedChild

HERE = "tests.ingest.test_limits"


def greedy(size: int) -> tuple[dict, bytes]:
    return {"size": len(bytearray(size))}, b""


def slow(seconds: float) -> tuple[dict, bytes]:
    time.sleep(seconds)
    return {}, b""


def crash() -> tuple[dict, bytes]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}, b""


def chatty(name: str) -> tuple[dict, bytes]:
    print(name)
    raise ValueError(name)


def big(size: int) -> tuple[dict, bytes]:
    return {"size": size}, bytes(size)


def test_a_child_answers_many_calls_without_starting_anew() -> None:
    with LimitedChild(f"{HERE}:big", Caps()) as child:
        assert child.call(size=3) == ({"size": 3}, b"\0\0\0")
        start = time.monotonic()
        for _ in range(50):
            assert len(child.call(size=300_000)[1]) == 300_000
        assert time.monotonic() - start < 5


def test_memory_over_the_cap_is_refused_and_the_next_call_works() -> None:
    with LimitedChild(f"{HERE}:greedy", Caps(memory_bytes=2**30)) as child:
        with pytest.raises(LimitError, match="more memory than its cap"):
            child.call(size=2 * 2**30)
        assert child.call(size=1000) == ({"size": 1000}, b"")


def test_a_call_that_takes_too_long_is_ended_and_the_next_one_works() -> None:
    with LimitedChild(f"{HERE}:slow", Caps(seconds=0.5)) as child:
        start = time.monotonic()
        with pytest.raises(LimitError, match=r"longer than 0\.5 s"):
            child.call(seconds=60)
        assert time.monotonic() - start < 10
        assert child.call(seconds=0) == ({}, b"")


def test_a_crash_of_the_parser_is_no_crash_of_the_parent() -> None:
    with LimitedChild(f"{HERE}:crash", Caps()) as child:
        for _ in range(2):
            with pytest.raises(LimitError, match="SIGSEGV"):
                child.call()


def test_what_an_error_in_the_child_says_stays_there(capfd: pytest.CaptureFixture[str]) -> None:
    with LimitedChild(f"{HERE}:chatty", Caps()) as child, pytest.raises(LimitError) as caught:
        child.call(name="Jane Roe")
    assert str(caught.value) == "the parser failed (ValueError)"
    assert "Jane" not in "".join(capfd.readouterr())


def test_no_child_is_left_behind() -> None:
    with LimitedChild(f"{HERE}:slow", Caps()) as child:
        child.call(seconds=0)
        assert child._process is not None
        number = child._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_file_over_the_cap_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "big"
    with file.open("wb") as handle:
        handle.truncate(10_000_000_000)  # sparse: takes no room
    with pytest.raises(LimitError, match="10000000000 bytes is over the cap"):
        Caps().check_file(file)


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="seconds must be positive; got seconds=0"):
        Caps(seconds=0)
