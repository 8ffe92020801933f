"""Strangers' bytes in, one timeline per patient out.

In come FHIR files, DICOM, PNG/JPEG, or a CSV with a folder of images; out goes a record store (a
MEDS dataset, `ingest.schema`) with an account of each record, and from it cohorts: who is
predicted, when, and what came of it. `simulate` writes a hospital whose true risks are known.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest.cohort import build_cohort, prediction_times
    from ingest.labels import Cohort, read_cohort
    from ingest.store import RecordStore
    from ingest.timeline import Timelines

__all__ = [
    "Cohort",
    "RecordStore",
    "Timelines",
    "build_cohort",
    "prediction_times",
    "read_cohort",
]

_HOMES = {
    "Cohort": "labels",
    "RecordStore": "store",
    "Timelines": "timeline",
    "build_cohort": "cohort",
    "prediction_times": "cohort",
    "read_cohort": "labels",
}


def __getattr__(name: str) -> Any:
    # On first use: duckdb, polars and ACES take seconds that `medweave --help` should not.
    if name in _HOMES:
        return getattr(import_module(f"ingest.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'ingest' has no attribute {name!r}")
