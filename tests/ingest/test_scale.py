"""On Ray: the same rows as without it, however many work and whoever is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import duckdb
import psutil
import pytest

from ingest import projection
from ingest.build import ingest
from ingest.conventions import Conventions
from ingest.errors import UsageError
from ingest.scale import ray_hands
from ingest.simulate import simulate

# Not imported here: Ray reads how to guard itself when it is loaded.
pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray (extra `scale`) is not installed"
)


def rows(store: Path) -> list[tuple[object, ...]]:
    files = f"read_parquet('{store}/data/*.parquet')"
    return duckdb.sql(f"SELECT * FROM {files} ORDER BY ALL").fetchall()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("scale")
    simulate(place / "hospital", patients=120, seed=11)
    ingest([place / "hospital" / "fhir"], place / "alone", public=True)
    return place


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches out of little data."""
    monkeypatch.setattr(projection, "_BATCH_BYTES", 30_000)


def at_work(parent: int) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith("ray::_work"):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("workers", [1, 2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_rows_are_the_same_from_any_number_of_workers(
    hospital: Path, tmp_path: Path, workers: int
) -> None:
    told = ingest([hospital / "hospital" / "fhir"], tmp_path / "s", public=True, workers=workers)
    alone = ingest([hospital / "hospital" / "fhir"], hospital / "alone", public=True)
    assert told == alone
    assert rows(tmp_path / "s") == rows(hospital / "alone")


@pytest.mark.usefixtures("small_batches")
def test_a_worker_that_is_killed_in_mid_run_changes_nothing(hospital: Path, tmp_path: Path) -> None:
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.is_set() and len(killed) < 3:
            for process in at_work(os.getpid())[:1]:
                process.send_signal(signal.SIGKILL)
                killed.append(process.pid)
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        ingest([hospital / "hospital" / "fhir"], tmp_path / "s", public=True, workers=2)
    finally:
        over.set()
        killer.join()
    assert killed
    assert rows(tmp_path / "s") == rows(hospital / "alone")


@pytest.mark.slow
def test_who_has_no_token_is_refused_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray waits half a minute before it gives up on a cluster that refuses it."""
    place = Path(tempfile.mkdtemp(prefix="mw"))  # short: the path of a socket has an end
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with ray_hands(1, Conventions()):
        import ray

        address = ray.get_runtime_context().gcs_address
        assert any(place.iterdir())
        join = f"import ray; ray.init(address={address!r}); print('came in')"
        for more in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            bare = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
            done = subprocess.run(
                [sys.executable, "-c", join],
                env=bare | more,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode
            assert "came in" not in done.stdout
            assert "Failed to connect" in done.stderr
    assert not list(place.iterdir())
    place.rmdir()


def test_no_worker_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1; got 0"), ray_hands(0, Conventions()):
        pass
