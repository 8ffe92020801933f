"""An export says what its run says, is the same bytes each time, and is refused where it is not."""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from encoders.frozen import FrozenEncoders
from encoders.onnx_frozen import open_graph
from fusion.attention import AttentionCandidate, AttentionConfig
from fusion.onnx_compare import Sizes, compare_export, describe_comparison
from fusion.onnx_export import export_onnx
from fusion.onnx_graphs import fusion_graph, image_graph
from fusion.onnx_scorer import OnnxScorer, verify_export
from fusion.run import read_json, seal_run, write_json
from fusion.scoring import Scorer, subset_name, subsets
from fusion.served import ServedRun
from fusion.train import train
from fusion.training import TrainingConfig
from ingest.errors import RunError, UsageError
from ingest.schema import Modality
from ingest.timeline import Timelines
from serve.cli import main
from tests.fusion.clinic import clinic_timelines, lesson, write_clinic

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")

CLOSE = 1e-4
EVERY_SUBSET = [frozenset(), *subsets()]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A small run whose champion is attention, and its export."""

    place: Path
    encoders: FrozenEncoders

    @property
    def run(self) -> Path:
        return self.place / "run"

    @property
    def onnx(self) -> Path:
        return self.place / "onnx"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    place = tmp_path_factory.mktemp("exported")
    store, cohort = write_clinic(place, n=60)
    encoders = FrozenEncoders(place / "tokens")
    train(store, cohort, place / "run", candidates=["prevalence"], encoders=encoders)
    _add_attention(place, encoders)
    made = Exported(place=place, encoders=encoders)
    export_onnx(made.run, made.onnx, encoders=encoders)
    return made


def _add_attention(place: Path, encoders: FrozenEncoders) -> None:
    """Put a small ensemble beside the simple model: what `train` fits takes minutes."""
    rows = clinic_timelines(place / "more", 50, 3)
    candidate = AttentionCandidate.fit(
        lesson(*rows, *rows, encoders=encoders),
        ensemble=AttentionConfig(members=2),
        training=TrainingConfig(epochs=2, batch=32),
        width=16,
        heads=2,
        latents=4,
        layers=1,
    )
    run = place / "run"
    candidate.save(run / "models" / "attention")
    config, champion = read_json(run / "run.json"), read_json(run / "champion.json")
    calibration = read_json(run / "calibration.json")
    config["candidates"].append("attention")
    champion["tasks"]["ill"]["model"] = "attention"
    line = {"kind": "platt", "slope": 1.3, "intercept": -0.2, "steps": [], "threshold": 0.4}
    calibration["ill"]["attention"] = {**calibration["ill"]["prevalence"], **line}
    for name, content in (("run", config), ("champion", champion), ("calibration", calibration)):
        write_json(run / f"{name}.json", content)
    seal_run(run)


@pytest.fixture(scope="module")
def timelines(tmp_path_factory: pytest.TempPathFactory) -> Timelines:
    """Twelve patients of whom no two are known in the same way."""
    plain, _ = clinic_timelines(tmp_path_factory.mktemp("edges"), 12, 9)
    events = plain.events.copy()
    row, modality = events["row"], events["modality"]
    lost = ((row == 0) & (modality == "notes")) | ((row == 1) & (modality == "images")) | (row == 2)
    events.loc[row == 3, "numeric_value"] = np.nan
    events = events[~lost]
    film = events[events["modality"] == "images"].iloc[[0]]
    films = events.loc[events["modality"] == "images", "image"].drop_duplicates().tolist()
    note = events[events["modality"] == "notes"].iloc[[0]]
    more = [film.assign(row=4, image=path) for path in films[:5]]
    texts = ("", "No oedema. Walks well, but tires. " * 9, "心衰 NYHA III–IV; denies pain.")
    more += [note.assign(row=5, text_value=text, code="NOTE//LOCAL//unseen") for text in texts]
    events = pd.concat([events, *more]).sort_values("row", kind="stable").reset_index(drop=True)
    return replace(plain, events=events)


@pytest.fixture(scope="module")
def served(exported: Exported) -> ServedRun:
    return ServedRun(exported.run, encoders=exported.encoders)


def test_it_is_a_scorer_of_the_runs_tasks(exported: Exported) -> None:
    scorer = OnnxScorer(exported.onnx)
    assert isinstance(scorer, Scorer)
    assert scorer.tasks == ("ill",)


@pytest.mark.parametrize("shown", EVERY_SUBSET, ids=subset_name)
def test_it_gives_the_runs_risk_whatever_is_seen_of_whomever(
    exported: Exported, served: ServedRun, timelines: Timelines, shown: frozenset[Modality]
) -> None:
    said = OnnxScorer(exported.onnx).score(timelines, shown)
    np.testing.assert_allclose(said, served.score(timelines, shown), rtol=0, atol=CLOSE)
    assert (np.ptp(said) > 1e-3) == bool(shown)


def test_one_row_alone_no_row_and_many_rows_are_answered(
    exported: Exported, served: ServedRun, timelines: Timelines
) -> None:
    scorer = OnnxScorer(exported.onnx)
    for rows in (np.arange(0), np.array([4]), np.arange(12).repeat(8)):
        some = timelines.take(rows)
        np.testing.assert_allclose(scorer.score(some), served.score(some), rtol=0, atol=CLOSE)


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_which_name_no_place(exported: Exported) -> None:
    members = AttentionCandidate.load(
        exported.run / "models" / "attention", exported.encoders
    ).members
    fused = fusion_graph(members)
    assert fused == (exported.onnx / "fusion.onnx").read_bytes()
    seen = image_graph(exported.encoders._image)
    assert seen == (exported.onnx / "image.onnx").read_bytes()
    for graph in (fused, seen):
        assert b"/fusion/" not in graph
        assert b"site-packages" not in graph


def test_export_json_says_whose_it_is(exported: Exported) -> None:
    said = verify_export(exported.onnx)
    assert said["champions"] == {"ill": "attention"}
    assert said["calibration"]["ill"]["slope"] == 1.3
    assert said["members"] == 2
    assert {"text.onnx", "image.onnx", "fusion.onnx", "vocabulary.json"} < set(said["sha256"])
    assert str(exported.place) not in (exported.onnx / "export.json").read_text()


def test_the_comparison_finds_no_difference_and_states_how_it_was_made(exported: Exported) -> None:
    report = compare_export(
        exported.onnx,
        exported.run,
        store=exported.place / "store",
        cohort=exported.place / "cohort",
        split="train",
        sizes=Sizes(rows_at_most=10, timed_rows=2, rounds=2),
        encoders=exported.encoders,
    )
    assert read_json(exported.onnx / "export_report.json") == report
    assert (report["rows"], report["rows_in_split"]) == (10, 30)
    assert 0 < report["largest_difference"] < CLOSE
    auroc = report["auroc"]["ill"]
    assert auroc["torch"] == pytest.approx(auroc["onnx"], abs=0.05)
    assert report["timed_with"] == {"events": 2, "notes": 2, "images": 2}
    for found in report["latency_ms"].values():
        assert 0 < found["median"] <= found["p95"]
    told = describe_comparison(report)
    assert "10 rows of train (evenly spread among its 30)" in told
    assert "4 calls of 2 patients, encoders included, warm, no token cache, 1 thread" in told
    verify_export(exported.onnx)  # the report is no part of the export


@pytest.mark.parametrize("name", ["fusion.onnx", "vocabulary.json", "tokenizer/tokenizer.json"])
def test_a_changed_file_is_refused(exported: Exported, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(exported.onnx, tmp_path / "onnx")
    file = folder / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(RunError, match=rf"{name} was changed since it was exported"):
        OnnxScorer(folder)
    file.unlink()
    with pytest.raises(RunError, match=rf"{name} is missing"):
        OnnxScorer(folder)


def test_an_added_file_another_layout_and_another_directory_are_refused(
    exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="an export is what `medweave export` writes"):
        OnnxScorer(tmp_path)
    folder = shutil.copytree(exported.onnx, tmp_path / "onnx")
    (folder / "tokenizer" / "more.json").write_text("{}")
    with pytest.raises(RunError, match=r"tokenizer/more\.json was added"):
        OnnxScorer(folder)
    said = read_json(folder / "export.json")
    write_json(folder / "export.json", {**said, "layout": 0})
    with pytest.raises(RunError, match="another version of Medweave"):
        OnnxScorer(folder)


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.onnx").write_bytes(b"not a graph")
    with pytest.raises(RunError, match=r"image\.onnx cannot be read as an ONNX graph"):
        open_graph(tmp_path / "image.onnx")


def test_a_run_that_another_model_serves_is_refused_and_the_option_named(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(exported.run, tmp_path / "run")
    champion = read_json(run / "champion.json")
    champion["tasks"]["ill"]["model"] = "prevalence"
    write_json(run / "champion.json", champion)
    seal_run(run)
    assert main(["export", str(run), "--out", str(tmp_path / "onnx")]) == UsageError.exit_code
    told = capsys.readouterr().err
    assert "the champion of ill is prevalence" in told
    assert "--model attention" in told
    assert not (tmp_path / "onnx").exists()


def test_other_models_runs_without_one_and_other_directories_are_refused(
    exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"model must be attention.*got 'stacked'"):
        export_onnx(exported.run, tmp_path / "onnx", model="stacked", encoders=exported.encoders)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there and is no export"):
        export_onnx(exported.run, tmp_path, encoders=exported.encoders)
    assert (tmp_path / "mine.txt").is_file()
    run = shutil.copytree(exported.run, tmp_path / "run")
    config = read_json(run / "run.json")
    write_json(run / "run.json", {**config, "candidates": ["prevalence"]})
    seal_run(run)
    with pytest.raises(RunError, match="has no attention model"):
        export_onnx(run, tmp_path / "onnx", model="attention", encoders=exported.encoders)


def test_without_the_extra_one_sentence_says_what_to_install(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusion.onnx_export.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs onnx, .*pip install 'medweave\[onnx\]'"):
        export_onnx(exported.run, tmp_path / "onnx", encoders=exported.encoders)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'medweave\[onnx\]'"):
        OnnxScorer(exported.onnx)


def test_what_cannot_be_compared_is_refused_before_anything_is_written(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(exported.run), "--out", str(tmp_path / "onnx")]
    assert main([*command, "--split", "test"]) == UsageError.exit_code
    assert main([*command, "--store", str(tmp_path / "none")]) == 3
    assert "is not there" in capsys.readouterr().err
    assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize("known", [True, False])
def test_the_command_compares_with_the_runs_own_sources_where_they_still_lie(
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    known: bool,
) -> None:
    def copied(run: Path, out: Path, *, model: str, **encoders: str) -> dict:  # else a minute
        assert (model, encoders) == ("attention", {"text": None, "image": None})
        report = shutil.ignore_patterns("export_report.json")  # an earlier test may have left one
        return verify_export(shutil.copytree(exported.onnx, out, ignore=report))

    brief = Sizes(rows_at_most=4, timed_rows=1, rounds=1)
    monkeypatch.setattr("fusion.onnx_export.export_onnx", copied)
    monkeypatch.setattr("fusion.onnx_compare.Sizes", lambda: brief)
    run, out = shutil.copytree(exported.run, tmp_path / "run"), tmp_path / "onnx"
    if not known:
        (run / "sources.json").unlink()
    assert main(["export", str(run), "--out", str(out), "--model", "attention"]) == 0
    told = capsys.readouterr().out
    assert f"{out}: ill as ONNX" in told
    assert ("compared on 4 rows of held out" in told) == known
    assert ("not compared with the run" in told) == (not known)
    assert (out / "export_report.json").is_file() == known


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds=0"):
        Sizes(rounds=0)
