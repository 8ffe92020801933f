"""The canary: a code that stands after every prediction time and gives the label away.

If any model sees it, its AUROC says so. The control plants the same code before the prediction
time: then every model must find it, else the canary could not sing.
"""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from fusion.served import ServedRun
from fusion.train import train
from ingest.build import ingest
from ingest.cohort import build_cohort
from ingest.labels import read_cohort
from ingest.simulate import simulate
from ingest.store import RecordStore
from tests.hospital import ROOT

TASK = ROOT / "ingest" / "tasks" / "heart_failure_1y.yaml"
MODELS = ("events_logistic", "events_boosting", "attention")
CODE = "CANARY-1"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The FHIR records of 300 patients, without their films: enough for a model to learn from."""
    place = tmp_path_factory.mktemp("canary")
    simulate(place / "hospital", patients=300, seed=11)
    fhir = place / "hospital" / "fhir"
    ingest([fhir], place / "store", public=True)
    build_cohort(place / "store", [TASK], place / "cohort")
    return place


def observation(number: str, subject: str, happened: pd.Timestamp, known: pd.Timestamp) -> str:
    resource = {
        "resourceType": "Observation",
        "id": f"canary-{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": CODE}]},
        "subject": {"reference": subject},
        "effectiveDateTime": happened.isoformat() + "Z",
        "issued": known.isoformat() + "Z",
        "valueQuantity": {"value": 1},
    }
    return json.dumps(resource)


def plant(
    hospital: Path, place: Path, clocks: list[tuple[str, str]]
) -> tuple[dict[str, float], bool]:
    """Plant codes in each positive patient; give held-out AUROCs, and whether a model knows it."""
    labels = pq.read_table(hospital / "cohort" / "labels" / "heart_failure_1y.parquet").to_pandas()
    crosswalk = pq.read_table(hospital / "store.raw" / "crosswalk.parquet").to_pandas()
    rows = labels[labels["boolean_value"]].merge(crosswalk, on="subject_id")
    assert len(rows) >= 40
    fhir = place / "fhir"
    shutil.copytree(hospital / "hospital" / "fhir", fhir)
    planted = [
        observation(
            f"{n}-{kind}",
            row.subject_key,
            row.prediction_time + pd.Timedelta(happened),
            row.prediction_time + pd.Timedelta(known),
        )
        for n, row in enumerate(rows.itertuples())
        for kind, (happened, known) in enumerate(clocks)
    ]
    (fhir / "Canary.ndjson").write_text("\n".join(planted) + "\n", "utf-8")
    store, cohort, run = place / "store", place / "cohort", place / "run"
    ingest([fhir], store, public=True)
    build_cohort(store, [TASK], cohort)
    train(store, cohort, run, candidates=MODELS)
    found = read_cohort(cohort)
    held_out = found.rows("held_out")
    timelines = RecordStore(store).timelines(found.index[["subject_id", "prediction_time"]])
    served = ServedRun(run)
    aurocs = {
        name: float(
            roc_auc_score(
                found.labels[held_out, 0], served.scorer(name).score(timelines.take(held_out))[:, 0]
            )
        )
        for name in MODELS
    }
    fitted = b"".join(f.read_bytes() for f in (run / "models").rglob("*") if f.is_file())
    return aurocs, CODE.encode() in fitted


def test_no_model_sees_what_was_known_after_the_prediction_time(
    hospital: Path, tmp_path: Path
) -> None:
    """One canary happened after it; the other happened before it and was issued after it."""
    aurocs, known_to_a_model = plant(hospital, tmp_path, [("1h", "1h"), ("-1h", "1s")])
    assert not known_to_a_model
    for name, auroc in aurocs.items():
        assert auroc < 0.9, name


def test_every_model_sees_what_was_known_before_it(hospital: Path, tmp_path: Path) -> None:
    aurocs, known_to_a_model = plant(hospital, tmp_path, [("-2h", "-1h")])
    assert known_to_a_model
    for name, auroc in aurocs.items():
        assert auroc > 0.97, name
