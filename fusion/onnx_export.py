"""Export a run's attention model as ONNX, for who serves without torch.

Only `attention` is exported: the simple models are regressions and trees whose files are JSON,
safetensors and LightGBM's own text, which other systems read as they are.
"""

import shutil
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from encoders.build import build_encoder
from encoders.frozen import FrozenEncoders
from encoders.onnx_frozen import ONNX_EXTRA
from fusion.attention import AttentionCandidate
from fusion.onnx_scorer import EXPORT_LAYOUT, exported_files
from fusion.run import digest_files, read_json, write_json
from fusion.served import ServedRun
from ingest.errors import RunError, UsageError

__all__ = ["EXPORTED", "export_onnx", "need_onnx"]

EXPORTED = AttentionCandidate.name
"""The one model that is exported."""


def need_onnx() -> None:
    """Refuse where the packages of the extra `onnx` are not installed.

    Raises:
        UsageError: they are not.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"exporting needs {', '.join(missing)}: {ONNX_EXTRA}")


def export_onnx(
    run: Path,
    out: Path,
    *,
    model: str | None = None,
    encoders: FrozenEncoders | None = None,
    text: str | None = None,
    image: str | None = None,
) -> dict[str, Any]:
    """Write the graphs, and what is needed to ask them, into a directory; give export.json.

    The same run gives the same bytes with the same versions of torch and onnxscript.

    Args:
        run: what `train` wrote.
        out: a directory that is not there, empty, or an earlier export, which is replaced.
        model: `attention`, to export it where another model serves.
        encoders: those that the run was trained with, already made; by default as `ServedRun`
            finds them.
        text: where the run's text encoder is now.
        image: where its image encoder is now.

    Raises:
        UsageError: the extra is not installed, another model serves or is asked for, or `out`
            holds something else; or an encoder cannot be had.
        RunError: the run is damaged, or has no attention model.
    """
    need_onnx()
    if model not in (None, EXPORTED):
        raise UsageError(f"model must be {EXPORTED}, the only one that is exported; got {model!r}")
    served = ServedRun(run, encoders=encoders, text=text, image=image)
    encoders = _exportable(served)
    _refuse(served, model)
    _clear(out)
    candidate = AttentionCandidate.load(run / "models" / EXPORTED, encoders)
    config = read_json(run / "run.json")
    _write_graphs(out, candidate, encoders)
    write_json(out / "vocabulary.json", candidate.vocabulary.to_json())
    said = {
        "layout": EXPORT_LAYOUT,
        "model": EXPORTED,
        "tasks": list(served.tasks),
        "champions": {task: served.champion(task) for task in served.tasks},
        "prevalence": served.prevalence,
        "thresholds": {task: served.threshold(task, EXPORTED) for task in served.tasks},
        "calibration": {task: served.calibrator(task, EXPORTED).to_json() for task in served.tasks},
        "preprocessing": encoders.preprocessing,
        "vocabulary": "vocabulary.json",
        "parts": asdict(candidate.parts),
        "kinds": candidate.kinds,
        "image_tokens": candidate.members[0].config.image_tokens,
        "members": len(candidate.members),
        "exclude_codes": list(served.exclude_codes),
        "conventions": config.get("conventions"),
        "run_manifest_sha256": digest_files(run, [run / "manifest.json"])["manifest.json"],
        "versions": {name: version(name) for name in ("medweave", "torch", "onnx", "onnxscript")},
        "sha256": digest_files(out, exported_files(out)),
    }
    write_json(out / "export.json", said)
    return said


def _write_graphs(out: Path, candidate: AttentionCandidate, encoders: FrozenEncoders) -> None:
    from fusion.onnx_graphs import fusion_graph, image_graph, text_graph

    text = build_encoder(encoders.text_config)
    out.mkdir(parents=True, exist_ok=True)
    text.tokenizer.save_pretrained(out / "tokenizer")  # before it pads: its JSON keeps what it did
    graphs = {
        "text.onnx": lambda: text_graph(text),
        "image.onnx": lambda: image_graph(build_encoder(encoders.image_config)),
        "fusion.onnx": lambda: fusion_graph(candidate.members),
    }
    for name, graph in graphs.items():
        (out / name).write_bytes(graph())


def _exportable(served: ServedRun) -> FrozenEncoders:
    if not isinstance(served.encoders, FrozenEncoders):
        raise ValueError(
            f"encoders must be FrozenEncoders, whose networks are exported with the model; got "
            f"{type(served.encoders).__name__}"
        )
    return served.encoders


def _refuse(served: ServedRun, model: str | None) -> None:
    if EXPORTED not in served.names:
        raise RunError(
            f"{served.run} has no {EXPORTED} model, and only that is exported; it has "
            f"{', '.join(served.names)}"
        )
    others = {task: served.champion(task) for task in served.tasks}
    others = {task: name for task, name in others.items() if name != EXPORTED}
    if others and model is None:
        told = ", ".join(f"{task} is {name}" for task, name in others.items())
        raise UsageError(
            f"only {EXPORTED} is exported, and the champion of {told}; with --model {EXPORTED} it "
            "is exported all the same"
        )


def _clear(out: Path) -> None:
    """Make way for an export; what is not one is left alone.

    Raises:
        UsageError: the directory holds something else.
    """
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / "export.json").is_file()):
        raise UsageError(f"{out} is there and is no export; name another directory")
    (out / "export.json").unlink(missing_ok=True)  # first: what is half there is no export
    for file in [*exported_files(out), out / "export_report.json"]:
        file.unlink(missing_ok=True)
    shutil.rmtree(out / "tokenizer", ignore_errors=True)
