"""How good the risks are: prints the tables that the README carries.

    .venv/bin/python -m tests.benchmarks.quality truth [--worlds NAME …] [--training N …] \\
        [--seeds N …] [--place DIR]
    .venv/bin/python -m tests.benchmarks.quality robustness [--world NAME] [--training N] \\
        [--held-out N] [--elsewhere N] [--patients N] [--seed N] [--place DIR]
    .venv/bin/python -m tests.benchmarks.quality table
    .venv/bin/python -m tests.benchmarks.quality choices [--training N] [--held-out N] [--place DIR]

`truth` works through cells (a world, a number of training patients, a seed), each of which takes
from minutes to hours, and writes what it found of each into results/; a cell that is there is not
done again, unless it was made by other code of the models. `table` prints what is there. A cell's
file holds figures of simulated patients, and nobody's data. `robustness` says what noise, what is
missing, another prevalence and other worlds do to a run's risks; its hospital and its run are those
of `truth`, if that has worked in the same place. `choices` says what each choice of the model's
first part is worth, on a hospital that is in no other table.
"""

import argparse
import ast
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ingest.world import WORLDS
from tests.benchmarks.choices import SEED, judge_choices
from tests.benchmarks.known_truth import HELD_OUT, Hospital, run_cell
from tests.benchmarks.robustness import run_robustness, table_of_robustness

RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parents[2]
_FITTING = ("fusion/fitting.py", "encoders/frozen.py")
_BESIDE = ("run.py",)  # reads and writes files, and knows of no model
_LARGEST = 10_000
_ELSEWHERE = 500  # added to a seed: patients of another world are drawn anew


def main(argv: Sequence[str] | None = None) -> None:
    """Do what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("truth", "robustness", "table", "choices"))
    worlds = sorted(file.stem for file in WORLDS.glob("*.yaml"))
    parser.add_argument("--worlds", nargs="+", choices=worlds, default=worlds)
    parser.add_argument("--training", nargs="+", type=int, default=[2000, _LARGEST])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--held-out", type=int, default=HELD_OUT)
    parser.add_argument("--world", choices=worlds, default="default", help="of robustness")
    parser.add_argument("--seed", type=int, default=0, help="of robustness")
    parser.add_argument("--elsewhere", type=int, default=1000, help="patients of each other world")
    parser.add_argument(
        "--patients",
        type=int,
        default=_LARGEST + HELD_OUT,
        help="that robustness simulates (default: as many as truth does)",
    )
    parser.add_argument("--place", type=Path, help="where hospitals are kept (default: nowhere)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    a = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="medweave-quality-") as name:
        if a.what == "truth":
            _known_truth(a, a.place or Path(name))
        if a.what == "robustness":
            _robustness(a, a.place or Path(name), Path(name))
            return
        if a.what == "choices":
            _choices(a, a.place or Path(name))
            return
    print(table_of_truth(_read(a.results, "truth")))
    for cell in _read(a.results, "robustness"):
        print("\n" + table_of_robustness(cell, hash_of_models()))


def _known_truth(a: argparse.Namespace, place: Path) -> None:
    a.results.mkdir(parents=True, exist_ok=True)
    code = hash_of_models()
    for seed in a.seeds:
        for world in a.worlds:
            for training in sorted(a.training):
                file = a.results / f"truth-{world}-{training}-{seed}.json"
                if file.is_file() and json.loads(file.read_text("utf-8"))["code"] == code:
                    continue
                patients = max(a.training) + a.held_out
                hospital = Hospital(place / f"{world}-{seed}", world, seed, patients)
                cell = run_cell(hospital, training, a.held_out, code=code)
                file.write_text(json.dumps(cell, indent=1) + "\n", "utf-8")
                print(table_of_truth([cell]), flush=True)


def _robustness(a: argparse.Namespace, place: Path, scratch: Path) -> None:
    a.results.mkdir(parents=True, exist_ok=True)
    code, training = hash_of_models(), min(a.training)
    others = sorted(file.stem for file in WORLDS.glob("*.yaml") if file.stem != a.world)
    seed = _ELSEWHERE + a.seed
    elsewhere = (Hospital(place / f"{w}-{seed}", w, seed, a.elsewhere) for w in others)
    hospital = Hospital(place / f"{a.world}-{a.seed}", a.world, a.seed, a.patients)
    cell = {}
    file = a.results / f"robustness-{a.world}-{training}-{a.seed}.json"
    for cell in run_robustness(
        hospital, training, a.held_out, elsewhere, scratch=scratch, code=code
    ):
        file.write_text(json.dumps(cell, indent=1) + "\n", "utf-8")
        print(f"{cell['rows'][-1]['part']}: {cell['rows'][-1]['name']}", flush=True)
    print(table_of_robustness(cell, code))


def _choices(a: argparse.Namespace, place: Path) -> None:
    training = min(a.training)
    hospital = Hospital(place / f"choices-{SEED}", "default", SEED, training + a.held_out)
    print("| choice | AUROC | log-loss | behind the best possible AUROC |\n|---|---|---|---|")
    for row in judge_choices(hospital, training, a.held_out):
        figures = f"{row['auroc']:.3f} | {row['logloss']:.4f} | {row['behind']:.3f}"
        print(f"| {row['choice']} | {figures} |", flush=True)


def hash_of_models(root: Path = _ROOT) -> str:
    """Hash the code that fits and scores: what it does, not how its docstrings are worded.

    That is what `_FITTING` names and whatever they import; reports and explanations are no part.
    """
    total = hashlib.sha256()
    trees: dict[Path, ast.Module] = {}
    wanted = [root / name for name in _FITTING]
    while wanted:
        path = wanted.pop()
        if path in trees or not path.is_file() or path.name in _BESIDE:
            continue
        trees[path] = tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            name = node.module if isinstance(node, ast.ImportFrom) else None
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value.partition(":")[0]  # candidates are named "fusion.linear:Class"
            room, _, module = (name or "").partition(".")
            if room in ("encoders", "fusion") and (module.isidentifier() or name == room):
                wanted.append(root / room / f"{module or '__init__'}.py")
    for path in sorted(trees):
        for node in ast.walk(trees[path]):
            for body in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
                if isinstance(body, list):
                    body[:] = [ast.Pass() if _is_docstring(each) else each for each in body]
        total.update(path.name.encode() + b"\0" + ast.unparse(trees[path]).encode())
    return total.hexdigest()[:16]


def _is_docstring(node: ast.AST) -> bool:
    """Say whether a statement is a string alone: a docstring, or a line under a field."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _read(place: Path, what: str) -> list[dict[str, Any]]:
    files = sorted(place.glob(f"{what}-*.json"))
    return [json.loads(file.read_text("utf-8")) for file in files]


def table_of_truth(cells: list[dict[str, Any]]) -> str:
    """Give the table: a line a world and size, over its seeds; older code is marked."""
    grouped: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        grouped[cell["world"], cell["training"]].append(cell)
    code = hash_of_models()
    subsets = list(cells[0]["behind"]) if cells else []
    head = ["world", "training", "seeds", "champion", "AUROC", "oracle"]
    head += [f"behind: {name}" for name in subsets]
    head += ["attention − stacked", "slope", "interval holds the rate", "… the risk", "Shapley"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for (world, training), those in sorted(grouped.items()):
        champions = sorted({cell["champion"] for cell in those})
        every = [[_of(cell, "champion", "auroc") for cell in those]]
        every.append([cell["oracle"][subsets[-1]]["auroc"]["value"] for cell in those])
        slopes = [_of(cell, "champion", "slope") for cell in those]
        orders = [_order(cell["shapley"]) for cell in those]
        older = any(cell["code"] != code for cell in those)
        row = [world, f"{training:,}", f"{len(those)}{' (older code)' if older else ''}"]
        row.append(", ".join(champions))
        row += [f"{np.mean(values):.3f}" for values in every]
        row += [_pooled([cell["behind"][name] for cell in those]) for name in subsets]
        row.append(_pooled([cell["attention_over_stacked"] for cell in those]))
        row.append(" ".join(f"{slope:.2f}" for slope in slopes))
        for what in ("rate", "risk"):
            told = [cell["interval"][what] for cell in those if "interval" in cell]
            row.append(f"{100 * np.mean(told):.0f} %" if told else "")
        row.append(f"{sum(orders)} of {len(orders)} in order")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def _of(cell: dict[str, Any], model: str, name: str) -> float:
    told = cell["models"][cell["champion"] if model == "champion" else model][name]
    return told["value"] if isinstance(told, dict) else told


def _pooled(differences: list[dict[str, float]]) -> str:
    """Give the mean difference over independent hospitals, with its 95 % interval."""
    mean = float(np.mean([d["value"] for d in differences]))
    half = [(d["high"] - d["low"]) / 2 for d in differences]
    off = float(np.sqrt(np.square(half).sum()) / len(half))
    return f"{mean:+.3f} [{mean - off:+.3f}, {mean + off:+.3f}]"


def _order(shares: dict[str, dict[str, float]]) -> bool:
    """Say whether the champion's modalities weigh in the same order as the truth's."""
    ours, truth = (sorted(told, key=lambda m: told[m]) for told in shares.values())
    return ours == truth


if __name__ == "__main__":
    main()
