"""Sound rows are called unlike as seldom as is promised; what is wrong with a record is found."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusion.unlike_events import EventSpread, ValueRange
from fusion.unlike_tokens import ItemMeans, TokenSpread, read_items
from fusion.unlikeness import ALPHA, Familiar, Unlikeness, fit_familiar
from ingest.errors import RunError
from ingest.phantom import draw_phantom
from ingest.schema import Modality
from ingest.timeline import Timelines
from ingest.world import WORLDS, read_world
from tests.fusion.clinic import HashedEncoders, clinic_timelines

PRESSURE = "LOINC//8480-6"


@dataclass(frozen=True, kw_only=True)
class Clinic:
    train: Timelines
    reference: Timelines
    new: Timelines
    familiar: Familiar


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    place = tmp_path_factory.mktemp("unlike")
    everyone, _ = clinic_timelines(place, 1500, 7)
    train, reference, new = (everyone.take(rows) for rows in np.split(np.arange(1500), [300, 900]))
    familiar = fit_familiar(train, [reference], HashedEncoders())
    return Clinic(train=train, reference=reference, new=new, familiar=familiar)


def with_events(timelines: Timelines, events: pd.DataFrame) -> Timelines:
    return Timelines(index=timelines.index, events=events, images=timelines.images)


def scaled(timelines: Timelines, code: str, factor: float) -> Timelines:
    events = timelines.events.copy()
    events.loc[events["code"] == code, "numeric_value"] *= factor
    return with_events(timelines, events)


def renamed(timelines: Timelines) -> Timelines:
    events = timelines.events.copy()
    mine = events["modality"] == "events"
    events.loc[mine, "code"] = "LOCAL//" + events.loc[mine, "code"]
    return with_events(timelines, events)


def rewritten(timelines: Timelines, text: str) -> Timelines:
    events = timelines.events.copy()
    events.loc[events["text_value"].notna(), "text_value"] = text
    return with_events(timelines, events)


def noisy(timelines: Timelines, place: Path) -> Timelines:
    events, rng = timelines.events.copy(), np.random.default_rng(0)
    shown = events["image"].notna()
    names = [f"{i}.png" for i in range(int(shown.sum()))]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(place / name)
    events.loc[shown, "image"] = names
    return Timelines(index=timelines.index, events=events, images=place)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2, 0.5])
def test_of_sound_rows_about_alpha_are_called_unlike(clinic: Clinic, alpha: float) -> None:
    found = clinic.familiar.compare(clinic.new)
    for place in range(3):
        p = found.by_modality[:, place]
        p = p[np.isfinite(p)]
        # Both the new rows and those of the reference are a sample.
        error = (alpha * (1 - alpha) * (1 / len(p) + 1 / 450)) ** 0.5
        share = (p <= alpha).mean()
        assert share < alpha + 3.5 * error
        # The clinic writes six notes; where so many are alike, p-values leap over alpha.
        assert share > alpha - 3.5 * error or place == 1
    share = found.unlike(alpha).mean()
    assert alpha / 4 < share < alpha + 3.5 * (alpha * (1 - alpha) * (1 / 600 + 1 / 450)) ** 0.5


def test_noise_in_place_of_a_film_is_found_and_named(clinic: Clinic, tmp_path: Path) -> None:
    found = clinic.familiar.compare(noisy(clinic.new, tmp_path))
    has = clinic.new.has(Modality.IMAGES)
    assert found.unlike()[has].mean() > 0.95
    assert found.unlike()[~has].mean() < 0.06
    where = [m for m, called in zip(found.where(), found.unlike() & has, strict=True) if called]
    assert where.count(Modality.IMAGES) > 0.95 * len(where)


@pytest.mark.parametrize(
    "text", ["xq vbbz plok wumm zrr", "患者 反复 活动 后 气促", "Atemnot seit Tagen"]
)
def test_notes_in_another_language_and_gibberish_are_found(clinic: Clinic, text: str) -> None:
    found = clinic.familiar.compare(rewritten(clinic.new, text))
    assert found.unlike()[clinic.new.has(Modality.NOTES)].mean() > 0.95


def test_codes_of_an_unknown_system_are_found(clinic: Clinic) -> None:
    found = clinic.familiar.compare(renamed(clinic.new))
    assert found.unlike().mean() > 0.95
    assert found.where().count(Modality.EVENTS) > 0.95 * len(clinic.new)


def test_values_in_another_unit_are_found(clinic: Clinic) -> None:
    # mm[Hg] to kPa
    found = clinic.familiar.compare(scaled(clinic.new, PRESSURE, 0.1333))
    rows = clinic.new.events.loc[clinic.new.events["code"] == PRESSURE, "row"].unique()
    assert found.unlike()[rows].mean() > 0.95


def test_many_more_events_than_ever_are_found(clinic: Clinic) -> None:
    events = clinic.new.events
    mine = events[events["modality"] == "events"]
    many = pd.concat([events, *[mine] * 9]).sort_values(["row", "time"], kind="stable")
    found = clinic.familiar.compare(with_events(clinic.new, many.reset_index(drop=True)))
    assert found.unlike().mean() > 0.9


def test_an_inverted_film_is_further_from_training_than_any_sound_one(tmp_path: Path) -> None:
    # The frozen encoder itself: that what it says of a film tells MONOCHROME1 from MONOCHROME2.
    from encoders.frozen import FrozenEncoders

    world, rng = read_world(WORLDS / "default.yaml"), np.random.default_rng(0)
    paths = []
    for number in range(46):
        heart, haze = rng.standard_normal(2)
        film = (draw_phantom(world, heart, haze, "PA", rng) >> 4).astype(np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(film).resize((224, 224)).save(paths[-1])
        if number >= 40:
            paths.append(tmp_path / f"{number} inverted.png")
            Image.fromarray(255 - film).resize((224, 224)).save(paths[-1])
    tokens = FrozenEncoders(None).images(paths)
    means = np.stack([each.mean(axis=0, dtype=np.float64) for each in tokens])
    spread = TokenSpread.fit(means[:40])
    sound, inverted = spread.distance(means[40::2]), spread.distance(means[41::2])
    assert inverted.min() > 1.2 * sound.max()


def test_the_smallest_p_value_counts_as_often_as_there_are_modalities() -> None:
    nan = np.nan
    found = Unlikeness(
        by_modality=np.array(
            [[0.5, 0.003, 0.9], [nan, 0.004, nan], [0.004, nan, 0.2], [nan] * 3, [0.9, 0.8, 0.7]]
        ),
        least=np.array([0.001, 0.001, 0.02]),
    )
    np.testing.assert_allclose(found.p, [0.009, 0.004, 0.008, 1.0, 1.0])
    assert found.unlike().tolist() == [True, True, True, False, False]
    assert found.unlike(0.005).tolist() == [False, True, False, False, False]
    names = [Modality.NOTES, Modality.NOTES, Modality.EVENTS, None, Modality.IMAGES]
    assert found.where() == names
    assert found.can_be().tolist() == [True, True, True, False, True]
    assert found.can_be(0.0025).tolist() == [False, True, True, False, False]


def test_p_values_are_shares_of_reference_rows_by_definition(clinic: Clinic) -> None:
    encoders = HashedEncoders()
    spread = TokenSpread.fit(read_items(clinic.train, Modality.NOTES, encoders).mean)
    theirs, mine = (
        spread.by_row(read_items(rows, Modality.NOTES, encoders), len(rows))
        for rows in (clinic.reference, clinic.new)
    )
    theirs = theirs[np.isfinite(theirs)]
    found = clinic.familiar.compare(clinic.new).by_modality[:, 1]
    for distance, p in zip(mine[:50], found[:50], strict=True):
        if np.isnan(distance):
            assert np.isnan(p)
        else:
            assert p == (1 + (theirs >= distance).sum()) / (len(theirs) + 1)


def test_a_row_is_judged_alone_as_among_others(clinic: Clinic) -> None:
    together = clinic.familiar.compare(clinic.new).p
    alone = [clinic.familiar.compare(clinic.new.take(np.array([i]))).p[0] for i in range(12)]
    np.testing.assert_allclose(alone, together[:12], atol=2 / 600)


def test_a_row_of_which_nothing_is_known_is_not_called_unlike(clinic: Clinic) -> None:
    found = clinic.familiar.compare(clinic.new.only(frozenset()))
    assert np.isnan(found.by_modality).all()
    assert (found.p == 1).all()
    assert not found.unlike(0.5).any()


def test_what_was_saved_says_the_same_and_has_the_same_bytes(
    clinic: Clinic, tmp_path: Path
) -> None:
    clinic.familiar.save(tmp_path / "a")
    again = Familiar.load(tmp_path / "a", HashedEncoders())
    again.save(tmp_path / "b")
    fit_familiar(clinic.train, [clinic.reference], HashedEncoders()).save(tmp_path / "c")
    first = {f.name: f.read_bytes() for f in (tmp_path / "a").iterdir()}
    assert sorted(first) == ["unlikeness.json", "unlikeness.safetensors"]
    for other in ("b", "c"):
        assert {f.name: f.read_bytes() for f in (tmp_path / other).iterdir()} == first
    np.testing.assert_array_equal(
        again.compare(clinic.new).by_modality, clinic.familiar.compare(clinic.new).by_modality
    )


@pytest.mark.parametrize("content", ['{"cross_fitted": 0, "events": 3, "tokens": []}',
    '{"cross_fitted": 0, "events": null, "tokens": ["smell"]}'])  # fmt: skip
def test_a_file_that_is_something_else_is_refused(
    clinic: Clinic, tmp_path: Path, content: str
) -> None:
    clinic.familiar.save(tmp_path)
    (tmp_path / "unlikeness.json").write_text(content)
    with pytest.raises(RunError, match="is not what Medweave wrote; train again"):
        Familiar.load(tmp_path, HashedEncoders())


def test_across_folds_sound_rows_are_called_unlike_as_seldom(
    clinic: Clinic, tmp_path: Path
) -> None:
    crossed = fit_familiar(clinic.reference, [], HashedEncoders(), folds=5)
    assert crossed.cross_fitted
    assert len(crossed.reference[Modality.EVENTS]) == len(clinic.reference)
    share = crossed.compare(clinic.new).unlike(0.05).mean()
    assert 0.01 < share < 0.1
    found = crossed.compare(noisy(clinic.new, tmp_path))
    assert found.unlike()[clinic.new.has(Modality.IMAGES)].mean() > 0.9


def test_too_few_reference_rows_call_nobody_unlike_and_say_so(clinic: Clinic) -> None:
    few = fit_familiar(clinic.train, [clinic.reference.take(np.arange(60))], HashedEncoders())
    found = few.compare(renamed(clinic.new))
    assert not found.unlike(ALPHA).any()
    assert not found.can_be(ALPHA).any()
    assert found.unlike(0.1).mean() > 0.95


def test_what_training_never_had_is_not_compared(clinic: Clinic) -> None:
    blind = frozenset(Modality) - {Modality.IMAGES}
    familiar = fit_familiar(
        clinic.train.only(blind), [clinic.reference.only(blind)], HashedEncoders()
    )
    found = familiar.compare(clinic.new)
    assert np.isnan(found.by_modality[:, 2]).all()
    assert np.isfinite(found.by_modality[:, 0]).all()


def test_one_odd_film_among_several_makes_the_row_odd() -> None:
    rng = np.random.default_rng(0)
    spread = TokenSpread.fit(rng.standard_normal((300, 8)))
    mean = np.concatenate([np.full((1, 8), 9.0), 0.1 * rng.standard_normal((4, 8))])
    far = spread.by_row(ItemMeans(np.array([0, 0, 0, 2, 2]), mean), 3)
    assert far[0] == pytest.approx(9.0, rel=0.1)
    assert np.isnan(far[1])
    assert far[2] < 1


def test_tokens_that_are_no_numbers_are_like_nothing() -> None:
    spread = TokenSpread.fit(np.random.default_rng(0).standard_normal((100, 3)))
    assert spread.distance(np.array([[np.nan, 0, 0], [0, 0, 0.0]])).tolist()[0] == np.inf


def test_a_direction_that_never_varied_gives_no_infinity() -> None:
    items = np.zeros((50, 4))
    items[:, 0] = np.random.default_rng(0).standard_normal(50)
    for those in (items, np.zeros((50, 4))):
        assert np.isfinite(TokenSpread.fit(those).distance(items + 1)).all()


def test_ranges_are_of_logarithms_where_values_are_above_zero() -> None:
    values = np.exp(np.random.default_rng(0).standard_normal(1000))
    found = ValueRange.fit(values)
    assert found.logarithmic
    assert found.low == pytest.approx(np.quantile(np.log(values), 0.01))
    assert not ValueRange.fit(values - 1.0).logarithmic


def test_a_rare_code_is_as_unknown_as_it_is_to_the_models(clinic: Clinic) -> None:
    events = clinic.train.events.copy()
    first = np.flatnonzero(events["code"] == "SNOMED//44054006")[:4]
    events.loc[events.index[first], "code"] = "SNOMED//1"
    spread = EventSpread.fit(with_events(clinic.train, events))
    assert "SNOMED//1" not in spread.codes
    assert "SNOMED//44054006" in spread.codes
    assert set(spread.ranges) == {PRESSURE}


def test_a_value_of_zero_and_an_infinite_one_are_far_off(clinic: Clinic) -> None:
    spread = EventSpread.fit(clinic.train)
    for value in (0.0, -5.0, np.inf):
        events = clinic.new.events.copy()
        events.loc[events["code"] == PRESSURE, "numeric_value"] = value
        rows = events.loc[events["code"] == PRESSURE, "row"].unique()
        assert (spread.distance(with_events(clinic.new, events))[rows] > 3).all()
