"""Write small FHIR exports and ingest them, for the tests of ingest."""

import json
from pathlib import Path
from typing import Any

from ingest.build import ingest

PATIENT = {"resourceType": "Patient", "id": "p"}


def write_ndjson(path: Path, *resources: dict[str, Any] | str) -> Path:
    """Write a line for each resource; a string is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in resources]
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
    return path


def observation(name: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": name}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": "2020-05-04T08:00:00Z",
        **value,
        **more,
    }


def ingested(place: Path, *sources: Path, **options: Any) -> dict[str, Any]:
    """Ingest into `place`/store with the public key."""
    return ingest(list(sources), place / "store", public=True, **options)
