"""Encoders by name or directory: trained with, found again, and refused where they are others."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from encoders.frozen import FrozenEncoders
from fusion.crossfit import cross_validate
from fusion.evaluate import evaluate
from fusion.run import read_json
from fusion.served import ServedRun
from fusion.train import train
from ingest.errors import RunError, UsageError
from serve.cli import main
from serve.predictor import Predictor
from tests.fusion.clinic import DAY, write_clinic
from tests.fusion.small_encoders import write_backbone, write_bert
from tests.hospital import ROOT

NAMES = ["prevalence", "notes_embedding", "images_embedding", "average"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A run of the clinic that was trained, by the command line, with small encoders."""

    place: Path

    @property
    def run(self) -> Path:
        return self.place / "run"

    @property
    def store(self) -> Path:
        return self.place / "store"

    @property
    def named(self) -> dict[str, str]:
        return {"text": str(self.place / "bert"), "image": str(self.place / "resnet")}

    def train(self, run: str, *more: str) -> int:
        words = ["train", "--store", self.store, "--cohort", self.place / "cohort"]
        words += ["--run", self.place / run, "--candidates", *NAMES, "--quiet", *more]
        return main([str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    made = Trained(place=tmp_path_factory.mktemp("named"))
    write_clinic(made.place, n=90)
    task = ROOT / "ingest" / "tasks" / "heart_failure_1y.yaml"  # what serves must read it
    shutil.copy(task, made.place / "cohort" / "tasks" / "ill.yaml")
    write_bert(made.place / "bert")
    write_backbone(made.place / "resnet")
    named = ("--text-encoder", made.named["text"], "--image-encoder", made.named["image"])
    assert made.train("run", *named) == 0
    return made


def somebody(trained: Trained) -> int:
    """A held-out subject with a note and an image."""
    held_out = pd.read_parquet(trained.run / "held_out.parquet")["subject_id"]
    events = pd.read_parquet(trained.store / "data" / "0.parquet")
    known = events[events["time"] <= DAY]
    has = known.groupby("subject_id")[["text_value", "image"]].count().gt(0).all(axis=1)
    return int(held_out[held_out.isin(has[has].index)].iloc[0])


def test_the_run_states_how_its_encoders_were_named_and_their_weights(trained: Trained) -> None:
    said = read_json(trained.run / "run.json")
    assert said["encoders"] == trained.named
    mine = FrozenEncoders(text=trained.named["text"], image=trained.named["image"])
    assert said["preprocessing"] == mine.preprocessing
    embedded = FrozenEncoders().preprocessing
    for part in ("text", "image"):
        assert mine.preprocessing[part]["weights_sha256"] != embedded[part]["weights_sha256"]


def test_a_run_with_the_embedded_encoders_names_none(trained: Trained) -> None:
    cohort, run = trained.place / "cohort", trained.place / "embedded"
    train(trained.store, cohort, run, candidates=["prevalence"])
    assert "encoders" not in read_json(run / "run.json")


def test_it_predicts_with_what_it_names_and_where_that_was_moved_to(
    trained: Trained, tmp_path: Path
) -> None:
    risks = []
    for number, more in enumerate(([], ["--text-encoder", str(tmp_path / "elsewhere")])):
        if more:
            shutil.copytree(trained.named["text"], more[1])
        out = tmp_path / f"{number}.csv"
        words = ["predict", trained.run, "--store", trained.store, "--out", out, "--at"]
        assert main([*map(str, words), str(DAY), "--quiet", *more]) == 0
        risks.append(pd.read_csv(out))
    assert risks[0]["risk"].nunique() > 10
    pd.testing.assert_frame_equal(*risks)


def test_its_words_are_told_by_the_encoder_that_read_them(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = somebody(trained)
    words = ["explain", trained.run, "--subject", subject, "--store", trained.store]
    words += ["--at", DAY, "--model", "notes_embedding", "--json"]
    assert main([str(word) for word in words]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    (note,) = told["notes"]
    assert sum(share for *_, share in note["words"]) == pytest.approx(note["log_odds"])
    assert len({share for *_, share in note["words"]}) > 1
    predictor = Predictor(trained.run, trained.store)
    assert predictor.served.encoders.text_width == 64


def test_evaluation_repeats_the_command_with_its_encoders(trained: Trained) -> None:
    evaluate(trained.run, bootstrap=20)
    card = (trained.run / "MODEL_CARD.md").read_text("utf-8")
    assert f"--text-encoder {trained.named['text']}" in card


@pytest.mark.parametrize(("part", "write"), [("text", write_bert), ("image", write_backbone)])
def test_a_directory_with_other_weights_is_refused(
    trained: Trained, tmp_path: Path, part: str, write, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(tmp_path / "other", seed=1)
    with pytest.raises(RunError, match=f"trained with another encoder of {part}"):
        ServedRun(trained.run, **{part: str(other)})
    assert main(["evaluate", str(trained.run), f"--{part}-encoder", str(other)]) == 7
    assert f"another encoder of {part}" in capsys.readouterr().err


def test_encoders_that_are_no_more_there_are_asked_for(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    hidden = trained.place / "bert"
    hidden.rename(trained.place / "away")
    try:
        assert main(["serve", str(run), "--port", str(1 + 2**15)]) == 2
    finally:
        (trained.place / "away").rename(hidden)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"the run was trained with '{hidden}'; say where that is with --text-encoder" in said


def test_the_same_weights_elsewhere_are_not_fitted_anew(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained.run, trained.place / "again")
    shutil.copytree(trained.named["text"], tmp_path / "bert")
    monkeypatch.setattr("fusion.train.fit_candidate", lambda *a, **k: pytest.fail("fitted again"))
    named = ("--text-encoder", str(tmp_path / "bert"), "--image-encoder", trained.named["image"])
    assert trained.train("again", *named) == 0
    assert read_json(trained.place / "again" / "run.json")["encoders"]["text"] == named[1]


@pytest.mark.parametrize(
    ("part", "embedded"), [("text", "all-MiniLM-L6-v2"), ("image", "tf_efficientnet_lite0")]
)
def test_a_name_that_cannot_be_had_is_one_sentence_that_names_the_embedded_one(
    trained: Trained,
    part: str,
    embedded: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert trained.train("none", f"--{part}-encoder", "nobody/clinical") == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "'nobody/clinical' cannot be had, neither as a directory nor from a model hub" in said
    assert f"leave it out for the embedded {embedded}" in said
    assert not (trained.place / "none").exists()


@pytest.mark.parametrize(("part", "other"), [("text", "resnet"), ("image", "bert")])
def test_a_directory_of_another_kind_is_refused(trained: Trained, part: str, other: str) -> None:
    place = trained.place / other
    with pytest.raises(UsageError, match=r"cannot be used \(\w+\): it is damaged or of another"):
        train(trained.store, trained.place / "cohort", trained.place / "no", **{part: str(place)})


def test_cross_validation_states_its_encoders(trained: Trained, tmp_path: Path) -> None:
    found = cross_validate(
        trained.store,
        trained.place / "cohort",
        tmp_path / "folds",
        candidates=["prevalence", "notes_embedding"],
        folds=2,
        inner_folds=2,
        bootstrap=10,
        **trained.named,
    )
    assert found["encoders"] == trained.named
    assert "--image-encoder" in (tmp_path / "folds" / "report.html").read_text("utf-8")
