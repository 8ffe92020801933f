"""What goes wrong by force or by size: kill -9, large files, a page that is asked for hours."""

import hashlib
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from serve.predictor import Predictor
from tests.hospital import ROOT, Hospital, medweave, medweave_killed


def content_hash(store: Path) -> str:
    """One hash of all events under a total sort, and of the report."""
    rows = duckdb.execute(
        f"SELECT * FROM read_parquet('{store}/data/**/*.parquet') ORDER BY ALL"
    ).fetchall()
    report = (store / "ingest_report.json").read_text("utf-8")
    return hashlib.sha256((repr(rows) + report).encode()).hexdigest()


def ingest_words(hospital: Hospital, store: Path) -> list[str]:
    source = hospital.source
    return [
        "ingest",
        str(source / "fhir"),
        str(source / "dicom"),
        "--store",
        str(store),
        "--public",
    ]


def kill_and_go_on(hospital: Hospital, place: Path, kills: int) -> None:
    """Kill an ingest so often, at random moments; one that ends by itself begins anew."""
    begun = time.monotonic()
    medweave(*ingest_words(hospital, place / "whole"))
    whole_seconds = time.monotonic() - begun
    whole = content_hash(place / "whole")
    words = ingest_words(hospital, place / "store")
    rng = random.Random(7)
    killed = 0
    for _ in range(10 * kills):
        if medweave_killed(*words, after_s=rng.uniform(0.02, 1.0) * whole_seconds):
            killed += 1
        else:
            assert content_hash(place / "store") == whole
            for name in ("store", "store.raw"):
                shutil.rmtree(place / name)
        if killed == kills:
            break
    assert killed == kills
    medweave(*words)
    assert content_hash(place / "store") == whole
    left = [path.name for path in place.iterdir()]
    assert sorted(left) == ["store", "store.raw", "whole", "whole.raw"], left


def test_an_ingest_that_was_killed_gives_the_same_store_when_run_again(
    hospital: Hospital, tmp_path: Path
) -> None:
    kill_and_go_on(hospital, tmp_path, kills=3)


@pytest.mark.slow
def test_an_ingest_that_was_killed_fifty_times_gives_the_same_store(
    hospital: Hospital, tmp_path: Path
) -> None:
    kill_and_go_on(hospital, tmp_path, kills=50)


@pytest.mark.slow
def test_a_large_export_is_checked_and_ingested_in_bounded_memory(
    hospital: Hospital, tmp_path: Path
) -> None:
    """A gigabyte of observations, each with an id of its own."""
    export = tmp_path / "export"
    export.mkdir()
    shutil.copy(hospital.source / "fhir" / "Patient.ndjson", export)
    lines = (hospital.source / "fhir" / "Observation.ndjson").read_text("utf-8").splitlines()
    records = size = copy = 0
    with (export / "Observation.ndjson").open("w") as out:
        while size < 2**30:
            for line in lines:
                again = line.replace('"id":"', f'"id":"c{copy}-', 1)
                out.write(again + "\n")
                size += len(again) + 1
                records += 1
            copy += 1
    begun = time.monotonic()
    medweave("check", export)
    assert time.monotonic() - begun < 240  # a minute on a quiet machine; this one may be shared
    words = ["ingest", str(export), "--store", str(tmp_path / "store"), "--public"]
    # A child of our own: the shared helper's commands are children of another process.
    subprocess.run([sys.executable, "-m", "serve.cli", *words], cwd=ROOT, check=True, timeout=3600)
    report = json.loads((tmp_path / "store" / "ingest_report.json").read_text())
    assert report["files"]["Observation.ndjson"]["records"] == records
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < 6 * 2**30, f"{peak / 2**30:.1f} GiB"


@pytest.mark.slow
def test_a_predictor_that_is_asked_for_hours_does_not_grow(hospital: Hospital) -> None:
    predictor = Predictor(hospital.run, hospital.store)
    subjects = predictor.patients()["subject_id"].tolist()

    def ask(times: int) -> float:
        for number in range(times):
            predictor.predict(int(subjects[number % len(subjects)]))
        return float(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before = ask(100)
    after = ask(400)
    assert after - before < 100 * 2**20
