"""The wide part: a regression that attention starts from."""

import numpy as np
import pytest
import torch

from fusion.whitening import agreed_directions, agreed_views, principal_directions
from fusion.wide import BLOCKS, WideInputs, WidePart, fit_wide


def inputs(n: int = 600, seed: int = 0, *, product: float = 4.0, **more: np.ndarray) -> WideInputs:
    """Draw rows whose label depends on a feature's value and on a note that turns an image."""
    rng = np.random.default_rng(seed)
    value = rng.random(n).astype(np.float32)
    note, image = (rng.standard_normal((n, 3)).astype(np.float32) for _ in range(2))
    present = rng.random((n, 3)) < 0.9
    present[:, 0] = True
    note[~present[:, 1]] = 0
    image[~present[:, 2]] = 0
    logit = 4 * (value - 0.5) + note[:, 0]
    logit += product * np.tanh(note[:, 0]) * image[:, 1]
    given = {
        "row": np.arange(n),
        "feature": np.full(n, 2),
        "value": value,
        "note": note,
        "image": image,
        "present": present,
        "labels": (rng.random(n) < 1 / (1 + np.exp(-logit)))[:, None].astype(np.float32),
        "subjects": np.arange(n),
    }
    return WideInputs(**given | more)


def part(tasks: int = 1) -> WidePart:
    return WidePart(features=4, notes=3, images=3, tasks=tasks)


def ask(fitted: WidePart, rows: WideInputs) -> np.ndarray:
    """Give the log odds by block, [n 5 k], as the model asks for them."""
    with torch.inference_mode():
        return fitted(
            torch.from_numpy(rows.feature)[:, None],
            torch.from_numpy(rows.value)[:, None],
            torch.ones(len(rows.row), 1, dtype=torch.bool),
            torch.from_numpy(rows.note),
            torch.from_numpy(rows.image),
            torch.from_numpy(rows.present),
        ).numpy()


def auroc(score: np.ndarray, label: np.ndarray) -> float:
    return float((score[label > 0][:, None] > score[label == 0]).mean())


def test_it_finds_that_a_note_turns_an_image() -> None:
    fitted, found = part(), fit_wide((made := part()), inputs(), seed=0)
    fresh = inputs(seed=1)
    blocks = ask(made, fresh)
    assert set(found.gates[0] or ()) == {"notes", "images"}
    assert auroc(blocks.sum(axis=1)[:, 0], fresh.labels[:, 0]) > 0.8
    assert auroc(blocks[:, BLOCKS.index("gated"), 0], fresh.labels[:, 0]) > 0.7
    assert not ask(fitted, fresh).any()


def test_it_sees_no_gate_where_a_sum_says_it_all() -> None:
    made = part()
    gates = [fit_wide(made, inputs(seed=seed, product=0.0), seed=0).gates for seed in range(4)]
    assert gates.count((None,)) >= 3
    fit_wide(made, inputs(seed=gates.index((None,)), product=0.0), seed=0)
    assert not ask(made, inputs(seed=9))[:, BLOCKS.index("gated")].any()


def test_what_a_row_lacks_says_nothing() -> None:
    made = part()
    fit_wide(made, inputs(), seed=0)
    fresh = inputs(seed=1)
    blocks = ask(made, fresh)
    for block, lacking in (
        ("notes", ~fresh.present[:, 1]),
        ("images", ~fresh.present[:, 2]),
        ("gated", ~(fresh.present[:, 1] & fresh.present[:, 2])),
    ):
        assert lacking.any()
        assert not blocks[lacking, BLOCKS.index(block)].any()


def test_train_rows_are_told_what_a_fit_without_them_says() -> None:
    """On labels of pure chance a fit finds something in its own rows, and nothing outside."""
    rng = np.random.default_rng(3)
    chance = inputs(120, product=0.0)
    wide = rng.standard_normal((120, 40)).astype(np.float32)
    label = (rng.random((120, 1)) < 0.5).astype(np.float32)
    given = {name: getattr(chance, name) for name in WideInputs.__dataclass_fields__}
    noise = WideInputs(**given | {"note": wide, "labels": label})
    made = WidePart(features=4, notes=40, images=3, tasks=1)
    outside = fit_wide(made, noise, seed=0).outside
    inside = ask(made, noise)
    assert outside.shape == (120, 5, 1)
    seeming = auroc(inside.sum(axis=1)[:, 0], label[:, 0])
    assert seeming > 0.6
    assert auroc(outside.sum(axis=1)[:, 0], label[:, 0]) < seeming - 0.02


def test_rows_of_one_subject_are_told_the_same_by_a_fit_that_saw_neither() -> None:
    rows = inputs(100)
    given = {name: getattr(rows, name) for name in WideInputs.__dataclass_fields__}
    doubled = WideInputs(
        **{
            name: array if name in ("row", "feature", "value") else np.concatenate([array, array])
            for name, array in given.items()
        }
        | {
            "row": np.arange(200),
            "feature": np.full(200, 2),
            "value": np.concatenate([rows.value, rows.value]),
        }
    )
    outside = fit_wide(part(), doubled, seed=0).outside
    np.testing.assert_array_equal(outside[:100], outside[100:])


@pytest.mark.parametrize("fill", [0.0, 1.0, np.nan])
def test_labels_of_one_class_or_none_give_a_constant(fill: float) -> None:
    labels = np.full((60, 1), fill, np.float32)
    made = part()
    outside = fit_wide(made, inputs(60, labels=labels), seed=0).outside
    blocks = ask(made, inputs(60))
    assert not blocks[:, :-1].any()
    assert np.isfinite(blocks).all()
    assert np.ptp(outside.sum(axis=1)) == 0


def test_many_features_give_the_same_as_few() -> None:
    """Past a number of columns the design is sparse; what comes out is the same."""
    few, many = part(), WidePart(features=3000, notes=3, images=3, tasks=1)
    fit_wide(few, inputs(), seed=0)
    fit_wide(many, inputs(), seed=0)
    fresh = inputs(seed=1)
    np.testing.assert_allclose(ask(many, fresh), ask(few, fresh), atol=0.02)


def test_principal_directions_whiten_what_they_were_measured_on() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6)) + 3
    centre, whiten = principal_directions(rows, 4)
    np.testing.assert_allclose(np.cov((rows - centre) @ whiten, rowvar=False), np.eye(4), atol=1e-3)
    centre, softer = principal_directions(rows, 4, power=0.0)
    spread = ((rows - centre) @ softer).std(axis=0)
    assert (np.diff(spread) < 0).all()
    np.testing.assert_allclose(np.mean(spread**2), 1.0, atol=0.01)
    few_centre, few = principal_directions(rows[:3], 5)
    assert few.shape == (6, 5)
    assert not few[:, 2:].any()  # three rows span two directions
    assert np.isfinite(few_centre).all()
    assert not principal_directions(rows[:0], 2)[1].any()
    assert not principal_directions(np.ones((9, 6)), 2)[1].any()


def test_agreed_directions_are_what_the_sentences_of_a_note_share() -> None:
    """Topics differ far more between sentences than states do between notes."""
    rng = np.random.default_rng(0)
    topics = 5 * rng.standard_normal((9, 12))
    state = rng.standard_normal(300)
    shared = rng.standard_normal(12)
    items = []
    for one in state:
        about = topics[rng.integers(0, 9, rng.integers(2, 7))]
        items.append(about + one * shared + 0.3 * rng.standard_normal(about.shape))
    found = agreed_directions(items, 4)
    assert found is not None
    centre, whiten = found
    whole = np.stack([item.mean(axis=0) for item in items])
    first = ((whole - centre) @ whiten)[:, 0]
    assert abs(np.corrcoef(first, state)[0, 1]) > 0.8
    plain_centre, plain = principal_directions(whole, 4)
    assert abs(np.corrcoef(((whole - plain_centre) @ plain)[:, 0], state)[0, 1]) < 0.7
    spread = ((whole - centre) @ whiten).std(axis=0)
    assert (np.diff(spread) < 0).all()
    np.testing.assert_allclose(np.mean(spread**2), 1.0, atol=0.05)


def test_agreed_directions_need_notes_of_several_sentences() -> None:
    rng = np.random.default_rng(0)
    assert agreed_directions([rng.standard_normal((1, 6)) for _ in range(200)], 3) is None
    assert agreed_directions([rng.standard_normal((3, 6)) for _ in range(20)], 3) is None
    same = agreed_directions([np.ones((3, 6), np.float32)] * 60, 3)
    assert same is not None
    assert not same[1].any()
    few = agreed_directions([rng.standard_normal((2, 6)) for _ in range(60)], 9)
    assert few is not None
    assert np.isfinite(few[1]).all()


def test_agreed_views_are_what_two_views_of_an_image_share() -> None:
    rng = np.random.default_rng(0)
    anatomy = rng.standard_normal((200, 2))
    shown = rng.standard_normal((2, 40))

    def view() -> np.ndarray:
        exposure = 6 * rng.standard_normal((200, 1)) * np.ones(40)
        return anatomy @ shown + exposure + 0.5 * rng.standard_normal((200, 40))

    first, second = view(), view()
    found = agreed_views(first, second, 8)
    assert found is not None
    centre, whiten = found
    told = (first - centre) @ whiten
    fit = np.linalg.lstsq(told[:, :2], anatomy - anatomy.mean(axis=0), rcond=None)[0]
    for place in range(2):
        assert np.corrcoef(told[:, :2] @ fit[:, place], anatomy[:, place])[0, 1] > 0.9
    assert (np.diff(told.std(axis=0)) <= 0).all()
    assert agreed_views(first[:20], second[:20], 8) is None
    blank = agreed_views(np.ones((50, 6)), np.ones((50, 6)), 3)
    assert blank is not None
    assert not blank[1].any()
