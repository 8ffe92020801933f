"""Write a hospital whose true risks are known: FHIR R4 NDJSON, DICOM X-rays, notes, and the oracle.

The generative model; every number stands in a world file (`worlds/default.yaml` explains each).

Latents of a patient, independent: L (level), T (trend), A (age), H (heart size), O (opacity), each
standard normal; C (congestion), +1 or -1; comorbidities, each there or not.

    log-odds = intercept + level L + trend T + age A + sum of comorbidities' log-odds
             + congestion C + heart H + opacity O + interaction C H
    label ~ Bernoulli(probability); the intercept is solved so that the prevalence comes out

With the interaction a large heart raises the risk of the congested and lowers that of the others:
no f(events) + g(notes) + h(images) says that. What the files show of the latents, with noise:

- events: measurements at 2 to 6 visits, value = mean + sd (level L + trend T years + person r +
  noise e), each measured or not at random; birth date (A); comorbidities as Conditions; and
  measurements, conditions, medications and immunisations that are irrelevant;
- notes: each finding is present or not given C; the note affirms it, denies it or leaves it open
  (and may then hedge), in many wordings, among distractors (`phrasebook`);
- images: heart = H + noise and opacity = O + noise, drawn in a phantom (`phantom`) where all else
  (build, position, exposure, view with its magnification, pixel noise) means nothing.

A note or a film may be missing, at random or (a switch) depending on C. The oracle
(`oracle.parquet`) is P(label | the statistics above, and what is missing) for each subset of
modalities, and for the best additive score; reading the statistics off text and pixels is left to
models, so it is a ceiling. Notes name neither age nor comorbidity, films carry neither, so that a
modality says nothing of another.

A patient's only encounter of class AMB is the index visit, at whose end one predicts. Heart
failure (SNOMED CT 84114007) of the positives is recorded 10 to 360 days later. What comes after the
index visit would give the label away (values get worse, notes name the diagnosis, films show it):
who looks there is caught by an AUROC above the oracle's. A few patients have heart failure before
the index visit or are lost to follow-up: they have no label. A contact at day 396 to 430 shows that
the others were followed. Refuted and entered-in-error diagnoses of heart failure stand among the
records, whatever the label.
"""

import json
import shutil
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ingest.additive import fit_additive
from ingest.chart import RESOURCE_TYPES, Chart
from ingest.course import Course, draw_courses
from ingest.errors import InputError, UsageError
from ingest.oracle import SUBSETS, Draw, draw, evidence, oracle
from ingest.phantom import draw_phantom, write_film
from ingest.phrasebook import read_phrasebook
from ingest.world import World, read_world, write_world

__all__ = ["simulate"]

_MOST_PATIENTS = 1_000_000


def simulate(
    out: Path, *, patients: int, seed: int, world: Path | None = None, progress: bool = False
) -> dict[str, Any]:
    """Write a hospital to a directory, and return its `hospital.json`.

    The same arguments give the same bytes. The directory appears when it is complete; an earlier
    hospital there is replaced, anything else is refused.

    Writes `fhir/TYPE.ndjson`, `dicom/*.dcm`, `oracle.parquet` (subject_key, label, one column for
    each subset of modalities, additive), `world.yaml` and `hospital.json`.

    Raises:
        UsageError: patients or seed out of range, or the directory holds something else.
        InputError, MappingError: the world file cannot be read, or does not fit.
    """
    if not 1 <= patients <= _MOST_PATIENTS:
        raise UsageError(f"patients must be between 1 and {_MOST_PATIENTS}; got {patients}")
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed must be between 0 and 2**63 - 1; got {seed}")
    chosen = read_world(world)
    out = Path(out)
    if (
        out.exists()
        and not (out / "hospital.json").is_file()
        and (out.is_file() or any(out.iterdir()))
    ):
        raise UsageError(f"{out} is there and is not a simulated hospital; give another directory")
    building = out.with_name(out.name + ".part")
    try:
        shutil.rmtree(building, ignore_errors=True)
        (building / "dicom").mkdir(parents=True)
        (building / "fhir").mkdir()
        summary = _write(building, chosen, patients, seed, progress)
        if out.exists():
            shutil.rmtree(out)
        building.rename(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return summary


def _write(out: Path, world: World, patients: int, seed: int, progress: bool) -> dict[str, Any]:
    # One stream for who the patients are, one for each patient's files: a change in how a note is
    # worded moves no patient's risk.
    rng = np.random.default_rng([seed, 0])
    book = read_phrasebook(world)
    drawn = draw(world, patients, rng)
    courses = draw_courses(world, drawn, seed, rng)
    counts: Counter[str] = Counter()
    with ExitStack() as files:
        sinks = {
            kind: files.enter_context((out / "fhir" / f"{kind}.ndjson").open("w", encoding="utf-8"))
            for kind in RESOURCE_TYPES
        }
        for i in tqdm(range(patients), desc="simulate", disable=not progress, unit="patient"):
            own = np.random.default_rng([seed, 1, i])
            chart = Chart(world, book, drawn.statistics, courses[i], i, seed, own)
            counts.update(_put(chart.resources(), sinks))
            for film, heart, opacity in chart.films:
                pixels = draw_phantom(world, heart, opacity, film.view, own)
                write_film(out / "dicom" / f"{film.accession}.dcm", pixels, film)
                counts["dicom"] += 1
    risks = _oracle_table(world, drawn, courses)
    pq.write_table(risks, out / "oracle.parquet")
    write_world(out / "world.yaml", world)
    labels = risks["label"].to_pandas().dropna()
    summary = {
        "world": world.name,
        "seed": seed,
        "patients": patients,
        "labelled": len(labels),
        "positives": int(labels.sum()),
        "with_note": int(drawn.statistics.has_note.sum()),
        "with_image": int(drawn.statistics.has_image.sum()),
        "written": dict(sorted(counts.items())),
    }
    (out / "hospital.json").write_text(
        json.dumps(summary, indent=2, sort_keys=True) + "\n", "utf-8"
    )
    return summary


def _put(resources: list[dict[str, Any]], sinks: dict[str, TextIO]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for resource in resources:
        kind = resource["resourceType"]
        sinks[kind].write(json.dumps(resource, separators=(",", ":"), ensure_ascii=False) + "\n")
        counts[kind] += 1
    return counts


def _oracle_table(world: World, drawn: Draw, courses: list[Course]) -> pa.Table:
    known = evidence(world, drawn.statistics)
    risks = oracle(world, known)
    columns: dict[str, Any] = {
        "subject_key": pa.array([f"Patient/{c.patient_id}" for c in courses], pa.string()),
        "label": pa.array([c.label for c in courses], pa.bool_()),
    }
    columns |= {name: pa.array(risks[name], pa.float64()) for name in SUBSETS}
    columns["additive"] = pa.array(fit_additive(world).risk(known), pa.float64())
    return pa.table(columns)
