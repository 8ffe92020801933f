"""Explanations of every model, from shares of log odds to what a person is shown."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from fusion.attention import AttentionCandidate
from fusion.calibration import Calibrator
from fusion.candidates import CANDIDATES
from fusion.explain import ExplainedImage, Explanation, Span, _by_word, explain
from fusion.inside import look_inside
from fusion.prevalence import to_logit
from fusion.scoring import ALL_MODALITIES
from fusion.served import ServedRun
from fusion.train import train
from ingest.schema import Modality
from ingest.store import RecordStore
from ingest.timeline import Timelines
from tests.fusion.clinic import HashedEncoders, write_clinic

EVENTS, NOTES, IMAGES = Modality


class WholeNotes:
    """A WordReader for HashedEncoders: the note is one sentence, and each word says the same."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]

    def words(self, text: str, slopes: np.ndarray) -> list[tuple[int, int, float]]:
        found, start = [], 0
        for word in text.split():
            start = text.index(word, start)
            found.append((start, start + len(word), float(slopes.sum())))
            start += len(word)
        return found


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServedRun, Timelines]:
    place = tmp_path_factory.mktemp("clinic")
    store, cohort = write_clinic(place, n=220)
    train(store, cohort, place / "run", encoders=HashedEncoders())
    served = ServedRun(place / "run", encoders=HashedEncoders())
    from ingest.labels import read_cohort

    index = read_cohort(cohort).index
    held_out = index[index["split"] == "held_out"].reset_index(drop=True)
    timelines = RecordStore(store).timelines(held_out[["subject_id", "prediction_time"]])
    return served, timelines


def complete(timelines: Timelines) -> list[int]:
    """Rows that have everything."""
    return np.flatnonzero(np.all([timelines.has(m) for m in Modality], axis=0)).tolist()


def row(timelines: Timelines, number: int) -> Timelines:
    return timelines.take(np.array([number]))


@pytest.mark.parametrize("name", list(CANDIDATES))
def test_nothing_is_left_over(clinic: tuple[ServedRun, Timelines], name: str) -> None:
    served, timelines = clinic
    for number in complete(timelines)[:3]:
        one = row(timelines, number)
        found = explain(served, one, "ill", model=name, words=WholeNotes())
        risk = served.scorer(name).score(one)[0, 0]
        assert found.risk == risk
        total = found.base + sum(found.modalities.values())
        assert total == pytest.approx(float(to_logit(risk)), abs=1e-9)
        told = {
            EVENTS: sum(found.events.values()),
            NOTES: sum(note.log_odds for note in found.notes),
            IMAGES: sum(image.log_odds for image in found.images),
        }
        for modality, share in told.items():
            whole = share + found.being_there[modality]
            assert whole == pytest.approx(found.modalities[modality], abs=1e-9)
        for note in found.notes:
            assert sum(w.log_odds for w in note.words) == pytest.approx(note.log_odds, abs=1e-9)


@pytest.mark.parametrize("name", ["events_logistic", "notes_tfidf", "notes_embedding"])
def test_the_shares_of_a_regression_are_its_log_odds_less_the_intercept(
    clinic: tuple[ServedRun, Timelines], name: str
) -> None:
    served, timelines = clinic
    model = served.fitted(name)
    modality = EVENTS if name.startswith("events") else NOTES
    for number in complete(timelines)[:5]:
        one = row(timelines, number)
        logit = float(to_logit(model.score(one))[0, 0])
        said = look_inside(model, one, modality).total()
        assert said == pytest.approx(logit - float(model.logistic.intercepts[0]), abs=1e-9)


@pytest.mark.filterwarnings("ignore:LightGBM binary classifier")  # of how shap once gave values
def test_the_shares_of_trees_are_those_that_shap_finds(
    clinic: tuple[ServedRun, Timelines],
) -> None:
    shap = pytest.importorskip("shap")
    served, timelines = clinic
    model = served.fitted("events_boosting")
    one = row(timelines, complete(timelines)[0])
    table = model.features.table(one)
    wanted = np.asarray(shap.TreeExplainer(model.boosters[0]).shap_values(table))
    wanted = wanted.reshape(-1)[-len(model.features.names) :]
    found = look_inside(model, one, EVENTS).events
    code = "LOINC//8480-6"
    mine = [v for n, v in zip(model.features.names, wanted, strict=True) if n.startswith(code)]
    assert found[code] == pytest.approx(sum(mine), abs=1e-6)
    assert sum(found.values()) == pytest.approx(wanted.sum(), abs=1e-6)


@pytest.mark.parametrize("modality", [NOTES, IMAGES])
def test_attention_is_taken_apart_from_an_average_item_to_what_is_there(
    clinic: tuple[ServedRun, Timelines], modality: Modality
) -> None:
    served, timelines = clinic
    model = served.fitted("attention")
    assert isinstance(model, AttentionCandidate)
    for number in complete(timelines)[:3]:
        one = row(timelines, number)
        parts = model.read(one)
        before = float(to_logit(model.score_parts(parts))[0, 0])
        logits = []
        for member in model.members:
            batch = parts.batch([0])
            layer = member.notes if modality == NOTES else member.images
            name = "note_values" if modality == NOTES else "image_values"
            n, width = batch[name].shape[2:]
            if layer.positions:
                assert n == layer.positions
                batch[name] = layer.whole_centre.view(1, 1, n, width)
            else:
                batch[name] = layer.whole_centre.expand(1, 1, n, width)
            with torch.inference_mode():
                logits.append(float(member(**batch).logits[0, 0]))
        wanted = before - np.mean(logits)
        said = look_inside(model, one, modality).total()
        assert said == pytest.approx(wanted, abs=2e-3)


def test_attention_is_taken_apart_as_captum_does(clinic: tuple[ServedRun, Timelines]) -> None:
    captum = pytest.importorskip("captum.attr")
    served, timelines = clinic
    model = served.fitted("attention")
    one = row(timelines, complete(timelines)[0])
    batch = model.read(one).batch([0])
    wanted = np.zeros(4)
    for member in model.members:

        def ask(values: torch.Tensor, member=member) -> torch.Tensor:
            rows = {n: t.expand(len(values), *t.shape[1:]) for n, t in batch.items()}
            return member(**{**rows, "image_values": values}).logits[:, 0]

        values = batch["image_values"]
        start = member.images.whole_centre.view(values.shape)
        given = captum.IntegratedGradients(ask).attribute(values, start, n_steps=200)
        wanted += given.sum(dim=-1)[0, 0].numpy() / len(model.members)
    (found,) = look_inside(model, one, IMAGES).images.values()
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.parametrize("name", ["events_logistic", "stacked", "attention"])
def test_what_is_said_to_matter_matters_more_than_anything_else(
    clinic: tuple[ServedRun, Timelines], name: str
) -> None:
    """Deletion: the code with the largest share is taken away, against one taken at random."""
    served, timelines = clinic
    rng, scorer = random.Random(3), served.scorer(name)
    most, other = [], []
    for number in complete(timelines)[:10]:
        one = row(timelines, number)
        found = explain(served, one, "ill", model=name)
        codes = [c for c in found.events if (one.events["code"] == c).any()]
        first = to_logit(scorer.score(one))[0, 0]

        def change(code: str, one=one, first=first) -> float:
            events = one.events[one.events["code"] != code].reset_index(drop=True)
            left = Timelines(index=one.index, events=events, images=one.images)
            return abs(float(to_logit(scorer.score(left))[0, 0] - first))

        most.append(change(codes[0]))
        other.append(change(rng.choice(codes[1:])))
    assert np.mean(most) > 1.5 * np.mean(other)


@pytest.mark.parametrize("name", ["attention", "stacked", "notes_embedding"])
def test_notes_keep_their_numbers_whatever_is_dropped(
    clinic: tuple[ServedRun, Timelines], name: str
) -> None:
    """A note of spaces has no token, equal notes are two, and attention reads the last eight."""
    served, timelines = clinic
    one = row(timelines, complete(timelines)[0])
    (note,) = np.flatnonzero(one.events["modality"] == str(NOTES))
    texts = ["feels well", "   ", "tired and breathless", "feels well", *["no complaint"] * 6]
    copies = pd.concat([one.events.iloc[[note]]] * len(texts), ignore_index=True)
    rest = one.events.drop(index=note)
    events = pd.concat([rest, copies.assign(text_value=texts)], ignore_index=True)
    events = events.sort_values(["row", "time"], na_position="first", kind="stable")
    many = Timelines(index=one.index, events=events.reset_index(drop=True), images=one.images)
    found = explain(served, many, "ill", model=name, words=WholeNotes())
    read = [2, 3, 4, 5, 6, 7, 8, 9] if name == "attention" else [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [told.number for told in found.notes] == read
    shares = {told.number: told.log_odds for told in found.notes}
    assert shares[4] == pytest.approx(shares[9], rel=1e-4)
    assert shares[2] != shares[3]
    said = {
        told.number: [texts[told.number][w.start : w.end] for w in told.words]
        for told in found.notes
    }
    assert said[2] == ["tired", "and", "breathless"]


def test_steps_that_change_nothing_leave_the_shares_as_they_are(
    clinic: tuple[ServedRun, Timelines], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, timelines = clinic
    one = row(timelines, complete(timelines)[1])
    at = np.linspace(-12, 12, 4001)
    steps = tuple(zip(at.tolist(), expit(at).tolist(), strict=True))
    found = []
    for kind in ("identity", "isotonic"):
        same = Calibrator(kind=kind, steps=steps)
        with monkeypatch.context() as patch:
            patch.setattr(ServedRun, "calibrator", lambda *asked, same=same: same)
            found.append(explain(served, one, "ill", model="stacked"))
    for code, share in found[0].events.items():
        assert found[1].events[code] == pytest.approx(share, rel=0.02, abs=1e-4)
    for modality in Modality:
        there = found[0].being_there[modality]
        assert found[1].being_there[modality] == pytest.approx(there, rel=0.02, abs=2e-3)


def test_a_script_without_spaces_has_words_all_the_same() -> None:
    text = "患者气促。 no oedema."
    cut = [(0, 2), (2, 3), (2, 4), (4, 5), (6, 8), (9, 15), (15, 16)]
    spans = [Span(start=a, end=b, log_odds=1.0) for a, b in cut]
    found = [(text[w.start : w.end], w.log_odds) for w in _by_word(text, spans)]
    assert found == [("患者", 1.0), ("气促", 2.0), ("。", 1.0), ("no", 1.0), ("oedema.", 2.0)]


def test_a_hidden_modality_has_no_share(clinic: tuple[ServedRun, Timelines]) -> None:
    served, timelines = clinic
    one = row(timelines, complete(timelines)[0]).only(frozenset({EVENTS}))
    found = explain(served, one, "ill")
    assert found.modalities[NOTES] == found.modalities[IMAGES] == 0
    assert not found.notes
    assert not found.images
    model = served.fitted("attention")
    shown = ALL_MODALITIES - {NOTES}
    whole = row(timelines, complete(timelines)[0])
    assert not look_inside(model, whole, NOTES, shown).sentences


def test_several_rows_are_refused(clinic: tuple[ServedRun, Timelines]) -> None:
    served, timelines = clinic
    with pytest.raises(ValueError, match="one row can be taken apart at a time; got 2"):
        look_inside(served.fitted("attention"), timelines.take(np.array([0, 1])), EVENTS)


def test_the_heat_lies_where_the_cells_are() -> None:
    grid = np.zeros((4, 4))
    grid[1, 3] = 1.0  # second row, at the right
    image = ExplainedImage(number=0, path=Path("film.png"), grid=grid)
    square = image.heat(80, 80)
    assert np.unravel_index(square.argmax(), square.shape)[0] in range(20, 40)
    assert np.unravel_index(square.argmax(), square.shape)[1] in range(60, 80)
    tall = image.heat(40, 80)  # the encoder saw 20 black columns on either side
    assert tall.shape == (80, 40)
    np.testing.assert_array_equal(tall, square[:, 20:60])


def test_an_explanation_holds_no_words_of_a_note(clinic: tuple[ServedRun, Timelines]) -> None:
    """Whoever logs one must not log what a patient said."""
    served, timelines = clinic
    one = row(timelines, complete(timelines)[0])
    found = explain(served, one, "ill", model="attention", words=WholeNotes())
    assert isinstance(found, Explanation)
    assert found.notes
    (text,) = one.part(NOTES)["text_value"]
    for word in str(text).split():
        assert f"'{word}" not in repr(found)
        assert len(word) < 5 or word not in repr(found)
