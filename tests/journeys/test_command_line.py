"""The journey of the README: from `simulate` to `predict`, on 60 patients, as a user types it."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

from encoders.frozen import FrozenEncoders
from fusion.candidates import CANDIDATES
from fusion.run import verify_run
from fusion.train import token_cache
from ingest.errors import DEFECT, InputError, LimitError, StoreError, UsageError
from ingest.store import RecordStore
from serve.cli import main
from serve.page_risk import percent
from tests.hospital import ROOT, Hospital, medweave

COMMANDS = (
    *("simulate", "check", "ingest", "store", "cohort", "train"),
    *("evaluate", "predict", "explain", "export", "serve", "demo"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    assert "usage: medweave " + command in medweave(command, "--help").stdout


def test_train_says_in_one_line_which_model_serves_and_why(hospital: Hospital) -> None:
    champion = json.loads((hospital.run / "champion.json").read_text())["tasks"]["heart_failure_1y"]
    line = [x for x in hospital.printed["train"].splitlines() if "heart_failure_1y" in x]
    assert len(line) == 1
    assert champion["model"] in line[0]
    verify_run(hospital.run)


def test_the_table_has_every_model_and_the_oracle(hospital: Hospital) -> None:
    metrics = json.loads((hospital.run / "metrics.json").read_text())
    task = metrics["tasks"]["heart_failure_1y"]
    assert metrics["split"] == "held_out"
    assert set(task["models"]) == set(CANDIDATES)
    assert len(task["subsets"]) == 7
    assert set(task["oracle"]) >= set(task["subsets"])
    for model in CANDIDATES:
        assert model in hospital.printed["evaluate"]


def test_a_metric_lies_inside_its_interval(hospital: Hospital) -> None:
    task = json.loads((hospital.run / "metrics.json").read_text())["tasks"]["heart_failure_1y"]
    for metrics in task["models"].values():
        for name in ("auroc", "auprc", "logloss", "brier"):
            found = metrics[name]
            assert found["low"] <= found["value"] <= found["high"], (name, found)


def test_predict_writes_a_risk_for_each_subject_of_the_task(hospital: Hospital) -> None:
    risks = pd.read_parquet(hospital.place / "risks.parquet")
    assert risks["risk"].between(0, 1, inclusive="neither").all()
    assert risks["subject_id"].nunique() == 60
    assert not risks.duplicated(["subject_id", "task", "prediction_time"]).any()


def test_predict_at_a_time_sees_nothing_later(hospital: Hospital, tmp_path: Path) -> None:
    early = tmp_path / "early.csv"
    medweave(
        "predict", hospital.run, "--store", hospital.store, "--out", early, "--at", "1800-01-01"
    )
    assert len(pd.read_csv(early)) == 0


def test_the_same_command_gives_the_same_fitted_artefact_whoever_filled_the_cache(
    hospital: Hospital, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(hospital.store, store)
    events = pd.read_parquet(store / "data")
    encoders = FrozenEncoders(token_cache(store))
    encoders.notes(events["text_value"].dropna().tolist()[::-1])
    encoders.images([store / image for image in events["image"].dropna()][::-1])
    medweave("train", "--store", store, "--cohort", hospital.cohort, "--run", tmp_path / "run")
    first = json.loads((hospital.run / "manifest.json").read_text())
    assert json.loads((tmp_path / "run" / "manifest.json").read_text()) == first


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["check", "nowhere"], 3, "nowhere"),
        (["ingest", "nowhere", "--store", "{tmp}/store"], 3, "nowhere"),
        (
            [
                *("cohort", "--store", "nowhere", "--out", "{tmp}/c"),
                *("--task", "ingest/tasks/covid_severity.yaml"),
            ],
            5,
            "nowhere",
        ),
        (
            ["train", "--store", "nowhere", "--cohort", "nowhere", "--run", "{tmp}/r"],
            None,
            "nowhere",
        ),
        (["evaluate", "nowhere"], 7, "nowhere"),
        (["evaluate", "README.md"], 7, "README.md"),
        (["serve", "nowhere", "--port", "99999"], 2, "65535"),
        (
            ["train", "--store", "s", "--cohort", "c", "--run", "{tmp}/r", "--repeats", "2"],
            2,
            "--folds",
        ),
        (["predict", "nowhere", "--store", "nowhere", "--out", "{tmp}/x.parquet"], 7, "nowhere"),
        (["simulate", "--patients", "0", "--out", "{tmp}/h"], 2, "at least 1"),
        (["demo", "--data", "tests", "--out", "{tmp}/d"], 3, "the demo knows"),
        (["demo", "--data", "tests", "--seed", "3"], 2, "--seed is of the simulated hospital"),
        (["demo", "--data", "tests", "--patients", "3"], 2, "--patients is of the simulated"),
        (["check", "nowhere", "--quiet"], 2, "--quiet"),
        (["serve", "nowhere", "--quiet"], 2, "--quiet"),
        (["simulate", "--patients", "many", "--out", "{tmp}/h"], 2, "a whole number; got 'many'"),
        (["train", "--store", "s", "--cohort", "c", "--run", "r", "--seed", "-1"], 2, "from 0 to"),
        (
            ["predict", "r", "--store", "s", "--out", "x.csv", "--at", "0001-01-01T00:00+14:00"],
            2,
            "must be ISO 8601",
        ),
    ],
)
def test_an_error_is_one_sentence_without_traceback(
    arguments: list[str], code: int | None, words: str, tmp_path: Path
) -> None:
    filled = [a.replace("{tmp}", str(tmp_path)) for a in arguments]
    done = medweave(*filled, code={5, 6} if code is None else code)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_it_is_a_command_and_a_module() -> None:
    """The other tests run it in forked processes; this is what a shell starts."""
    beside = Path(sys.executable).with_name("medweave")
    for words in ([sys.executable, "-m", "serve.cli"], [str(beside)]):
        words = [*words, "store", "info", "nowhere"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == StoreError.exit_code
        assert done.stderr.startswith("medweave store: nowhere ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_quiet_is_offered_where_there_is_a_bar_to_hide(command: str) -> None:
    without = {"check", "store", "serve", "explain", "export"}
    assert ("--quiet" in medweave(command, "--help").stdout) == (command not in without)


def test_a_defect_is_told_by_its_kind_and_place_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> str:
        raise KeyError("Jane Roe, born 1950-01-01")

    monkeypatch.setattr("ingest.check.check", fails)
    assert main(["check", str(tmp_path)]) == DEFECT == 9
    said = capsys.readouterr().err
    assert said.startswith("medweave check: unexpected KeyError at serve/cli.py:")
    assert said.count("\n") == 1
    assert "Roe" not in said


@pytest.mark.parametrize(
    ("last", "code", "words"),
    [
        (InputError("line 7 is no FHIR"), InputError.exit_code, "InputError: line 7 is no FHIR"),
        (RuntimeError("Jane Roe"), DEFECT, "RuntimeError"),
        (ExceptionGroup("Roe", [OSError("Roe.json")]), DEFECT, "ExceptionGroup"),
    ],
)
def test_debug_shows_where_an_error_came_from_and_not_what_it_says(
    last: Exception, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fails(*_: object, **__: object) -> str:
        try:
            try:
                raise KeyError("Jane Roe, born 1950-01-01")
            except KeyError as error:
                error.add_note("of Jane Roe")
                raise ValueError("Jane Roe is no date") from error
        except ValueError:
            raise last  # noqa: B904 - the context is what is tested

    monkeypatch.setattr("ingest.check.check", fails)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    assert main(["--debug", "check", "."]) == code
    said = capsys.readouterr().err
    assert not re.search("Jane|Roe", said)
    lines = said.splitlines()
    for line in ("KeyError", "ValueError", words):
        assert line in lines
    assert re.search(r"^  serve/cli\.py, line \d+, in _check$", said, re.MULTILINE)
    assert re.search(r"^  tests/journeys/test_command_line\.py, line \d+, in fails$", said, re.M)
    assert warnings.formatwarning("PN: Roe^Jane", UserWarning, "a.py", 7) == "a.py:7: UserWarning\n"
    assert lines[-1].startswith("medweave check: ")


@pytest.mark.parametrize(
    ("error", "words"), [(MemoryError(), "not enough memory"), (RecursionError(), "too deeply")]
)
def test_what_is_too_large_or_too_deep_is_over_a_limit(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fails(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("ingest.check.check", fails)
    assert main(["check", "."]) == LimitError.exit_code
    assert words in capsys.readouterr().err


def test_a_demo_that_lost_count_of_its_stages_says_how_to_start_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hospital").mkdir()
    for content in ("", "{", "[1]"):
        (tmp_path / "hospital" / "stages.json").write_text(content, "utf-8")
        assert main(["demo", "--out", str(tmp_path), "--no-serve"]) == 3
        assert f"delete {tmp_path / 'hospital'} to start anew" in capsys.readouterr().err


def test_judging_another_split_leaves_what_the_page_shows(
    hospital: Hospital, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(hospital.run, run)
    shown = (run / "metrics.json").read_bytes()
    done = medweave("evaluate", run, "--split", "tuning", "--quiet")
    assert f"{run}/metrics.tuning.json and report.tuning.html written" in done.stdout
    assert done.stderr == ""
    assert (run / "metrics.json").read_bytes() == shown
    assert json.loads((run / "metrics.tuning.json").read_text())["split"] == "tuning"


def test_explain_says_what_added_to_a_risk_and_marks_the_words_on_its_page(
    hospital: Hospital, tmp_path: Path
) -> None:
    risks = pd.read_parquet(hospital.place / "risks.parquet")
    row = risks.iloc[0]
    subject = str(row["subject_id"])
    words = ["explain", hospital.run, "--store", hospital.store, "--subject", subject]
    page = tmp_path / "why.html"
    change = "--what-if=LOINC//2160-0=2.5"
    printed = medweave(*words, change, "--what-if=+SNOMED//38341003", "--page", page).stdout
    assert f"heart_failure_1y: {percent(row['risk'])} by " in printed
    assert "with LOINC//2160-0=2.5: " in printed
    assert "with +SNOMED//38341003: " in printed
    told = json.loads(medweave(*words, "--model", "attention", "--json").stdout)[0]
    added = sum(part["log_odds"] for part in told["modalities"].values())
    logit = told["base_log_odds"] + added
    assert told["risk"] == pytest.approx(1 / (1 + 2.718281828**-logit), abs=1e-5)
    html = page.read_text("utf-8")
    assert "Not for clinical use" in html
    assert "http" not in html.replace("http-equiv", "")
    notes = RecordStore(hospital.store).timeline(int(subject)).df()["text_value"].dropna()
    for line in "\n".join(notes).splitlines():
        assert not line.strip() or line not in printed


def test_explain_refuses_in_one_sentence_what_is_not_there(
    hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = str(pd.read_parquet(hospital.place / "risks.parquet")["subject_id"].iloc[0])
    words = ["explain", str(hospital.run), "--store", str(hospital.store), "--subject"]
    for arguments, code, told in (
        ([subject, "--model", "oracle"], UsageError.exit_code, "--model must be one of prevalence"),
        ([subject, "--task", "gout"], UsageError.exit_code, "--task must be one of heart_failure"),
        ([subject, "--what-if", "LOINC//1"], UsageError.exit_code, "a change must be CODE=VALUE"),
        ([subject, "--what-if=-SNOMED//0"], UsageError.exit_code, "SNOMED//0 is not in the record"),
        (["12"], InputError.exit_code, "no task asks about subject 12"),
    ):
        assert main([*words, *arguments]) == code
        refused = capsys.readouterr().err
        assert told in refused
        assert refused.count("\n") == 1
