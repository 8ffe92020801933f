"""Hold an export against the run that it came from: the same risks, and how fast.

Both are asked from timelines on, encoders included and without the token cache, one thread each.
The times of both are taken by turns, so that whatever else the machine does meets both alike.
"""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from encoders.frozen import FrozenEncoders
from encoders.threads import one_thread
from fusion.metrics import draw_resamples, measure
from fusion.onnx_export import EXPORTED
from fusion.onnx_scorer import OnnxScorer
from fusion.rows import Rows, read_rows
from fusion.run import write_json
from fusion.scoring import Scorer
from fusion.served import ServedRun
from ingest.damage import naming_damage
from ingest.errors import CohortError, UsageError
from ingest.labels import read_cohort
from ingest.schema import SPLITS, Modality
from ingest.timeline import Timelines

__all__ = ["Sizes", "compare_export", "describe_comparison"]

THREADS = 1


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bound how much is compared."""

    rows_at_most: int = 500
    """Rows whose risks are compared; of more, some evenly spread."""

    timed_rows: int = 10
    """Patients that are timed one by one, those with most modalities first."""

    rounds: int = 10
    """Times that each of them is scored, after one time to warm up."""

    def __post_init__(self) -> None:
        for name in ("rows_at_most", "timed_rows", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {name}={getattr(self, name)}")


def compare_export(
    folder: Path,
    run: Path,
    *,
    store: Path,
    cohort: Path,
    split: str = "held_out",
    sizes: Sizes | None = None,
    encoders: FrozenEncoders | None = None,
    text: str | None = None,
    image: str | None = None,
) -> dict[str, Any]:
    """Write export_report.json into the export, and give its content.

    Args:
        folder: what `export_onnx` wrote.
        run: that it was exported from.
        store: the record store.
        cohort: whose rows are compared.
        split: which rows.
        sizes: how many.
        encoders: those that the run was trained with, already made; by default as `ServedRun`
            finds them.
        text: where the run's text encoder is now.
        image: where its image encoder is now.

    Raises:
        UsageError: a split that there isn't, or an encoder that cannot be had.
        CohortError: no row in the split.
        RunError: the run or the export is damaged.
    """
    if split not in SPLITS:
        raise UsageError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    sizes = sizes or Sizes()
    served = ServedRun(run, encoders=encoders, text=text, image=image)
    with naming_damage(store=store, cohort=cohort):
        table = read_cohort(cohort)
        places = table.rows(split)
        total = len(places)
        if not total:
            raise CohortError(f"{cohort} has no row in {split} to compare on")
        if total > sizes.rows_at_most:
            places = places[np.linspace(0, total - 1, sizes.rows_at_most).astype(int)]
        rows = read_rows(store, table, places, exclude_codes=served.exclude_codes)
    torch_model, onnx_model = served.scorer(EXPORTED), OnnxScorer(folder, threads=THREADS)
    with one_thread():
        said = {
            "torch": torch_model.score(rows.timelines),
            "onnx": onnx_model.score(rows.timelines),
        }
        timed = _most_known(rows.timelines, sizes.timed_rows)
        latency = _latency({"torch": torch_model, "onnx": onnx_model}, timed, sizes.rounds)
    report: dict[str, Any] = {
        "split": split,
        "rows": len(rows),
        "rows_in_split": total,
        "largest_difference": float(np.abs(said["torch"] - said["onnx"]).max()),
        "auroc": {
            task: {
                name: _auroc(risks[:, i], rows, table.tasks.index(task))
                for name, risks in said.items()
            }
            for i, task in enumerate(served.tasks)
        },
        "latency_ms": latency,
        "timed_patients": len(timed),
        "timed_with": {str(m): int(sum(one.has(m).any() for one in timed)) for m in Modality},
        "calls": len(timed) * sizes.rounds,
        "threads": THREADS,
        "processor": platform.machine(),
        "versions": {name: version(name) for name in ("torch", "onnxruntime")},
    }
    write_json(folder / "export_report.json", report)
    return report


def describe_comparison(report: Mapping[str, Any]) -> str:
    """Put a comparison into lines for a terminal."""
    counted = f"{report['rows']} rows of {report['split'].replace('_', ' ')}"
    if report["rows"] < report["rows_in_split"]:
        counted += f" (evenly spread among its {report['rows_in_split']})"
    lines = [
        f"compared on {counted}: the largest difference in calibrated risk is "
        f"{report['largest_difference']:.1e}"
    ]
    for task, found in report["auroc"].items():
        told = ", ".join(
            f"{name} {'n/a' if value is None else f'{value:.4f}'}" for name, value in found.items()
        )
        lines.append(f"AUROC of {task}: {told}")
    for name, found in report["latency_ms"].items():
        lines.append(
            f"one patient with {name}: median {found['median']:.0f} ms, "
            f"95th percentile {found['p95']:.0f} ms"
        )
    lines.append(
        f"({report['calls']} calls of {report['timed_patients']} patients, encoders included, "
        f"warm, no token cache, {report['threads']} thread)"
    )
    return "\n".join(lines)


def _auroc(risk: np.ndarray, rows: Rows, column: int) -> float | None:
    label = rows.labels[:, column].astype(np.float64)
    known = np.isfinite(label)
    nobody = draw_resamples(rows.subjects[known], resamples=0, seed=0)
    return measure(risk[known], label[known], nobody, threshold=None)["auroc"]["value"]


def _most_known(timelines: Timelines, count: int) -> list[Timelines]:
    """Give single patients, those of whom most modalities are known first."""
    known = np.sum([timelines.has(modality) for modality in Modality], axis=0)
    chosen = np.argsort(-known, kind="stable")[:count]
    return [timelines.take(np.array([row])) for row in chosen]


def _latency(
    scorers: Mapping[str, Scorer], timed: Sequence[Timelines], rounds: int
) -> dict[str, dict[str, float]]:
    took: dict[str, list[float]] = {name: [] for name in scorers}
    for one in timed:
        for number in range(rounds + 1):
            for name, scorer in scorers.items():
                began = time.perf_counter()
                scorer.score(one)
                if number:  # the first of each warms up
                    took[name].append(1000 * (time.perf_counter() - began))
    return {
        name: {"median": float(np.median(all_)), "p95": float(np.percentile(all_, 95))}
        for name, all_ in took.items()
    }
