"""The card says what metrics.json says, in a form that the field's tools read."""

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from encoders.frozen import FrozenEncoders
from fusion.card import _EMBEDDED, CARD, write_card
from fusion.evaluate import evaluate
from fusion.run import read_json, verify_run
from fusion.train import train
from ingest.errors import RunError
from tests.fusion.clinic import HashedEncoders, write_clinic

NAMES = ("prevalence", "events_logistic", "notes_tfidf", "average")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("card")
    store, cohort = write_clinic(place, n=360, strength=(2.0, 2.0, 2.0), exclude_codes=["^X<|>"])
    train(store, cohort, place / "run", candidates=NAMES, encoders=HashedEncoders())
    evaluate(place / "run", bootstrap=100, encoders=HashedEncoders())
    return place / "run"


@pytest.fixture(scope="module")
def metrics(run: Path) -> dict:
    return read_json(run / "metrics.json")


@pytest.fixture(scope="module")
def card(run: Path) -> ModelCard:
    return ModelCard.load(run / CARD)


def rows(card: ModelCard, heading: str) -> list[list[str]]:
    part = card.text.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_card_says_how_often_label_sets_hold_the_label(card: ModelCard, metrics: dict) -> None:
    told = rows(card, "### What stands beside a risk")
    sets = metrics["tasks"]["ill"]["label_sets"]
    assert [level for level, *_ in told] == list(sets)
    for (_, covered, *_), found in zip(told, sets.values(), strict=True):
        assert covered.startswith(f"{found['coverage']['value']:.3f}")


def test_the_hubs_own_reader_finds_the_numbers_of_metrics_json(
    card: ModelCard, metrics: dict
) -> None:
    ill = metrics["tasks"]["ill"]
    serving = ill["models"][ill["champion"]]
    found = {result.metric_type: result for result in card.data.eval_results}
    kinds = {"roc_auc": "auroc", "average_precision": "auprc", "log_loss": "logloss"}
    for kind, name in (kinds | {"brier_score": "brier"}).items():
        assert found[kind].metric_value == serving[name]["value"]
        assert found[kind].dataset_split == "held_out"
    assert card.data.library_name == "medweave"
    assert "not-for-clinical-use" in card.data.tags


def test_every_model_stands_in_it_with_its_intervals(card: ModelCard, metrics: dict) -> None:
    ill = metrics["tasks"]["ill"]
    found = rows(card, "### Discrimination and calibration, beside the simple models")
    shown = [f"**{n} (serves)**" if n == ill["champion"] else n for n in NAMES]
    assert [cells[0] for cells in found] == shown
    for cells, name in zip(found, NAMES, strict=True):
        measured = ill["models"][name] | ill["calibration_intervals"][name]
        columns = ("auroc", "auprc", "logloss", "brier", "ece", "slope", "intercept")
        for cell, metric in zip(cells[1:], columns, strict=True):
            if measured[metric]["value"] is None:
                assert cell == "n/a"
                continue
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", cell)]
            wanted = [measured[metric][key] for key in ("value", "low", "high")]
            assert numbers == pytest.approx([w for w in wanted if w is not None], abs=6e-3)


def test_the_cohort_thresholds_missingness_subsets_and_subgroups_stand_in_it(
    card: ModelCard, metrics: dict
) -> None:
    ill = metrics["tasks"]["ill"]
    assert (
        f"{ill['n']} held-out rows of {ill['subjects']} patients, {ill['positives']}" in card.text
    )
    assert ["held_out", *[str(ill["n"])] * 2] in rows(card, "## Data and cohort")
    assert len(rows(card, "### At stated thresholds")) == 5
    assert {r[0] for r in rows(card, "### What is missing")} == set(ill["missing"])
    assert len(rows(card, "### Seeing only some modalities")) == len(ill["subsets"])
    shown = {cells[0]: cells[1] for cells in rows(card, "### Subgroups")}
    assert shown == {name: str(found["n"]) for name, found in ill["subgroups"].items()}
    assert "under 20" in shown.values()  # of 54 held-out rows few lack a note


def test_it_says_what_it_is_not_for_how_to_repeat_it_and_whose_weights_it_needs(
    card: ModelCard,
) -> None:
    assert "It is no medical device" in card.text
    assert "medweave evaluate run --split held_out" in card.text
    assert "Seed: 0" in card.text
    assert "`^X&lt;\\|&gt;`" in card.text
    assert card.text.count("was chosen by whoever trained this") == 2  # not the embedded ones


def test_it_holds_no_path_no_date_and_no_subject(run: Path, card: ModelCard) -> None:
    assert str(run.parent) not in card.content
    assert not re.search(r"(?<![\w.])/(tmp|home|root|work|Users)\b", card.content)
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", card.content)
    told = set(re.findall(r"\d{6,}", card.text.replace("SHA-256", "")))
    manifest = re.search(r"manifest: `([0-9a-f]{64})`", card.text)
    assert manifest
    assert all(number in manifest[1] for number in told)


def test_a_second_evaluation_gives_the_same_bytes_and_the_seal_holds(run: Path) -> None:
    before = (run / CARD).read_bytes()
    evaluate(run, bootstrap=100, encoders=HashedEncoders())
    assert (run / CARD).read_bytes() == before
    verify_run(run)


def test_another_split_makes_no_card(run: Path, metrics: dict) -> None:
    before = (run / CARD).read_bytes()
    evaluate(run, split="tuning", bootstrap=20, encoders=HashedEncoders())
    assert (run / CARD).read_bytes() == before
    with pytest.raises(ValueError, match="of held_out alone; got split='tuning'"):
        write_card(run, {**metrics, "split": "tuning"}, commands={})


def test_a_run_without_its_task_is_refused(run: Path, metrics: dict) -> None:
    renamed = {**metrics, "tasks": {"other": metrics["tasks"]["ill"]}}
    with pytest.raises(RunError, match=r"other\.yaml cannot be read"):
        write_card(run, renamed, commands={})


def test_words_from_outside_stay_words(run: Path, metrics: dict, tmp_path: Path) -> None:
    told = json.loads(json.dumps(metrics))
    told["flow"]["warnings"] = {"ill": ["<script>alert(1)</script>\n# not a heading | x"]}
    before = (run / CARD).read_bytes()
    try:
        text = write_card(run, told, commands={}).read_text("utf-8")
    finally:
        (run / CARD).write_bytes(before)
    assert "<script>" not in text
    assert "\n# not a heading" not in text
    assert yaml.safe_load(text.split("---\n")[1])["model-index"][0]["name"] == "run"


def test_the_fingerprints_whose_licence_is_stated_are_those_of_the_embedded_weights() -> None:
    found = FrozenEncoders().preprocessing
    assert {part: said["weights_sha256"] for part, said in found.items()} == _EMBEDDED


def test_training_anew_takes_the_old_card_away(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / CARD).write_text("of an older model")
    train(
        run.parent / "store",
        run.parent / "cohort",
        tmp_path / "run",
        candidates=NAMES[:1],
        encoders=HashedEncoders(),
    )
    assert not (tmp_path / "run" / CARD).exists()
