"""Start Medplum's FHIR server: an implementation that is not ours, for real searches.

Its packages are installed from the lock file beside it, once; where Node or the packages cannot be
had, the tests that need it are skipped with the reason.
"""

import fcntl
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["HOME", "Medplum", "medplum"]

HOME = Path(__file__).parent / "medplum"


class Medplum:
    """A server with an empty repository."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/fhir"

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask it directly, past what is tested."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/{path}".rstrip("/"),
            data=data,
            method=method,
            headers={"Content-Type": "application/fhir+json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return json.loads(response.read())


@contextmanager
def medplum() -> Iterator[Medplum]:
    """Serve until the end of the block.

    Skips the test where Node is missing or too old, or its packages can't be installed.
    """
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("Medplum's server needs Node and npm, which are not here")
    _install()
    with subprocess.Popen(
        [node, "server.mjs"],
        cwd=HOME,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line.strip().isdigit():
                pytest.fail(f"Medplum's server did not start: {process.stderr.read()[-2000:]}")
            yield Medplum(int(line))
        finally:
            process.stdin.close()  # which ends it
            process.wait(20)


def _install() -> None:
    done = HOME / "node_modules" / ".package-lock.json"
    with (HOME / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes may come here at once
        if done.is_file() and done.stat().st_mtime >= (HOME / "package-lock.json").stat().st_mtime:
            return
        try:
            ran = subprocess.run(
                ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=HOME,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("Medplum's packages could not be installed: npm took over 180 s")
        if ran.returncode != 0:
            said = [line for line in ran.stderr.splitlines() if "code" in line][:1]
            pytest.skip(f"Medplum's packages could not be installed: {' '.join(said)}")
