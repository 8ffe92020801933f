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
from encoders.weights import fingerprint
from fusion.candidates import ON_REQUEST, Candidate, Lesson, candidate_type
from fusion.finetune_config import FinetuneConfig
from fusion.prevalence import base_rates
from fusion.probes import rates_without
from fusion.rows import Rows
from fusion.run import read_json
from fusion.scoring import subsets
from ingest.errors import RunError, UsageError
from ingest.schema import Modality
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
