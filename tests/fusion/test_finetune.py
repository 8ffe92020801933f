"""Encoders that are fine-tuned: what is learnt, kept, masked, refused, and when they are fitted."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoders.frozen import FrozenEncoders
from encoders.squares import Squares
from encoders.weights import fingerprint
from fusion.candidates import CANDIDATES, ON_REQUEST, Candidate, Lesson, candidate_type
from fusion.examples import Batches, ImageExamples, NoteExamples, group_by_length
from fusion.explain import explain
from fusion.finetune_config import FinetuneConfig
from fusion.fitting import candidate_names, candidate_options
from fusion.prevalence import base_rates, to_logit
from fusion.probes import rates_without
from fusion.rows import Rows
from fusion.run import read_json
from fusion.scoring import subsets
from fusion.served import ServedRun
from fusion.train import train
from ingest.errors import MedweaveError, RunError, UsageError
from ingest.schema import Modality
from tests.fusion.clinic import hashes, held_out, write_clinic
from tests.fusion.findings import noted_rows, small_encoders, striped_rows

NAMES = tuple(ON_REQUEST)
FROZEN = {"notes_finetuned": "notes_embedding", "images_finetuned": "images_embedding"}
ROWS = {"notes_finetuned": noted_rows, "images_finetuned": striped_rows}
LEARN = {
    "notes_finetuned": FinetuneConfig(
        layers="full", epochs=10, patience=10, text_rate=1e-2, head_rate=1e-2
    ),
    "images_finetuned": FinetuneConfig(layers="full", epochs=5, image_rate=1e-2, head_rate=1e-2),
}
QUICK = FinetuneConfig(epochs=2, image_rate=1e-3, text_rate=1e-3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetune")


@pytest.fixture(scope="module")
def encoders(place: Path) -> FrozenEncoders:
    return small_encoders(place)


def lesson_of(name: str, place: Path, encoders: FrozenEncoders, **more: Any) -> Lesson:
    n = (120, 50) if name == "images_finetuned" else (160, 60)
    rows = [ROWS[name](place / "films", k, seed) for seed, k in enumerate(n, start=1)]
    given = {"tasks": ("ill",), "train": rows[0], "tuning": rows[1], "finetune": LEARN[name]}
    return Lesson(encoders=encoders, **{**given, **more})


def short(name: str, place: Path, encoders: FrozenEncoders, **more: Any) -> Lesson:
    """A lesson of few rows and two epochs, whose last weights are kept: tuning knows no label."""
    full = lesson_of(name, place, encoders, finetune=QUICK)
    tuning = full.tuning.take(np.arange(10))
    unknown = replace(tuning, labels=np.full_like(tuning.labels, np.nan))
    few = {"train": full.train.take(np.arange(40)), "tuning": unknown}
    return replace(full, **{**few, **more})


@pytest.fixture(scope="module")
def learnt(place: Path, encoders: FrozenEncoders) -> dict[str, Candidate]:
    return {name: candidate_type(name).fit(lesson_of(name, place, encoders)) for name in NAMES}


@pytest.fixture(scope="module")
def quick(place: Path, encoders: FrozenEncoders) -> dict[str, Candidate]:
    return {name: candidate_type(name).fit(short(name, place, encoders)) for name in NAMES}


def auroc(risk: np.ndarray, label: np.ndarray) -> float:
    ill = label == 1
    return float((risk[ill][:, None] > risk[~ill]).mean())


def content(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*.*"))}


def two_lacking(rows: Rows) -> Rows:
    """Take the notes and images of the first two rows away."""
    events = rows.timelines.events
    timelines = replace(rows.timelines, events=events[events["row"] > 1].reset_index(drop=True))
    return replace(rows, timelines=timelines)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_a_finding_that_frozen_tokens_do_not_tell(
    learnt: dict[str, Candidate], place: Path, encoders: FrozenEncoders, name: str
) -> None:
    frozen = candidate_type(FROZEN[name]).fit(lesson_of(name, place, encoders))
    unseen = ROWS[name](place / "films", 100, 9)
    told = [
        auroc(m.score(unseen.timelines)[:, 0], unseen.labels[:, 0]) for m in (frozen, learnt[name])
    ]
    assert told[0] < 0.65
    assert told[1] > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_the_same_lesson_gives_the_same_bytes(
    quick: dict[str, Candidate],
    place: Path,
    encoders: FrozenEncoders,
    name: str,
    tmp_path: Path,
) -> None:
    again = candidate_type(name).fit(short(name, place, encoders))
    other = candidate_type(name).fit(short(name, place, encoders, seed=1))
    for folder, model in (("a", quick[name]), ("b", again), ("c", other)):
        model.save(tmp_path / folder)
    assert "encoder.safetensors" in content(tmp_path / "a")
    assert content(tmp_path / "a") == content(tmp_path / "b") != content(tmp_path / "c")


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_from_the_disk_and_says_the_same(
    quick: dict[str, Candidate], place: Path, encoders: FrozenEncoders, name: str, tmp_path: Path
) -> None:
    before = dict(encoders.preprocessing)
    quick[name].save(tmp_path)
    again = candidate_type(name).load(tmp_path, small_encoders(place))
    timelines = short(name, place, encoders).tuning.timelines
    np.testing.assert_array_equal(again.score(timelines), quick[name].score(timelines))
    assert {f.suffix for f in tmp_path.rglob("*.*")} == {".json", ".safetensors"}
    part = "image" if name == "images_finetuned" else "text"
    mine = encoders._image.backbone if part == "image" else encoders._text.model
    assert fingerprint(mine) == before[part]["weights_sha256"]  # the run's own are as they were
    tuned = again.encoders.preprocessing
    assert tuned[part]["weights_sha256"] != before[part]["weights_sha256"]
    assert {k: v for k, v in tuned.items() if k != part} == {
        k: v for k, v in before.items() if k != part
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_or_another_encoder_is_refused(
    quick: dict[str, Candidate], place: Path, name: str, tmp_path: Path
) -> None:
    kind = candidate_type(name)

    def saved(folder: str) -> Path:
        quick[name].save(tmp_path / folder)
        return tmp_path / folder

    torn = saved("torn")
    weights = torn / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(RunError, match=r"torn is damaged \(SafetensorError\)"):
        kind.load(torn, small_encoders(place))
    weights.unlink()
    with pytest.raises(RunError, match="damaged"):
        kind.load(torn, small_encoders(place))
    swapped = saved("swapped")
    (swapped / "weights.safetensors").replace(swapped / "encoder.safetensors")
    with pytest.raises(RunError, match="damaged"):
        kind.load(swapped, small_encoders(place))
    fewer = saved("fewer")
    said = read_json(fewer / "finetuned.json")
    (fewer / "finetuned.json").write_text(
        str(said | {"trained": said["trained"][1:]}).replace("'", '"')
    )
    with pytest.raises(RunError, match="holds other tensors than were trained"):
        kind.load(fewer, small_encoders(place))
    with pytest.raises(RunError, match="trained with another"):
        kind.load(saved("other"), FrozenEncoders())


@pytest.mark.parametrize("name", NAMES)
def test_a_masked_modality_a_lacking_one_and_the_batch_change_nothing(
    learnt: dict[str, Candidate], place: Path, name: str
) -> None:
    model = learnt[name]
    rows = two_lacking(ROWS[name](place / "films", 14, 9))
    timelines = rows.timelines
    for chosen in [frozenset[Modality](), *subsets()]:
        np.testing.assert_array_equal(
            model.score(timelines, chosen), model.score(timelines.only(chosen))
        )
    told = model.score(timelines)
    np.testing.assert_array_equal(told[:2], np.tile(model.without, (2, 1)))
    assert len(np.unique(told[2:])) > 6
    alone = np.concatenate([model.score(timelines.take(np.array([i]))) for i in range(14)])
    np.testing.assert_allclose(alone, told, atol=1e-6)
    assert ((told > 0) & (told < 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_gaps_in_labels_and_a_task_of_one_class(
    place: Path, encoders: FrozenEncoders, name: str
) -> None:
    lesson = short(name, place, encoders, tasks=("ill", "gaps", "never"))
    rng = np.random.default_rng(0)

    def three(rows: Rows) -> Rows:
        ill = rows.labels[:, 0]
        gaps = np.where(rng.random(len(ill)) < 0.3, np.nan, 1 - ill)
        return replace(rows, labels=np.stack([ill, gaps, 0 * ill], axis=1).astype(np.float32))

    lesson = replace(lesson, train=two_lacking(three(lesson.train)), tuning=three(lesson.tuning))
    model = candidate_type(name).fit(lesson)
    risk = model.score(lesson.train.timelines)
    assert np.isfinite(risk).all()
    has = np.arange(len(risk)) > 1
    expected = base_rates(lesson.train.labels[has])[2]
    np.testing.assert_allclose(risk[has, 2], expected, rtol=1e-6)
    assert (np.ptp(risk[has, :2], axis=0) > 0).all()
    np.testing.assert_allclose(risk[~has, 2], rates_without(lesson.train.labels, has)[2])
    alone = replace(lesson, tasks=("never",))
    rows = {
        n: replace(r, labels=r.labels[:, 2:])
        for n, r in vars(alone).items()
        if n in ("train", "tuning")
    }
    nothing = candidate_type(name).fit(replace(alone, **rows))  # nothing to train on at all
    np.testing.assert_allclose(nothing.score(lesson.train.timelines)[has], expected, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_train_set_without_the_modality_gives_the_base_rate(
    place: Path, encoders: FrozenEncoders, name: str, tmp_path: Path
) -> None:
    lesson = short(name, place, encoders)
    bare = replace(lesson.train, timelines=lesson.train.timelines.only(frozenset()))
    model = candidate_type(name).fit(replace(lesson, train=bare))
    model.save(tmp_path)
    again = candidate_type(name).load(tmp_path, encoders)
    for each in (model, again):
        told = each.score(lesson.tuning.timelines)
        np.testing.assert_allclose(told, base_rates(bare.labels)[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_that_were_best_on_tuning_are_kept(
    quick: dict[str, Candidate], place: Path, encoders: FrozenEncoders, name: str
) -> None:
    lesson = short(name, place, encoders)
    own = getattr(encoders, f"{quick[name].part}_encoder")().state_dict()
    # Without a label in tuning, the last weights:
    assert not any(torch.equal(own[n], tensor) for n, tensor in quick[name].weights.items())
    said = candidate_type(FROZEN[name]).fit(lesson).score(lesson.train.timelines)
    flattered = replace(lesson.train, labels=(said > np.median(said)).astype(np.float32))
    spoilt = replace(QUICK, image_rate=0.3, text_rate=0.3)
    kept = candidate_type(name).fit(replace(lesson, tuning=flattered, finetune=spoilt))
    assert all(torch.equal(own[n], tensor) for n, tensor in kept.weights.items())


def test_batch_normalisation_keeps_its_statistics(
    quick: dict[str, Candidate], encoders: FrozenEncoders
) -> None:
    tuned = quick["images_finetuned"].encoders._image.state_dict()
    moved = 0
    for name, before in encoders._image.state_dict().items():
        if "running_" in name or "num_batches" in name:
            assert torch.equal(before, tuned[name])
        else:
            moved += not torch.equal(before, tuned[name])
    assert moved == len(quick["images_finetuned"].weights) > 0


def test_the_last_layers_are_fewer_than_all_of_them(
    learnt: dict[str, Candidate], quick: dict[str, Candidate]
) -> None:
    for name in NAMES:
        last, full = set(quick[name].weights), set(learnt[name].weights)
        assert last < full
    assert any(".layer.1." in tensor for tensor in quick["notes_finetuned"].weights)
    assert not any(".layer.0." in tensor for tensor in quick["notes_finetuned"].weights)


def test_a_film_is_seen_another_way_each_epoch_and_never_mirrored(tmp_path: Path) -> None:
    from PIL import Image

    paths = []
    for number in range(6):
        film = np.full((64, 64), 60, np.uint8)
        film[20:44, 4 + number : 24 + number] = 220  # what is on the left stays there
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(film).save(paths[-1])
    labels = np.zeros((6, 1), np.float32)
    with Squares(paths, 64) as squares:
        examples = ImageExamples([[n] for n in range(6)], labels, squares, QUICK, seed=3)
        plain = examples.batch(range(6))["items"].numpy()
        first, again = (examples.batch(range(6), 0)["items"].numpy() for _ in range(2))
        later = examples.batch(range(6), 1)["items"].numpy()
        alone = examples.batch([4], 1)["items"].numpy()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(alone[0], later[4])  # whatever else is in the batch
    for views in (first, later):
        assert all(np.abs(v.astype(int) - p).mean() > 2 for v, p in zip(views, plain, strict=True))
        brightness = views.astype(float) - np.median(views, axis=(1, 2), keepdims=True)
        bright = np.clip(brightness, 0, None) > 40
        centres = (bright * np.arange(64)).sum(axis=(1, 2)) / bright.sum(axis=(1, 2))
        assert (centres < 28).all()
    assert np.abs(first.astype(int) - later).mean() > 2


def test_of_many_images_others_are_drawn_each_epoch(tmp_path: Path) -> None:
    rows = striped_rows(tmp_path, 9, 1)
    paths = [tmp_path / str(name) for name in rows.timelines.events["image"]]
    with Squares(paths, 32) as squares:
        given = ImageExamples([list(range(9))], rows.labels[:1], squares, QUICK, seed=0)
        judged, one, two = (given.batch([0], epoch) for epoch in (None, 0, 1))
        np.testing.assert_array_equal(judged["items"].numpy(), squares.take([5, 6, 7, 8]))
    assert one["items"].shape == two["items"].shape == (4, 32, 32)
    np.testing.assert_allclose(one["pooling"].sum(dim=1), 1)
    assert not torch.equal(one["items"], two["items"])


def test_padding_stays_under_a_twentieth_and_no_window_is_lost(
    place: Path, encoders: FrozenEncoders
) -> None:
    rng = np.random.default_rng(0)
    for n in (0, 1, 7, 300):
        lengths = rng.integers(3, 64, n).tolist()
        groups = group_by_length(lengths)
        assert sorted(place for group in groups for place in group) == list(range(n))
        read = sum(len(g) * max(lengths[place] for place in g) for g in groups)
        assert read - sum(lengths) <= 0.05 * read
    rows = noted_rows(place, 30, 5)
    examples = NoteExamples(rows, encoders.text_encoder(), QUICK, seed=0)
    made = Batches(examples, batch=8, seed=0)
    for epoch in (0, 1):
        made.set_epoch(epoch)
        batches = list(made)
        assert len(batches) == len(made) == 4
        assert sum(len(batch["labels"]) for batch in batches) == 30
        for batch in batches:
            torch.testing.assert_close(
                batch["pooling"].sum(dim=1), torch.ones(len(batch["labels"]))
            )


def test_batches_of_an_epoch_are_the_same_whenever_it_is_asked_for(
    place: Path, encoders: FrozenEncoders
) -> None:
    rows = noted_rows(place, 20, 5)
    made = Batches(NoteExamples(rows, encoders.text_encoder(), QUICK, seed=0), batch=6, seed=0)

    def labels(epoch: int) -> list[float]:
        made.set_epoch(epoch)
        return torch.cat([batch["labels"] for batch in made]).flatten().tolist()

    first = labels(0)
    assert labels(1) != first == labels(0)


def test_images_are_decoded_once_into_a_file_without_a_name(tmp_path: Path) -> None:
    from encoders.image import read_image

    rows = striped_rows(tmp_path / "films", 5, 1)
    paths = [rows.timelines.images / str(name) for name in rows.timelines.events["image"]]
    cache = tmp_path / "cache"
    with Squares(paths, 64, place=cache) as squares:
        assert list(cache.iterdir()) == []
        for path in paths:
            path.unlink()
        assert squares.take([3, 0, 3]).shape == (3, 64, 64)
        np.testing.assert_array_equal(squares.take([3])[0], squares.take([0, 3])[1])
    striped_rows(tmp_path / "films", 5, 1)
    with Squares(paths, 64) as squares:
        expected = np.stack([read_image(path, 64) for path in paths])
        np.testing.assert_array_equal(squares.take(range(5)), expected)
    paths[2].unlink()
    with pytest.raises(MedweaveError, match="is not there"):
        Squares(paths, 64)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_that_is_no_number_is_refused_in_words(
    place: Path, encoders: FrozenEncoders, name: str
) -> None:
    wild = replace(QUICK, image_rate=1e30, text_rate=1e30, warmup_share=0.0)
    with pytest.raises(UsageError, match=f"{name} cannot be trained: its loss became no number"):
        candidate_type(name).fit(short(name, place, encoders, finetune=wild))


def test_an_encoder_whose_copy_is_damaged_is_refused_before_the_first_step(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = small_encoders(place)
    real = damaged.image_encoder

    def spoilt() -> torch.nn.Module:
        encoder = real()
        next(encoder.parameters()).data.fill_(float("nan"))
        return encoder

    monkeypatch.setattr(damaged, "image_encoder", spoilt)
    with pytest.raises(UsageError, match="images_finetuned cannot be trained"):
        candidate_type("images_finetuned").fit(short("images_finetuned", place, damaged))


@pytest.fixture
def states() -> Iterator[None]:
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002 - it is this state that must stay
    torch.manual_seed(3)
    return


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize("name", NAMES)
def test_random_states_are_put_back(place: Path, encoders: FrozenEncoders, name: str) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    candidate_type(name).fit(short(name, place, encoders))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    assert before == after


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


ASKED = ["prevalence", "images_embedding", *NAMES]


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
