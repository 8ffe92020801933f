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
from ingest.store import RecordStore
from tests.hospital import ROOT, Hospital

pytestmark = pytest.mark.xdist_group("journey")

TASK = ROOT / "ingest" / "tasks" / "heart_failure_1y.yaml"
MODELS = ("events_logistic", "events_boosting", "attention")


def observation(number: int, subject: str, happened: pd.Timestamp, known: pd.Timestamp) -> str:
    resource = {
        "resourceType": "Observation",
        "id": f"canary-{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "CANARY-1"}]},
        "subject": {"reference": subject},
        "effectiveDateTime": happened.isoformat() + "Z",
        "issued": known.isoformat() + "Z",
        "valueQuantity": {"value": 1},
    }
    return json.dumps(resource)


def build(hospital: Hospital, place: Path, happened: str, known: str) -> dict[str, float]:
    """Plant the canary in each positive patient and give each model's AUROC over all rows."""
    labels = pq.read_table(hospital.cohort / "labels" / "heart_failure_1y.parquet").to_pandas()
    crosswalk = pq.read_table(Path(f"{hospital.store}.raw") / "crosswalk.parquet").to_pandas()
    rows = labels[labels["boolean_value"]].merge(crosswalk, on="subject_id")
    fhir = place / "fhir"
    shutil.copytree(hospital.source / "fhir", fhir)
    planted = [
        observation(
            n,
            row.subject_key,
            row.prediction_time + pd.Timedelta(happened),
            row.prediction_time + pd.Timedelta(known),
        )
        for n, row in enumerate(rows.itertuples())
    ]
    assert len(planted) >= 8
    (fhir / "Canary.ndjson").write_text("\n".join(planted) + "\n", "utf-8")
    store, cohort, run = place / "store", place / "cohort", place / "run"
    ingest([fhir], store, public=True)
    build_cohort(store, [TASK], cohort)
    train(store, cohort, run, candidates=MODELS)
    found = read_cohort(cohort)
    timelines = RecordStore(store).timelines(found.index[["subject_id", "prediction_time"]])
    served = ServedRun(run)
    fitted = b"".join(f.read_bytes() for f in sorted((run / "models").rglob("*")) if f.is_file())
    held_out = found.rows("held_out")
    aurocs = {
        name: float(
            roc_auc_score(
                found.labels[held_out, 0], served.scorer(name).score(timelines.take(held_out))[:, 0]
            )
        )
        for name in MODELS
    }
    aurocs["in vocabulary"] = float(b"CANARY-1" in fitted)
    return aurocs


@pytest.mark.parametrize(
    ("happened", "known"),
    [("1h", "1h"), ("-1h", "1s")],
    ids=["happened after the prediction", "happened before it but was known after"],
)
def test_no_model_sees_what_was_known_after_the_prediction_time(
    hospital: Hospital, tmp_path: Path, happened: str, known: str
) -> None:
    aurocs = build(hospital, tmp_path, happened, known)
    assert aurocs.pop("in vocabulary") == 0
    for name, auroc in aurocs.items():
        assert auroc < 0.99, name


def test_every_model_sees_what_was_known_before_it(hospital: Hospital, tmp_path: Path) -> None:
    aurocs = build(hospital, tmp_path, "-2h", "-1h")
    assert aurocs.pop("in vocabulary") == 1
    for name, auroc in aurocs.items():
        assert auroc > 0.9, name
