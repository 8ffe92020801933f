"""A headless Chromium, the real server, and one simulated patient's files."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from tests.hospital import ROOT

__all__ = ["QUIET", "chromium_path", "patient_files", "serving", "with_note"]

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
"""No sandbox since tests may run as root; the rest so that Chromium itself asks nobody."""


def chromium_path() -> str:
    """Find Debian's chromium or a Chrome, or skip."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no chromium on this machine (.ci/run installs Debian's)")


@contextmanager
def serving(run: Path, store: Path) -> Iterator[str]:
    """Run `medweave serve` on a free port and give its address; see that it leaves nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "serve.cli", "serve", str(run)]
    # Of this server's own: another worker's may be running.
    temporary = Path(tempfile.mkdtemp(prefix="serving-", dir=run.parent))
    log = temporary / "serve.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [*command, "--store", str(store), "--port", str(port)],
            cwd=ROOT,
            stdout=out,
            stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)},
        )
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 180
            while not _answers(address):
                assert server.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, "the page was not ready within 180 s"
                time.sleep(0.3)
            yield address
        finally:
            server.terminate()
            server.wait(30)
    assert not list(temporary.glob("medweave-*")), "uploads were left behind"


def patient_files(source: Path, subject_key: str, place: Path) -> list[Path]:
    """Write one patient's resources as a Bundle, beside the patient's DICOM files."""
    kind, _, identifier = subject_key.partition("/")
    assert kind == "Patient"
    entries = []
    for file in sorted((source / "fhir").glob("*.ndjson")):
        for line in file.read_text("utf-8").splitlines():
            resource = json.loads(line)
            mine = resource.get("id") == identifier or f'"{subject_key}"' in line
            shared = '"Patient/' not in line and resource["resourceType"] != "Patient"
            if mine or shared:
                entries.append({"resource": resource})
    bundle = place / "bundle.json"
    content = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    bundle.write_text(json.dumps(content), "utf-8")
    text = bundle.read_text("utf-8")
    films = [
        file
        for file in sorted((source / "dicom").rglob("*.dcm"))
        if pydicom.dcmread(file, stop_before_pixels=True).StudyInstanceUID in text
    ]
    return [bundle, *films]


def with_note(bundle: Path, text: str) -> Path:
    """Replace the text of the notes in a Bundle."""
    content = json.loads(bundle.read_text("utf-8"))
    data = base64.b64encode(text.encode()).decode()
    for entry in content["entry"]:
        if entry["resource"]["resourceType"] == "DocumentReference":
            entry["resource"]["content"] = [
                {"attachment": {"contentType": "text/plain", "data": data}}
            ]
    changed = bundle.with_name("changed.json")
    changed.write_text(json.dumps(content), "utf-8")
    return changed


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ready", timeout=5) as answer:  # noqa: S310
            return answer.status == 200
    except OSError:
        return False
