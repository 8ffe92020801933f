"""Fetch in a process of its own, which a test can kill at any moment."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.hospital import ROOT
from tests.servers.faults import FaultyLayer

__all__ = ["die_at", "kill_after"]

_CODE = """
import os
import signal
import sys
from pathlib import Path
{imports}
from ingest.patience import Patience
{before}
{call}(sys.argv[1], Path(sys.argv[2]), patience=Patience(first_wait_s=0.01), **{options!r})
"""


def kill_after(
    layer: FaultyLayer,
    requests: int,
    label: str,
    *,
    later_s: float = 0.0,
    call: str,
    url: str,
    into: Path,
    options: dict[str, Any],
) -> bool:
    """Start a fetch and end it with SIGKILL once the server has seen so many requests of a label.

    `later_s` waits a little more, so that it is hit while it writes as well as while it asks.
    Gives whether it was still running then.
    """
    before = len(layer.seen(label))
    child = _start(call, url, into, options)
    until = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < until:
        if len(layer.seen(label)) - before >= requests:
            break
        time.sleep(0.001)
    time.sleep(later_s)
    running = child.poll() is None
    child.kill()
    child.wait(20)
    return running


def die_at(
    step: str, number: int, *, call: str, url: str, into: Path, options: dict[str, Any]
) -> None:
    """Start a fetch that kills itself right after so many calls of an `os` function."""
    before = f"""
real, calls = os.{step}, []
def deadly(*arguments, **named):
    result = real(*arguments, **named)
    calls.append(1)
    if len(calls) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
os.{step} = deadly
"""
    child = _start(call, url, into, options, before)
    assert child.wait(60) == -9


def _start(
    call: str, url: str, into: Path, options: dict[str, Any], before: str = ""
) -> subprocess.Popen[bytes]:
    homes = {"fetch_fhir": "ingest.fhir_server", "export_bulk": "ingest.bulk_export"}
    imports = f"from {homes[call]} import {call}"
    code = _CODE.format(imports=imports, call=call, options=options, before=before)
    return subprocess.Popen([sys.executable, "-c", code, url, str(into)], cwd=ROOT)
