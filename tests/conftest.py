"""Where the real data lies, and the small hospital that many tests share."""

import fcntl
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import tests.shapes  # the hook below looks it up by name
from tests.hospital import ROOT, Hospital, medweave

# Before any test imports them: their annotations are assertions from here on.
install_import_hook(["encoders", "fusion"], f"{tests.shapes.__name__}.checked")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of public data sets beside the checkout; tests that need it skip without it."""
    place = ROOT.parent / "shared" / "data"
    if not place.is_dir():
        pytest.skip("the public data sets are not beside this checkout (../shared/data)")
    return place


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Hospital:
    """Take 60 patients from `simulate` to `predict`, once, whatever the number of workers."""
    base = tmp_path_factory.getbasetemp()
    place = (base if worker_id == "master" else base.parent) / "hospital-60"
    place.mkdir(exist_ok=True)
    made = Hospital(place=place, printed={})
    steps: dict[str, list[str | Path]] = {
        "simulate": ["simulate", "--patients", "60", "--seed", "7", "--out", made.source],
        "ingest": [
            *("ingest", made.source / "fhir", made.source / "dicom", "--store", made.store),
            "--public",
        ],
        "cohort": [
            *("cohort", "--store", made.store, "--task", "ingest/tasks/heart_failure_1y.yaml"),
            *("--out", made.cohort),
        ],
        "train": ["train", "--store", made.store, "--cohort", made.cohort, "--run", made.run],
        "evaluate": ["evaluate", made.run, "--oracle", made.source / "oracle.parquet"],
        "predict": ["predict", made.run, "--store", made.store, "--out", place / "risks.parquet"],
    }
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, arguments in steps.items():
            said = place / f"{name}.stdout"
            if not said.exists():
                said.write_text(medweave(*arguments).stdout, "utf-8")
            made.printed[name] = said.read_text("utf-8")
    return made
