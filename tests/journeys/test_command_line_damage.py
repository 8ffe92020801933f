"""A damaged file of a store, cohort or run: each command that reads it says so in a sentence."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion.run import verify_run
from serve.cli import main
from tests.hospital import ROOT, Hospital

TASK = "heart_failure_1y"
CANDIDATES = ("prevalence", "events_logistic")


@pytest.fixture(scope="module")
def sound(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hospital's store and cohort, with a run of two models that is soon read."""
    place = tmp_path_factory.mktemp("sound")
    for name in ("store", "cohort"):
        shutil.copytree(hospital.place / name, place / name, ignore=shutil.ignore_patterns("*.png"))
    (place / "store.raw").mkdir()
    shutil.copy(hospital.place / "store.raw" / "crosswalk.parquet", place / "store.raw")
    shutil.copy(hospital.source / "oracle.parquet", place)
    assert main(arguments("train", place)) == 0
    assert main(arguments("evaluate", place)) == 0
    return place


def arguments(command: str, place: Path) -> list[str]:
    """Give a command line that reads from the place."""
    store, cohort, run = ("--store", place / "store"), ("--cohort", place / "cohort"), place / "run"
    given = {
        "cohort": (
            *("cohort", *store, "--task", ROOT / "ingest" / "tasks" / f"{TASK}.yaml"),
            *("--out", place / "cohort", "--quiet"),
        ),
        "train": ("train", *store, *cohort, "--run", run, "--candidates", *CANDIDATES, "--quiet"),
        "evaluate": ("evaluate", run, "--oracle", place / "oracle.parquet", "--quiet"),
        "predict": ("predict", run, *store, "--out", place / "risks.csv", "--quiet"),
        "store info": ("store", "info", place / "store"),
        "store verify": ("store", "verify", place / "store"),
        "serve": ("serve", run, *store, "--port", 1 + 2**15),
    }
    return [str(word) for word in given[command]]


def damage(file: Path, how: str) -> None:
    content = file.read_bytes()
    file.unlink()
    if how == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "garbage":
        file.write_bytes(bytes(range(256)) * 8)
    elif how == "of other columns":
        pq.write_table(pa.table({"x": [1]}), file)
    elif how == "of other types":
        names = pq.read_table(pa.BufferReader(content)).column_names
        pq.write_table(pa.table({name: [["x"]] for name in names}), file)
    elif how == "another kind":
        file.write_text("[1]", "utf-8")


BYTES = ("truncated", "empty", "garbage")
TABLE = (*BYTES, "of other columns", "of other types", "deleted")
MAPPING = (*BYTES, "another kind", "deleted")

READ: list[tuple[str, str, int, tuple[str, ...]]] = [
    ("cohort", "store/data/0.parquet", 5, TABLE),
    ("train", "store/data/0.parquet", 5, TABLE),
    ("evaluate", "store/data/0.parquet", 5, TABLE),
    ("predict", "store/data/0.parquet", 5, TABLE),
    ("serve", "store/data/0.parquet", 5, TABLE),
    ("cohort", "store/metadata/subject_splits.parquet", 5, TABLE[:-2]),
    ("train", "store/metadata/codes.parquet", 5, (*BYTES, "deleted")),
    ("predict", "store/metadata/codes.parquet", 5, TABLE),
    ("train", "store/metadata/dataset.json", 5, ("deleted",)),
    ("store info", "store/data/0.parquet", 5, TABLE),
    ("store info", "store/metadata/codes.parquet", 5, TABLE),
    ("store verify", "store/data/0.parquet", 5, TABLE),
    ("store verify", "store/metadata/dataset.json", 5, MAPPING),
    ("train", f"cohort/labels/{TASK}.parquet", 6, TABLE),
    ("evaluate", f"cohort/labels/{TASK}.parquet", 6, TABLE),
    ("train", "cohort/splits.parquet", 6, TABLE),
    ("evaluate", "cohort/splits.parquet", 6, TABLE),
    ("train", f"cohort/tasks/{TASK}.yaml", 6, MAPPING[:-1]),
    ("evaluate", "cohort/flow.json", 6, MAPPING[:-1]),
    ("evaluate", "run/manifest.json", 7, MAPPING),
    ("predict", "run/manifest.json", 7, MAPPING),
    ("evaluate", "run/run.json", 7, ("garbage", "deleted")),
    ("predict", "run/models/events_logistic/weights.safetensors", 7, ("truncated", "deleted")),
    ("predict", f"run/tasks/{TASK}.yaml", 7, ("garbage", "deleted")),
    ("predict", "run/metrics.json", 7, MAPPING[:-1]),
    ("serve", "run/held_out.parquet", 7, TABLE),
    ("evaluate", "run/sources.json", 7, MAPPING),
    ("evaluate", "oracle.parquet", 3, TABLE),
    ("evaluate", "store.raw/crosswalk.parquet", 3, TABLE),
]


@pytest.mark.parametrize(
    ("command", "file", "code", "how"),
    [(command, file, code, how) for command, file, code, kinds in READ for how in kinds],
)
def test_a_damaged_file_is_named_in_one_sentence(
    sound: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    file: str,
    code: int,
    how: str,
) -> None:
    place = tmp_path / "place"
    shutil.copytree(sound, place, copy_function=os.link)  # the damaged file is written anew
    sources = place / "run" / "sources.json"
    text = sources.read_text("utf-8").replace(str(sound), str(place))
    sources.unlink()
    sources.write_text(text, "utf-8")
    damage(place / file, how)
    given = arguments(command, place)
    assert main(given) == code
    said = capsys.readouterr().err
    assert said.startswith(f"medweave {given[0]}: ")
    assert said.count("\n") == 1
    assert Path(file).name in said or how == "deleted"


def test_training_anew_mends_a_run_whatever_was_damaged(sound: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(sound, place)
    for file, how in (
        ("run.json", "garbage"),
        ("champion.json", "deleted"),
        ("models/events_logistic/weights.safetensors", "truncated"),
        ("models/events_logistic/fitted.json", "empty"),
        ("models/prevalence/rates.json", "another kind"),
        ("held_out.parquet", "empty"),
        ("sources.json", "garbage"),
    ):
        damage(place / "run" / file, how)
    assert main(arguments("train", place)) == 0
    verify_run(place / "run")
    manifest = (sound / "run" / "manifest.json").read_bytes()
    assert (place / "run" / "manifest.json").read_bytes() == manifest
    assert main(arguments("evaluate", place)) == 0
