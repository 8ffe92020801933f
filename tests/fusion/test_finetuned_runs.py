"""A fine-tuned candidate in a run: it serves, is fitted again when asked, and explains."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusion.candidates import CANDIDATES, ON_REQUEST
from fusion.explain import explain
from fusion.finetune_config import FinetuneConfig
from fusion.fitting import candidate_names, candidate_options
from fusion.prevalence import to_logit
from fusion.run import read_json
from fusion.served import ServedRun
from fusion.train import train
from ingest.errors import UsageError
from ingest.schema import Modality
from tests.fusion.clinic import hashes, held_out, write_clinic
from tests.fusion.findings import small_encoders

NAMES = tuple(ON_REQUEST)
QUICK = FinetuneConfig(epochs=2, image_rate=1e-3, text_rate=1e-3)
ASKED = ["prevalence", "images_embedding", *NAMES]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetune")


def run(clinic: Path, place: Path, names: list[str] = ASKED, to: str = "run", **more: Any) -> dict:
    how = {"finetune": QUICK} | more
    encoders = small_encoders(place, cache=clinic / "tokens")
    where = clinic / "store", clinic / "cohort", clinic / to
    return train(*where, candidates=names, encoders=encoders, **how)


@pytest.fixture(scope="module")
def clinic(place: Path) -> Path:
    made = place / "clinic"
    made.mkdir()
    write_clinic(made, n=100)
    run(made, place)
    return made


@pytest.mark.parametrize("name", NAMES)
def test_it_can_serve_from_the_disk(clinic: Path, place: Path, name: str) -> None:
    chosen = run(clinic, place, champion=name)
    assert chosen["tasks"]["ill"]["model"] == name
    served, timelines = ServedRun(clinic / "run", encoders=small_encoders(place)), held_out(clinic)
    assert read_json(clinic / "run" / "run.json")["finetune"]["layers"] == "last"
    risk = served.score(timelines)
    np.testing.assert_array_equal(risk, served.scorer(name).score(timelines))
    alone = np.concatenate([served.score(timelines.take(np.array([i]))) for i in range(4)])
    np.testing.assert_allclose(alone, risk[:4], atol=1e-6)
    assert len(np.unique(risk)) > 2


def test_how_they_are_trained_is_part_of_the_question(clinic: Path, place: Path) -> None:
    names = ["images_embedding", "images_finetuned"]
    run(clinic, place, names, to="full")
    first = hashes(clinic / "full")
    run(clinic, place, names, to="full", finetune=replace(QUICK, layers="full"))
    second = hashes(clinic / "full")
    changed = {name for name in first if first[name] != second.get(name)}
    assert "models/images_finetuned/encoder.safetensors" in changed
    assert not any(name.startswith("models/images_embedding") for name in changed)


def test_training_that_was_killed_in_mid_fit_gives_the_same_bytes(
    clinic: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fusion.finetuning as module

    run(clinic, place)
    real, seen = module.masked_loss, []

    def dies(*a: Any) -> torch.Tensor:
        seen.append(a)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return real(*a)

    with monkeypatch.context() as patched:
        patched.setattr(module, "masked_loss", dies)
        with pytest.raises(KeyboardInterrupt):
            run(clinic, place, to="killed")
    assert not (clinic / "killed" / "models" / "notes_finetuned").exists()
    run(clinic, place, to="killed")
    assert hashes(clinic / "killed") == hashes(clinic / "run")


@pytest.mark.parametrize("name", NAMES)
def test_its_risk_is_taken_apart_down_to_places_and_sentences(
    clinic: Path, place: Path, name: str
) -> None:
    from tests.fusion.test_explain import WholeNotes

    run(clinic, place)
    served, timelines = ServedRun(clinic / "run", encoders=small_encoders(place)), held_out(clinic)
    has = np.flatnonzero(np.all([timelines.has(m) for m in Modality], axis=0))
    one = timelines.take(has[:1])
    found = explain(served, one, "ill", model=name, words=WholeNotes())
    total = found.base + sum(found.modalities.values())
    assert total == pytest.approx(float(to_logit(served.scorer(name).score(one)[0, 0])), abs=1e-9)
    mine = Modality.IMAGES if name == "images_finetuned" else Modality.NOTES
    items = found.images if name == "images_finetuned" else found.notes
    (item,) = items
    whole = item.log_odds + found.being_there[mine]
    assert whole == pytest.approx(found.modalities[mine], abs=1e-9)
    assert found.events == {}
    for note in found.notes:  # words would have to be told by the encoder that read them
        assert note.words == ()
        assert sum(s.log_odds for s in note.sentences) == pytest.approx(note.log_odds)


def test_they_are_fitted_only_where_asked_for() -> None:
    assert candidate_names(None) == tuple(CANDIDATES)
    assert not set(NAMES) & set(CANDIDATES)
    asked = ["images_finetuned", "attention", "prevalence"]
    assert candidate_names(asked) == ("prevalence", "attention", "images_finetuned")
    config = {"candidates": ["prevalence", "images_finetuned"], "finetune": {"layers": "full"}}
    told = " --candidates prevalence images_finetuned --finetune full"
    assert candidate_options(config) == told


def test_how_to_finetune_is_of_these_two_alone(tmp_path: Path) -> None:
    from serve.cli import main

    write_clinic(tmp_path, n=40)
    with pytest.raises(
        UsageError, match="--finetune says how notes_finetuned and images_finetuned"
    ):
        run(tmp_path, tmp_path, ["prevalence"], finetune=FinetuneConfig())
    words = ["train", "--store", tmp_path / "store", "--cohort", tmp_path / "cohort", "--quiet"]
    words += ["--run", tmp_path / "run", "--candidates", "prevalence", "--finetune", "full"]
    assert main([str(word) for word in words]) == UsageError.exit_code
    with pytest.raises(ValueError, match="patience must be at least 1; got patience=0"):
        FinetuneConfig(patience=0)
