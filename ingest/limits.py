"""Run code on strangers' bytes in a child process that may not take more than its share.

A deflated DICOM of 2 MB or a PNG of 20 kB can stand for gigabytes. So the size that a file claims
is checked before it is parsed, and it is parsed in a child process with a cap on memory and on
time: if a decoder crashes, hangs or swells, that one file is refused and the rest goes on. One
child serves many calls, because starting one costs about a second.

The child answers with JSON and bytes, never with a pickle: whoever takes the child over through a
decoder's bug still cannot run code in the parent.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ingest.errors import LimitError

__all__ = ["Caps", "LimitedChild"]

_HEAD = struct.Struct(">QQ")  # length of the JSON, length of the bytes


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Bound what one file may claim and what parsing it may take."""

    file_bytes: int = 512 * 2**20
    """Size on disk; the largest multi-frame X-ray runs are about this size."""

    pixels: int = 89_478_485
    """Rows times columns of one frame: Pillow's MAX_IMAGE_PIXELS, three times a mammogram."""

    decoded_bytes: int = 2 * 2**30
    """All frames, samples and bits, and what a deflated file may inflate to."""

    volume_bytes: int = 8 * 2**30
    """A volume made of many files, which is written slice by slice; 2,000 slices of 1024 x 1024
    at 16 bits are half of it."""

    memory_bytes: int = 3 * 2**30
    """Address space of the child."""

    seconds: float = 30.0
    """Time for one call."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive; got {name}={value}")

    def check_file(self, path: Path) -> None:
        """Refuse a file that is too large to read.

        Raises:
            LimitError: it has more bytes than `file_bytes`.
        """
        size = path.stat().st_size
        if size > self.file_bytes:
            raise LimitError(f"a file of {size} bytes is over the cap of {self.file_bytes} bytes")


class LimitedChild:
    """Call one function, again and again, in a child with capped memory and time.

    The function is named as `module:function`; it takes keyword arguments that JSON can carry and
    gives a JSON object and bytes. Not for use by two threads at once.

    Example:
        >>> with LimitedChild("ingest.limits:echo", Caps(seconds=20)) as child:
        ...     child.call(word="hello")
        ({'word': 'hello'}, b'hello')
    """

    def __init__(self, function: str, caps: Caps) -> None:
        self._function = function
        self._caps = caps
        self._process: subprocess.Popen[bytes] | None = None
        self._ask = self._answer = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, **arguments: Any) -> tuple[dict[str, Any], bytes]:
        """Run the function once; a child that died is replaced at the next call.

        Raises:
            LimitError: it took too long, too much memory, or the child died.
        """
        if self._process is None:
            self._start()
        asked = json.dumps(arguments).encode()
        deadline = time.monotonic() + self._caps.seconds
        try:
            _write(self._ask, _HEAD.pack(len(asked), 0) + asked)
            first, second = _HEAD.unpack(_read(self._answer, _HEAD.size, deadline))
            if first + second > 2 * self._caps.decoded_bytes:
                raise LimitError("the decoder's answer is over the cap")
            told = json.loads(_read(self._answer, first, deadline))
            content = _read(self._answer, second, deadline)
        except TimeoutError:
            self.close()
            raise LimitError(f"parsing took longer than {self._caps.seconds:g} s") from None
        except (EOFError, BrokenPipeError):
            raise LimitError(f"the parser died ({self._death()})") from None
        except BaseException:
            self.close()  # what is still in the pipe belongs to this call, not to the next
            raise
        if "limit" in told:
            raise LimitError(told["limit"])
        return told["result"], content

    @property
    def pid(self) -> int | None:
        """The child's process, or None where none is alive: the next call starts one."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def close(self) -> None:
        """End the child; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        for end in (self._ask, self._answer):
            with contextlib.suppress(OSError):
                os.close(end)
        process.kill()
        process.wait()

    def _start(self) -> None:
        child_reads, self._ask = os.pipe()
        self._answer, child_writes = os.pipe()
        module, _, name = self._function.partition(":")
        # One thread: each thread of BLAS takes address space, and images are decoded one by one.
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            "from ingest.limits import serve_calls\n"
            f"serve_calls({module!r}, {name!r}, {child_reads}, {child_writes}, "
            f"{self._caps.memory_bytes})"
        )
        # Decoders talk on stdout and stderr, now and then about what is in the file: silenced.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(child_reads, child_writes),
            env={**os.environ, **threads},
        )
        os.close(child_reads)
        os.close(child_writes)
        # Imports happen before the first call's time starts to run.
        try:
            _read(self._answer, 1, time.monotonic() + 120)
        except (EOFError, TimeoutError):
            raise LimitError(f"the parser could not start ({self._death()})") from None

    def _death(self) -> str:
        process = self._process
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=2)
        code = None if process is None else process.returncode
        self.close()
        if code is not None and code < 0:
            return signal.Signals(-code).name
        return f"exit code {code}"


def serve_calls(module: str, name: str, reads: int, writes: int, memory_bytes: int) -> None:
    """Answer calls until the parent is gone; this is what the child runs."""
    function: Callable[..., tuple[dict[str, Any], bytes]]
    function = getattr(importlib.import_module(module), name)
    _limit_memory(memory_bytes)
    _write(writes, b"!")
    while True:
        try:
            size, _ = _HEAD.unpack(_read(reads, _HEAD.size))
            arguments = json.loads(_read(reads, size))
        except EOFError:
            return
        try:
            result, content = function(**arguments)
            told = {"result": result}
        except MemoryError:
            told, content = {"limit": "parsing took more memory than its cap"}, b""
        except LimitError as error:
            told, content = {"limit": str(error)}, b""
        except Exception as error:  # the text can carry what is in the file
            told, content = {"limit": f"the parser failed ({type(error).__name__})"}, b""
        answer = json.dumps(told).encode()
        _write(writes, _HEAD.pack(len(answer), len(content)) + answer + content)


def echo(word: str) -> tuple[dict[str, Any], bytes]:
    """Give back the word; for tests of the child."""
    return {"word": word}, word.encode()


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no rlimits: caps and time still hold
        return
    # A system that refuses a lower limit (macOS) still has the caps and the time.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the image


def _write(end: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(end, view) :]


def _read(end: int, size: int, deadline: float | None = None) -> bytes:
    parts: list[bytes] = []
    while size:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([end], [], [], left)[0]:
                raise TimeoutError
        part = os.read(end, min(size, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
