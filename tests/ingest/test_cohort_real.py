"""Cohorts of real patients, held against a computation that shares no code with ours."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from ingest.build import ingest
from ingest.cohort import build_cohort, prediction_times
from ingest.labels import read_cohort
from ingest.simulate import simulate

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"
TASKS = ROOT / "ingest" / "tasks"


def data(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"../shared/data/{name} is not there")
    return DATA / name


def subjects(store: Path) -> pd.Series:
    crosswalk = pd.read_parquet(store.with_name(f"{store.name}.raw") / "crosswalk.parquet")
    return crosswalk.set_index("subject_key")["subject_id"]


@pytest.fixture(scope="module")
def mimic(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("mimic") / "store"
    ingest([data("mimic_iv_demo_fhir")], store, public=True)
    return store


def test_mimic_has_a_row_for_each_stay_over_a_day_and_a_positive_for_each_that_ended_in_death(
    mimic, tmp_path
):
    with gzip.open(data("mimic_iv_demo_fhir") / "MimicEncounter.ndjson.gz") as lines:
        stays = [json.loads(line) for line in lines]
    utc = {"start": [], "end": []}
    for stay in stays:
        for side, times in utc.items():
            when = pd.Timestamp(stay["period"][side]).tz_convert("UTC")
            times.append(when.tz_localize(None))
    expected = pd.DataFrame(
        {
            "subject_id": subjects(mimic)[[s["subject"]["reference"] for s in stays]].to_numpy(),
            "prediction_time": pd.Series(utc["start"]) + pd.Timedelta(hours=24),
            "left": utc["end"],
            "died": [
                s["hospitalization"]
                .get("dischargeDisposition", {})
                .get("coding", [{}])[0]
                .get("code")
                == "DIED"
                for s in stays
            ],
        }
    )
    expected = expected[expected["left"] > expected["prediction_time"]]
    expected = expected.sort_values(["subject_id", "prediction_time"]).reset_index(drop=True)
    assert (len(expected), int(expected["died"].sum())) == (172, 13)

    flow = build_cohort(mimic, [TASKS / "mimic_died_in_hospital.yaml"], tmp_path / "cohort")
    steps = flow["tasks"]["mimic_died_in_hospital"]
    assert [step["rows"] for step in steps] == [195, 172, 172]
    cohort = read_cohort(tmp_path / "cohort")
    for column in ("subject_id", "prediction_time"):
        assert (cohort.index[column].to_numpy() == expected[column].to_numpy()).all()
    assert (cohort.labels[:, 0] == expected["died"].to_numpy()).all()
    assert "only 13 positives" in flow["warnings"]["mimic_died_in_hospital"][0]

    times = prediction_times(mimic, TASKS / "mimic_died_in_hospital.yaml")
    assert len(times) == 172  # nothing of the first day is known later than that day here


def test_intensive_care_has_a_row_for_each_stay_over_two_days(mimic, tmp_path):
    read = {}
    for name in ("MimicEncounter", "MimicEncounterICU"):
        with gzip.open(data("mimic_iv_demo_fhir") / f"{name}.ndjson.gz") as lines:
            read[name] = [json.loads(line) for line in lines]
    around = {f"Encounter/{stay['id']}": stay for stay in read["MimicEncounter"]}
    expected = []
    for stay in read["MimicEncounterICU"]:
        start, end = (pd.Timestamp(stay["period"][side]) for side in ("start", "end"))
        if end - start > pd.Timedelta(hours=48):
            left = around[stay["partOf"]["reference"]]["hospitalization"]
            died = left.get("dischargeDisposition", {}).get("coding", [{}])[0].get("code") == "DIED"
            when = (start + pd.Timedelta(hours=48)).tz_convert("UTC").tz_localize(None)
            expected.append((subjects(mimic)[stay["subject"]["reference"]], when, died))
    flow = build_cohort(mimic, [TASKS / "mimic_icu_died_48h.yaml"], tmp_path / "cohort")
    assert [step["rows"] for step in flow["tasks"]["mimic_icu_died_48h"]] == [92, 42, 42]
    cohort = read_cohort(tmp_path / "cohort")
    told = zip(
        cohort.index["subject_id"],
        cohort.index["prediction_time"],
        cohort.labels[:, 0].astype(bool),
        strict=True,
    )
    assert sorted(told) == sorted(expected)


@pytest.mark.slow
def test_covid_severity_has_a_row_for_each_patient_whose_course_is_stated(tmp_path):
    source = data("covid_cxr")
    mapping = ROOT / "ingest" / "mappings" / "covid_cxr.yaml"
    ingest([source], tmp_path / "store", mapping=mapping, public=True)
    flow = build_cohort(tmp_path / "store", [TASKS / "covid_severity.yaml"], tmp_path / "cohort")
    table = pd.read_csv(source / "metadata.csv")
    stated = table.groupby("patientid")["patient_severe_derived"].max().dropna()
    steps = flow["tasks"]["covid_severity"]
    assert [step["rows"] for step in steps] == [155, 95, len(stated)]
    assert steps[-1]["positives"] == int(stated.sum())
    first = table["offset"].fillna(0).groupby(table["patientid"]).min()
    days = (read_cohort(tmp_path / "cohort").index["prediction_time"].dt.normalize()).value_counts()
    expected = (
        pd.Timestamp("2000-01-01") + pd.to_timedelta(first[stated.index], "D")
    ).value_counts()
    assert days.sort_index().tolist() == expected.sort_index().tolist()


@pytest.mark.slow
def test_hannover_icu_tells_who_is_in_intensive_care_on_the_day_of_the_first_film(tmp_path):
    source = data("hannover_covid_cxr")
    mapping = ROOT / "ingest" / "mappings" / "hannover_covid_cxr.yaml"
    ingest([source], tmp_path / "store", mapping=mapping, public=True)
    flow = build_cohort(tmp_path / "store", [TASKS / "hannover_icu.yaml"], tmp_path / "cohort")
    films = pd.read_csv(source / "data.csv")
    films["there"] = (films["icu_admission_offset"] <= 0) & (films["icu_release_offset"] >= 0)
    # All offsets count from the film, so the first film is the one furthest before admission.
    first = films.loc[films.groupby("patient_id")["admission_offset"].idxmax()]
    assert flow["tasks"]["hannover_icu"][-1]["rows"] == len(first) == 46
    assert flow["tasks"]["hannover_icu"][-1]["positives"] == int(first["there"].sum()) == 13


def test_simulated_patients_get_the_labels_that_the_simulator_gave_them(tmp_path):
    simulate(tmp_path / "hospital", patients=40, seed=3)
    ingest([tmp_path / "hospital" / "fhir"], tmp_path / "store", public=True)
    flow = build_cohort(tmp_path / "store", [TASKS / "heart_failure_1y.yaml"], tmp_path / "cohort")
    assert flow["tasks"]["heart_failure_1y"][0]["rows"] == 40
    oracle = pd.read_parquet(tmp_path / "hospital" / "oracle.parquet")
    oracle["subject_id"] = subjects(tmp_path / "store")[oracle["subject_key"]].to_numpy()
    cohort = read_cohort(tmp_path / "cohort")
    truth = oracle.set_index("subject_id")["label"].dropna()
    found = pd.Series(cohort.labels[:, 0].astype(bool), index=cohort.index["subject_id"])
    assert found.to_dict() == truth.astype(bool).to_dict()
