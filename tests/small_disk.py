"""A small file system that can really be full: tmpfs, which only root may mount."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["resize", "small_disk", "used"]


@contextmanager
def small_disk(place: Path, megabytes: int = 64) -> Iterator[Path]:
    """Mount one there for as long as it is needed; the test skips where it can't be had."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("a small file system can't be mounted here: " + done.stderr.strip()[:80])
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    """Give it another size, which what is on it must fit in."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


def used(disk: Path) -> int:
    """Say how much is on it, in kilobytes."""
    return -(-shutil.disk_usage(disk).used // 1024)
