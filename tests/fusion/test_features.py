from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusion.features import EventFeatures, FeaturesConfig, Scaling
from ingest.timeline import Timelines

BP, HBA1C = "LOINC//8480-6", "LOINC//4548-4"


def timelines(*rows: tuple) -> Timelines:
    """Build from (row, days_before, code, value); rows must come in order."""
    events = pd.DataFrame(rows, columns=["row", "days_before", "code", "numeric_value"])
    b = int(events["row"].max()) + 1 if len(events) else 1
    time = pd.Timestamp("2024-01-01")
    events["time"] = time - pd.to_timedelta(events["days_before"].fillna(0), unit="D")
    for name in ("text_value", "unit", "image"):
        events[name] = None
    events["modality"] = "events"
    index = pd.DataFrame({"subject_id": np.arange(b), "prediction_time": time})
    return Timelines(index=index, events=events, images=Path())


def column(features: EventFeatures, table: np.ndarray, name: str) -> np.ndarray:
    return table[:, features.names.index(name)]


SMALL = FeaturesConfig(minimum_subjects=1)


def test_a_measurement_gives_its_last_value_mean_change_and_count() -> None:
    patients = timelines((0, 30, BP, 120.0), (0, 10, BP, 130.0), (0, 1, BP, 146.0))
    features = EventFeatures.fit(patients, SMALL)
    table = features.table(patients)
    found = {what: column(features, table, f"{BP} {what}")[0] for what in ("last", "mean", "delta")}
    assert found == pytest.approx({"last": 146, "mean": 132, "delta": 26})
    assert column(features, table, f"{BP} count")[0] == pytest.approx(np.log(4))
    assert column(features, table, f"{BP} missing")[0] == 0


def test_a_patient_without_the_measurement_has_no_value_and_says_so() -> None:
    patients = timelines((0, 30, BP, 120.0), (1, 3, "SNOMED//1", np.nan))
    features = EventFeatures.fit(patients, SMALL)
    table = features.table(patients)
    assert np.isnan(column(features, table, f"{BP} last")[1])
    assert column(features, table, f"{BP} missing").tolist() == [0, 1]
    assert column(features, table, f"{BP} seen").tolist() == [1, 0]


def test_age_comes_from_birth_and_sex_is_a_code() -> None:
    patients = timelines(
        (0, np.nan, "GENDER//F", np.nan), (0, 365.25 * 70, "MEDS_BIRTH", np.nan),
        (1, np.nan, "GENDER//M", np.nan),
    )  # fmt: skip
    features = EventFeatures.fit(patients, SMALL)
    table = features.table(patients)
    assert column(features, table, "age_years")[0] == pytest.approx(70)
    assert column(features, table, "age missing").tolist() == [0, 1]
    assert column(features, table, "GENDER//F seen").tolist() == [1, 0]
    assert not any("MEDS_BIRTH" in name for name in features.names)


def test_a_rare_code_and_one_that_train_never_had_are_no_features() -> None:
    train = timelines(*[(i, 1, BP, 120.0) for i in range(5)], (5, 1, "SNOMED//rare", np.nan))
    features = EventFeatures.fit(train)
    assert features.codes == [BP]
    table = features.table(timelines((0, 1, "SNOMED//new", np.nan), (0, 1, HBA1C, 6.0)))
    assert table.shape == (1, len(features.names))


def test_the_most_frequent_codes_are_kept_where_there_are_too_many() -> None:
    rows = [(i, 1, code, np.nan) for i in range(6) for code in ("A", "B", "C") if code != "B" or i]
    features = EventFeatures.fit(timelines(*rows), FeaturesConfig(maximum_codes=2))
    assert features.codes == ["A", "C"]


@pytest.mark.parametrize("wild", [np.inf, -np.inf, np.nan, 1e30])
def test_a_value_that_is_no_number_is_a_missing_one(wild: float) -> None:
    patients = timelines((0, 3, BP, 120.0), (0, 1, BP, wild))
    features = EventFeatures.fit(patients, SMALL)
    table = features.table(patients)
    assert column(features, table, f"{BP} last")[0] == 120
    assert not np.isinf(table).any()
    assert np.isfinite(Scaling.fit(table).apply(table)).all()


def test_nobody_and_nothing_make_a_table_too() -> None:
    train = timelines((0, 1, BP, 120.0))
    features = EventFeatures.fit(train, SMALL)
    assert features.table(train.only(frozenset())).shape == (1, len(features.names))
    assert EventFeatures.fit(train.only(frozenset())).codes == []


def test_the_table_is_what_a_naive_loop_gives() -> None:
    rng = np.random.default_rng(3)
    codes = np.array(["A", "B", "C", "D"])
    rows = sorted(
        (int(rng.integers(20)), -float(rng.uniform(0, 100)), str(rng.choice(codes)),
         float(rng.normal()) if rng.random() < 0.7 else np.nan)
        for _ in range(300)
    )  # fmt: skip
    patients = timelines(*[(row, -minus, code, value) for row, minus, code, value in rows])
    features = EventFeatures.fit(patients, SMALL)
    table = features.table(patients)
    for row in range(20):
        for code in codes:
            mine = [value for r, _, c, value in rows if r == row and c == code]
            values = [value for value in mine if np.isfinite(value)]
            assert column(features, table, f"{code} seen")[row] == bool(mine)
            if values:
                assert column(features, table, f"{code} last")[row] == pytest.approx(values[-1])
                assert column(features, table, f"{code} mean")[row] == pytest.approx(
                    np.mean(values), abs=1e-6
                )
                assert column(features, table, f"{code} delta")[row] == pytest.approx(
                    values[-1] - values[0], abs=1e-6
                )


def test_features_survive_json() -> None:
    features = EventFeatures.fit(timelines((0, 1, BP, 120.0), (0, 1, "A", np.nan)), SMALL)
    assert EventFeatures.from_json(features.to_json()).names == features.names


def test_scaling_ignores_a_typing_error_and_survives_the_disk(tmp_path: Path) -> None:
    table = np.column_stack([np.r_[np.arange(100.0), 1e9], np.full(101, 7.0), np.full(101, np.nan)])
    scaling = Scaling.fit(table)
    assert scaling.centre[0] == 50
    assert scaling.apply(table)[-1, 0] == Scaling.LIMIT
    assert not scaling.apply(table)[:, 1:].any()
    scaling.save(tmp_path / "s.safetensors")
    again = Scaling.load(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(again.centre, scaling.centre)
    np.testing.assert_array_equal(again.scale, scaling.scale)


def test_a_vocabulary_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum_subjects=0"):
        FeaturesConfig(minimum_subjects=0)
