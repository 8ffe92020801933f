"""What goes wrong while a model is trained: the same weights in the end, or a clear error."""

import multiprocessing
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from ingest.errors import RunError
from tests.fusion.clinic import QUICK, fit, hashes, held_out, serve, write_clinic, write_store
from tests.small_disk import resize, small_disk

EVERY = (*QUICK, "events_boosting", "attention")
FEW = ("events_logistic", "events_boosting", "attention")
"""Those that read values."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.preloaded"])


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clinic")
    write_clinic(place, n=120)
    fit(place, candidates=EVERY)
    return place


@pytest.fixture
def copy(clinic: Path, tmp_path: Path) -> Path:
    """The clinic's store and cohort, without its run."""
    place = tmp_path / "clinic"
    for part in ("store", "cohort"):
        shutil.copytree(clinic / part, place / part)
    return place


def training(place: Path) -> multiprocessing.process.BaseProcess:
    """Begin to train in a process of its own, which can be killed."""
    process = _processes.Process(target=fit, args=(place,), kwargs={"candidates": EVERY})
    process.start()
    return process


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_training_that_is_killed_at_any_moment_ends_with_the_same_weights(
    clinic: Path, copy: Path, kills: int
) -> None:
    """Killed by SIGKILL, again and again, until it has had the time to come to its end."""
    begun = time.monotonic()
    whole = training(copy)
    whole.join()
    seconds = time.monotonic() - begun
    assert whole.exitcode == 0
    assert hashes(copy / "run") == hashes(clinic / "run")
    rng, killed = random.Random(3), 0
    for number in range(kills):
        if number % 3 == 0:  # else it goes on with what was fitted before
            shutil.rmtree(copy / "run", ignore_errors=True)
        process = training(copy)
        process.join(rng.uniform(0.05, 0.9) * seconds)
        if process.is_alive():
            process.kill()
            process.join()
            killed += 1
            if (copy / "run" / "manifest.json").exists():  # it had come to its end
                assert hashes(copy / "run") == hashes(clinic / "run")
            else:
                with pytest.raises(RunError):
                    serve(copy / "run")
    assert killed >= kills / 4
    fit(copy, candidates=EVERY)
    assert hashes(copy / "run") == hashes(clinic / "run")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


def test_a_run_that_found_no_room_serves_nobody_and_goes_on_with_room(
    clinic: Path, disk: Path
) -> None:
    for part in ("store", "cohort"):
        shutil.copytree(clinic / part, disk / part)
    before = shutil.disk_usage(disk).used // 1024
    size = sum(f.stat().st_size for f in (clinic / "run").rglob("*") if f.is_file()) // 1024
    for share in (0.02, 0.4, 0.8):
        shutil.rmtree(disk / "run", ignore_errors=True)
        resize(disk, before + int(share * size))
        # Of several kinds, as of the file's format; the command line knows them by their words.
        with pytest.raises(Exception, match="No space left"):
            fit(disk, candidates=EVERY)
        with pytest.raises(RunError):
            serve(disk / "run")
    resize(disk, 64 * 1024)
    fit(disk, candidates=EVERY)
    assert hashes(disk / "run") == hashes(clinic / "run")


def test_values_that_are_no_measurements_are_read_as_not_measured(clinic: Path, copy: Path) -> None:
    """Nothing, infinities, typing errors: the weights of a store where the values are missing."""
    events = pq.read_table(copy / "store" / "data" / "0.parquet").to_pandas()
    spoilt = np.flatnonzero(events["numeric_value"].notna())[::4]
    wild = np.resize(np.float32([np.inf, -np.inf, 3e38, -3e38]), len(spoilt))
    for name, values in (("missing", np.nan), ("wild", wild)):
        events.loc[spoilt, "numeric_value"] = values
        write_store(copy / "store", events)
        fit(copy, name, candidates=FEW)
        risks = serve(copy / name).score(held_out(copy))
        assert ((risks > 0) & (risks < 1)).all()  # false of NaN, too
    assert models_of(copy / "wild") == models_of(copy / "missing")
    assert models_of(copy / "wild") != models_of(clinic / "run")


def test_a_column_that_is_the_same_for_everybody_tells_nothing(clinic: Path, copy: Path) -> None:
    events = pq.read_table(copy / "store" / "data" / "0.parquet").to_pandas()
    constant = events[events["code"] == "MEDS_BIRTH"].assign(
        code="LOINC//0000-0", numeric_value=7.0, time=pd.Timestamp("2024-01-01")
    )
    write_store(copy / "store", pd.concat([events, constant], ignore_index=True))
    fit(copy, candidates=FEW)
    for name in FEW:
        told = serve(copy / "run").scorer(name).score(held_out(copy))
        before = serve(clinic / "run").scorer(name).score(held_out(clinic))
        assert np.isfinite(told).all()
        np.testing.assert_allclose(told, before, atol=0.1, err_msg=name)


def models_of(run: Path) -> dict[str, str]:
    """Give the hashes of what was fitted, less what names the rows that it was fitted on."""
    return {
        file: digest
        for file, digest in hashes(run).items()
        if file.split("/")[0] == "models"
        and file.split("/")[1] in FEW
        and "fitted.json" not in file
    }
