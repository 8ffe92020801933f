"""Start Orthanc, a real DICOM archive with DICOMweb, for the tests of fetching images.

It comes from Debian (`orthanc`, `orthanc-dicomweb`, `orthanc-gdcm`); where it cannot be had, the
tests that need it are skipped with the reason. It listens on every interface, so it is told to
answer this machine alone.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Orthanc", "orthanc"]

_PLUGINS = Path("/usr/share/orthanc/plugins")


class Orthanc:
    """An archive, empty at first."""

    def __init__(self, port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.url = f"{self.origin}/dicom-web"

    def put(self, content: bytes) -> bool:
        """Store a DICOM file; False where Orthanc refuses it."""
        try:
            return bool(self._send("POST", "/instances", content))
        except urllib.error.HTTPError as error:
            if error.code not in (400, 404):  # not DICOM; DICOM that lacks what Orthanc files by
                raise
            return False

    def files(self) -> list[bytes]:
        """Give the files that it holds, by its own interface and not by DICOMweb."""
        names = json.loads(self._send("GET", "/instances"))
        return [self._send("GET", f"/instances/{name}/file") for name in names]

    def is_up(self) -> bool:
        try:
            return bool(self._send("GET", "/system"))
        except OSError:
            return False

    def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.origin + path, data=body, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own server
            return response.read()


@contextmanager
def orthanc(place: Path) -> Iterator[Orthanc]:
    """Serve from an empty storage directory under `place` until the end of the block."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    plugins = [_PLUGINS / f"lib{name}.so" for name in ("OrthancDicomWeb", "OrthancGdcm")]
    if program is None or not all(path.exists() for path in plugins):
        pytest.skip(
            "needs Debian's orthanc, orthanc-dicomweb and orthanc-gdcm, not all of them here"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options: dict[str, Any] = {
        "Name": "tests",
        "StorageDirectory": str(place / "storage"),
        "IndexDirectory": str(place / "storage"),
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "Plugins": [str(path) for path in plugins],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }
    (place / "orthanc.json").write_text(json.dumps(options), "utf-8")
    with (
        (place / "orthanc.log").open("wb") as log,
        subprocess.Popen([program, str(place / "orthanc.json")], stdout=log, stderr=log) as process,
    ):
        try:
            server, until = Orthanc(port), time.monotonic() + 20
            while not server.is_up():
                if process.poll() is not None or time.monotonic() > until:
                    said = (place / "orthanc.log").read_text("utf-8")[-2000:]
                    pytest.fail(f"Orthanc did not start: {said}")
                time.sleep(0.02)
            yield server
        finally:
            process.kill()  # its own way of stopping takes two seconds, for a directory that goes
            process.wait(20)
