"""Peak memory of a process of its own, as benchmarks measure it."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ask_child", "peak_mebibytes"]

_ROOT = Path(__file__).resolve().parents[2]


def ask_child(module: str, words: Sequence[str], count: int) -> list[float]:
    """Run a benchmark's module in a process of its own and read the last numbers that it prints.

    Raises:
        RuntimeError: it ended with an error, whose text is given.
    """
    command = [sys.executable, "-m", module, *words]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [float(number) for number in done.stdout.split()[-count:]]


def peak_mebibytes() -> float:
    """Give this process's peak; `ru_maxrss` would start at its parent's, which is larger."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) / 1024
