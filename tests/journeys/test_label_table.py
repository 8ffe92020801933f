"""Films and a table of labels, and nothing else: from a folder to risks, by the command line."""

import csv
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ingest.errors import InputError, UsageError
from serve.cli import main
from serve.predictor import Predictor
from tests.hospital import ROOT
from tests.ingest.films import write_film

FILMS = 64
QUICK = ("--candidates", "prevalence", "images_embedding", "--quiet")


def planted(number: int) -> tuple[np.ndarray, bool]:
    """Draw a small film; those with a finding have a bright patch, among noise."""
    rng = np.random.default_rng([7, number])
    found = bool(rng.random() < 0.5)
    film = rng.normal(90, 12, (32, 32))
    if found:
        film[8:24, 8:24] += rng.normal(50, 10)
    return np.clip(film, 0, 255).astype(np.uint8), found


def write_table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(rows)
    return path


def run(*words: str | Path) -> None:
    assert main([str(word) for word in words]) == 0


def judged(place: Path, task: str) -> dict[str, dict[str, dict[str, float]]]:
    metrics = json.loads((place / "run" / "metrics.json").read_text("utf-8"))
    return metrics["tasks"][task]["models"]


def require_better_than_the_base_rate(place: Path, task: str) -> None:
    models = judged(place, task)
    assert models["images_embedding"]["auroc"]["value"] > 0.9
    losses = {name: found["logloss"]["value"] for name, found in models.items()}
    assert losses["images_embedding"] < losses["prevalence"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Go the whole way with PNG files and the CSV that says whose they are."""
    place = tmp_path_factory.mktemp("pictures")
    (place / "films" / "png").mkdir(parents=True)
    rows: list[tuple[object, ...]] = [("image", "subject", "pneumonia", "split")]
    for number in range(FILMS):
        pixels, found = planted(number)
        Image.fromarray(pixels).save(place / "films" / "png" / f"{number}.png")
        part = "train" if number < 36 else "val" if number < 44 else "test"
        rows.append((f"png/{number}.png", f"s{number}", int(found), part))
    labels = write_table(place / "films" / "labels.csv", rows)
    store, cohort = ("--store", place / "store"), ("--cohort", place / "cohort")
    mapping = ROOT / "ingest" / "mappings" / "films.yaml"
    run("ingest", place / "films", "--mapping", mapping, *store, "--public", "--quiet")
    columns = ("--image", "image", "--label", "pneumonia", "--split", "split")
    run("cohort", *store, "--labels", labels, *columns, "--out", place / "cohort", "--quiet")
    run("train", *store, *cohort, "--run", place / "run", *QUICK)
    run("evaluate", place / "run", "--quiet")
    run("predict", place / "run", *store, "--out", place / "risks.csv", "--quiet")
    return place


def test_pictures_with_a_csv_become_a_model_that_beats_the_base_rate(pictures: Path) -> None:
    require_better_than_the_base_rate(pictures, "pneumonia")
    risks = pd.read_csv(pictures / "risks.csv")
    assert len(risks) == risks["subject_id"].nunique() == FILMS
    card = (pictures / "run" / "MODEL_CARD.md").read_text("utf-8")
    assert "What the column pneumonia of labels.csv says." in card
    assert "is for whoever made the table to say" in card
    report = (pictures / "run" / "report.html").read_text("utf-8")
    assert "film found in the store" in report


def test_the_page_shows_the_films_that_were_held_out_at_their_own_times(pictures: Path) -> None:
    predictor = Predictor(pictures / "run", pictures / "store")
    held_out = predictor.patients()
    assert len(held_out) == 20
    shown = predictor.predict(int(held_out["subject_id"].iloc[0]))
    assert shown.prediction_time == held_out["prediction_time"].iloc[0]
    assert len(shown.pictures) == 1
    [risk] = shown.risks
    assert risk.asked
    assert risk.task.title == "pneumonia"
    assert risk.task.horizon_days is None


def test_dicom_files_with_rows_that_repeat_a_patient_need_no_mapping(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[tuple[object, ...]] = [("patientId", "x", "y", "Target")]
    for number in range(FILMS):
        pixels, found = planted(number)
        name = f"{number:04}c83b-d25a"
        write_film(
            tmp_path / "films" / f"{name}.dcm",
            pixels,
            PatientID=name,
            StudyDate="19010101",
            StudyTime="000000.00",
            Modality="CR",
            ViewPosition="PA",
            SOPInstanceUID=f"1.2.3.{number}",
        )
        boxes = [(10, 20), (30, 40)] if found else [("", "")]
        rows += [(name, *box, int(found)) for box in boxes]
    rows.append(("elsewhere", "", "", 0))
    labels = write_table(tmp_path / "stage_2_train_labels.csv", rows)
    store = ("--store", tmp_path / "store")
    run("ingest", tmp_path / "films", *store, "--public", "--quiet")
    columns = ("--subject", "patientId", "--label", "Target")
    capsys.readouterr()
    run("cohort", *store, "--labels", labels, *columns, "--out", tmp_path / "cohort", "--quiet")
    said = capsys.readouterr().out
    positive = sum(planted(number)[1] for number in range(FILMS))
    assert f"{positive} rows repeat a subject and time" in said
    assert "left out, subject that the store does not have: 1" in said
    assert f"positives: {positive} of {FILMS}" in said
    assert "gives its labels away" not in said  # there is nothing but films
    made = ("--cohort", tmp_path / "cohort", "--run", tmp_path / "run")
    run("train", *store, *made, *QUICK)
    run("evaluate", tmp_path / "run", "--quiet")
    require_better_than_the_base_rate(tmp_path, "Target")
    # A film that somebody brings to the page is its own patient's, at its own time.
    new = write_film(
        tmp_path / "new.dcm", planted(1000)[0], PatientID="new", StudyDate="20240301", Modality="CR"
    )
    shown = Predictor(tmp_path / "run").predict_upload([new])
    assert shown.prediction_time == pd.Timestamp("2024-03-01T23:59:59.999999")
    assert (shown.risks[0].risk > 0.5) == planted(1000)[1]


def test_where_the_table_gave_the_times_others_need_one(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[tuple[object, ...]] = [("who", "when", "ill")]
    rows += [(f"s{n}", "2000-01-02", int(planted(n)[1])) for n in range(FILMS - 1)]
    labels = write_table(tmp_path / "labels.csv", rows)
    store = ("--store", pictures / "store")
    columns = ("--subject", "who", "--time", "when", "--label", "ill")
    run("cohort", *store, "--labels", labels, *columns, "--out", tmp_path / "cohort", "--quiet")
    made = ("--cohort", tmp_path / "cohort", "--run", tmp_path / "run")
    run("train", *store, *made, "--candidates", "prevalence", "--quiet")
    risks = tmp_path / "risks.csv"
    run("predict", tmp_path / "run", *store, "--out", risks, "--quiet")
    assert len(pd.read_csv(risks)) == FILMS - 1
    assert set(pd.read_csv(risks)["prediction_time"]) == {"2000-01-02 23:59:59.999999"}
    run("predict", tmp_path / "run", *store, "--out", risks, "--at", "2000-01-03", "--quiet")
    assert len(pd.read_csv(risks)) == FILMS
    write_film(tmp_path / "in" / "a.dcm", PatientID="a", StudyDate="20240301")
    run("ingest", tmp_path / "in", "--store", tmp_path / "other", "--public", "--quiet")
    capsys.readouterr()
    words = ["predict", tmp_path / "run", "--store", tmp_path / "other", "--out", risks, "--quiet"]
    assert main([str(word) for word in words]) == InputError.exit_code
    told = capsys.readouterr().err
    assert "it names none of this store's subjects; give a time with --at" in told
    predictor = Predictor(tmp_path / "run", pictures / "store")
    last = predictor.predict(int(pd.read_csv(risks)["subject_id"].iloc[0]), datetime(2000, 1, 3))  # noqa: DTZ001
    assert last.prediction_time == pd.Timestamp("2000-01-03")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "one of the arguments --task --labels is required"),
        (["--task", "t.yaml", "--labels", "t.csv"], "not allowed with argument --task"),
    ],
)
def test_a_cohort_is_of_tasks_or_of_a_table(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["cohort", "--store", "s", "--out", "c", *words])
    assert told in capsys.readouterr().err


def test_a_tables_options_are_refused_beside_a_task(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cohort", "--store", "s", "--out", "c", "--task", "t.yaml", "--exclude-codes", "X"]
    assert main(words) == UsageError.exit_code
    assert "--exclude-codes is of a table of labels" in capsys.readouterr().err
