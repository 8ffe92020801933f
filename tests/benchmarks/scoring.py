"""What a score costs beside the networks that it cannot do without; prints tables of ratios.

    .venv/bin/python -m tests.benchmarks.scoring RUN [--store STORE] [--cohort COHORT] [--rows N]
        [--patients N] [--rounds N] [--only NAME …]

Held-out rows of a run whose champion is attention. Each figure is held against its ceiling in the
same process and round, on one thread, the best of `--rounds`: `one` patient whose notes and films
nobody has read before, against the bare forwards of the encoders and the members on what the score
gave them; a `table` of rows whose tokens are kept, against the members' forwards on its batches;
the peak of `memory` of a process that scores ever more rows; an `explanation` in scores. Nothing
is written beside the store: tokens are kept in a temporary directory. Times of different machines,
or hours, are not comparable; ratios are.

On two cores that other work kept busy (load 3 to 4), a run of 2,000 simulated patients
(--rows 200 --patients 6; memory with --rows 100):

    step                                      against                        ratio   must reach
    one patient, nothing kept (mean of 6)     bare forwards                   1.17   at most 1.3
    a table of 200 rows, tokens kept          bare members                   0.605   at least 0.5
    peak memory of 2000 rows, 512 at once     of 200 rows, 1351 : 1316 MiB    1.03   —
    peak memory of 2000 rows, 512 at once     of 512 rows, 1351 : 1354 MiB   0.998   at most 1.1
    an explanation (mean of 2)                a score                         14.6   —

Of the patient's score, networks took 83 %, the features of events 8 %.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from encoders.cache import tokens_in_memory
from encoders.frozen import FrozenEncoders
from encoders.threads import one_thread
from encoders.words import Words
from fusion.attention import AttentionCandidate
from fusion.explain import explain
from fusion.rows import read_rows
from fusion.run import read_json
from fusion.served import ServedRun
from ingest.labels import read_cohort
from ingest.schema import Modality
from ingest.timeline import Timelines
from serve.predictor import ROWS_AT_ONCE
from tests.benchmarks.clock import STEPS_OF_A_SCORE, best_seconds, timed_steps
from tests.benchmarks.peak import ask_child, peak_mebibytes
from tests.benchmarks.table import Row, print_table

_MANY, _FEW = 2000, 200


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Hold what the command line asks for, read."""

    served: ServedRun
    timelines: Timelines
    patients: int
    rounds: int
    words: list[str]
    """Of the command line: what a child needs to read the same."""

    @property
    def encoders(self) -> FrozenEncoders:
        """Give the encoders, whose tokens are kept in a temporary directory."""
        if not isinstance(self.served.encoders, FrozenEncoders):
            raise TypeError("the run must read with FrozenEncoders")
        return self.served.encoders

    @property
    def networks(self) -> dict[str, list[nn.Module]]:
        """Give what no score can do without."""
        model = self.served.fitted(AttentionCandidate.name)
        if not isinstance(model, AttentionCandidate):
            raise TypeError("attention must be an AttentionCandidate")
        text, image = self.encoders._text, self.encoders._image
        return {"text": [text], "image": [image], "members": list(model.members)}

    def known(self) -> list[Timelines]:
        """Give patients, one a timeline, of whom there are events, a note and a film."""
        has = np.all([self.timelines.has(m) for m in Modality], axis=0)
        if not has.any():
            raise SystemExit("no row has events, a note and a film; take more --rows")
        return [self.timelines.take(np.array([p])) for p in np.flatnonzero(has)[: self.patients]]


def main() -> None:
    """Measure what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--store", type=Path, help="default: as trained")
    parser.add_argument("--cohort", type=Path, help="default: as trained")
    parser.add_argument("--rows", type=int, default=300, help="distinct rows that are read")
    parser.add_argument("--patients", type=int, default=8, help="of whom one is scored at a time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=sorted(STEPS), default=list(STEPS))
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)  # what a child is asked
    parser.add_argument("--tokens", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="medweave-scoring-") as tokens, one_thread():
        asked = _read(a, a.tokens or Path(tokens))
        if a.peak:
            print(*_peak(asked, a.peak))
            return
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before")
        rows = [row for name in a.only for row in STEPS[name](asked)]
        print(f"load {os.getloadavg()[0]:.1f} after\n")
    print_table(rows)


def _read(a: argparse.Namespace, tokens: Path) -> Asked:
    sources = {"store": a.store, "cohort": a.cohort}
    if None in sources.values():
        sources = read_json(a.run / "sources.json", *sources) | {
            k: v for k, v in sources.items() if v
        }
    served = ServedRun(a.run, cache=tokens)
    others = {served.champion(task) for task in served.tasks} - {AttentionCandidate.name}
    if others:
        raise SystemExit(f"the champion must be attention; got {', '.join(others)}")
    table = read_cohort(Path(sources["cohort"]))
    places = table.rows("held_out")[: a.rows]
    rows = read_rows(Path(sources["store"]), table, places)
    words = [str(a.run), *(f"--{k}={v}" for k, v in sources.items()), f"--rows={a.rows}"]
    words.append(f"--tokens={tokens}")
    return Asked(
        served=served,
        timelines=rows.timelines,
        patients=a.patients,
        rounds=a.rounds,
        words=words,
    )


# What is measured ------------------------------------------------------------------------------


def one(asked: Asked) -> Iterator[Row]:
    """One patient end to end, against the bare forwards; prints where the rest goes."""
    best = []
    with patch.object(asked.encoders, "_cache", None):
        patients = asked.known()
        for patient in patients:
            bare = _bare(asked, patient)
            works = [lambda patient=patient: asked.served.score(patient), *bare.values()]
            best.append(best_seconds(works, asked.rounds))
        taken = np.mean([_taken(asked, patient) for patient in patients], axis=0)
    score, *forwards = 1000 * np.mean(best, axis=0)
    _print_steps(1000 * taken)
    told = ", ".join(f"{n} {ms:.1f}" for n, ms in zip(asked.networks, forwards, strict=True))
    yield Row(
        step=f"one patient, nothing kept (mean of {len(patients)})",
        measured=f"{score:.1f} ms",
        ceiling=f"bare forwards {sum(forwards):.1f} ms ({told})",
        ratio=score / sum(forwards),
        target="at most 1.3",
    )


def table(asked: Asked) -> Iterator[Row]:
    """A table of rows whose tokens are kept, against the members alone on the same batches."""
    rows = asked.timelines
    _keep_tokens(asked)
    bare = _bare(asked, rows)["members"]
    score, members = best_seconds([lambda: asked.served.score(rows), bare], asked.rounds)
    yield Row(
        step=f"a table of {len(rows)} rows, tokens kept",
        measured=f"{len(rows) / score:.0f} rows/s",
        ceiling=f"bare members {len(rows) / members:.0f} rows/s",
        ratio=members / score,
        target="at least 0.5",
    )


def memory(asked: Asked) -> Iterator[Row]:
    """Peak memory of a process that scores rows as `predict` does, a part at a time."""
    _keep_tokens(asked)
    peaks = {rows: _child(asked, rows) for rows in (_FEW, ROWS_AT_ONCE, _MANY)}
    for few in (_FEW, ROWS_AT_ONCE):
        yield Row(
            step=f"peak memory of {_MANY} rows, {ROWS_AT_ONCE} at once",
            measured=f"{peaks[_MANY][1]:.0f} MiB ({peaks[_MANY][0]:.0f} before the first)",
            ceiling=f"of {few} rows {peaks[few][1]:.0f} MiB",
            ratio=peaks[_MANY][1] / peaks[few][1],
            target="at most 1.1" if few == ROWS_AT_ONCE else "—",
        )


def explanation(asked: Asked) -> Iterator[Row]:
    """An explanation down to words and places, in scores; both read the note and the film once."""
    served, words = asked.served, Words(asked.encoders.text_config)
    patients, task = asked.known()[:2], served.tasks[0]  # each takes seconds
    best = []

    def explained(patient: Timelines) -> None:
        with tokens_in_memory():
            explain(served, patient, task, words=words)

    with patch.object(asked.encoders, "_cache", None):
        for patient in patients:
            works = [
                lambda patient=patient: served.score(patient),
                lambda patient=patient: explained(patient),
            ]
            best.append(best_seconds(works, min(asked.rounds, 2)))
    score, whole = np.mean(best, axis=0)
    yield Row(
        step=f"an explanation (mean of {len(patients)})",
        measured=f"{1000 * whole:.0f} ms",
        ceiling=f"a score {1000 * score:.0f} ms",
        ratio=whole / score,
        target="—",
    )


STEPS: dict[str, Callable[[Asked], Iterator[Row]]] = {
    "one": one,
    "table": table,
    "memory": memory,
    "explanation": explanation,
}


# How it is measured -----------------------------------------------------------------------------


def _bare(asked: Asked, timelines: Timelines) -> dict[str, Callable[[], None]]:
    """Give, for each network, its forwards on what a score of these timelines gives it."""
    calls: dict[str, list[tuple[nn.Module, tuple, dict]]] = {name: [] for name in asked.networks}
    with ExitStack() as stack:
        for name, modules in asked.networks.items():
            for module in modules:

                def keep(module: nn.Module, args: tuple, kwargs: dict, name: str = name) -> None:
                    calls[name].append((module, args, kwargs))

                hook = module.register_forward_pre_hook(keep, with_kwargs=True)
                stack.callback(hook.remove)
        asked.served.score(timelines)

    def again(name: str) -> None:
        with torch.inference_mode():
            for module, args, kwargs in calls[name]:
                module(*args, **kwargs)

    return {name: lambda name=name: again(name) for name in calls}


def _taken(asked: Asked, patient: Timelines) -> list[float]:
    """Give the seconds of each step of one score, and of what is none: the round of least sum."""
    rounds = []
    for _ in range(asked.rounds):
        with timed_steps() as spent:
            begun = perf_counter()
            asked.served.score(patient)
            whole = perf_counter() - begun
        rounds.append([*spent.values(), whole - sum(spent.values())])
    return min(rounds, key=sum)


def _print_steps(milliseconds: np.ndarray) -> None:
    names = [*(name for *_, name in STEPS_OF_A_SCORE), "all else"]
    print("\n| of one patient's score | ms | share |\n|---|---|---|")
    for ms, name in sorted(zip(milliseconds.tolist(), names, strict=True), reverse=True):
        print(f"| {name} | {ms:.2f} | {ms / milliseconds.sum():.0%} |")


def _child(asked: Asked, rows: int) -> tuple[float, float]:
    """Give the peak MiB of a process of its own, before its first row and after its last."""
    words = [*asked.words, f"--peak={rows}"]
    before, after = ask_child("tests.benchmarks.scoring", words, 2)
    return before, after


def _peak(asked: Asked, count: int) -> tuple[float, float]:
    """Score so many rows in parts; a row that comes again has tokens of its own, as others have."""
    distinct = len(asked.timelines)
    asked.served.score(asked.timelines.take(np.arange(1)))
    before = peak_mebibytes()
    ours = asked.encoders
    told = {"notes": ours.notes, "images": ours.images}

    def copies(name: str) -> Callable[..., list[np.ndarray]]:
        def read(items: Sequence[Any], **more: Any) -> list[np.ndarray]:
            plain = [type(item)(str(item).rpartition("#")[0]) for item in items]
            return [tokens.copy() for tokens in told[name](plain, **more)]

        return read

    with (
        patch.object(ours, "notes", copies("notes")),
        patch.object(ours, "images", copies("images")),
    ):
        for start in range(0, count, ROWS_AT_ONCE):
            places = np.arange(start, min(start + ROWS_AT_ONCE, count))
            part = asked.timelines.take(places % distinct)
            events = part.events
            mark = "#" + (places // distinct)[events["row"].to_numpy()].astype(str).astype(object)
            marked = {name: events[name] + mark for name in ("text_value", "image")}
            asked.served.score(replace(part, events=events.assign(**marked)))
    return before, peak_mebibytes()


def _keep_tokens(asked: Asked) -> None:
    """Read what is not kept yet; what is, costs little."""
    for start in range(0, len(asked.timelines), 64):
        asked.served.score(
            asked.timelines.take(np.arange(len(asked.timelines))[start : start + 64])
        )


if __name__ == "__main__":
    main()
