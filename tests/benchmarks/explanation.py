"""Whether explanations point at what matters: prints the table that the README carries.

    .venv/bin/python -m tests.benchmarks.explanation RUN [--store STORE] [--rows N] [--model NAME]

Deletion: what is said to matter most is taken out of held-out records, and as much at random; the
change of the log odds is printed for both. Planted findings: of films that are drawn with a large
heart or with haze, how much of the heat that raises the risk falls where the film would differ
without it, against as much of any other place; and the same with the weights shuffled.
"""

import argparse
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from PIL import Image, ImageDraw

from encoders.words import Words
from fusion.attention import AttentionCandidate
from fusion.candidates import Candidate
from fusion.explain import ExplainedImage, Explanation, explain
from fusion.inside import look_inside
from fusion.prevalence import to_logit
from fusion.rows import read_rows
from fusion.run import read_json
from fusion.served import ServedRun
from fusion.train import token_cache
from ingest.labels import read_cohort
from ingest.schema import Modality
from ingest.timeline import Timelines
from ingest.world import read_world
from tests.phantoms import draw_films

_TAKEN = {"events": 3, "sentences": 2, "words": 5, "cells of images": 5}
"""Of each, so many are taken out at once."""
_FILMS = 60
_LARGE = 2.0  # sd of the planted finding


def main() -> None:
    """Judge a run's explanations and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--store", type=Path, help="default: as trained")
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--model", help="default: the champion")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    sources = read_json(a.run / "sources.json", "store", "cohort")
    store = a.store or Path(sources["store"])
    served = ServedRun(a.run, cache=token_cache(store))
    table = read_cohort(Path(sources["cohort"]))
    index = np.random.default_rng(a.seed).permutation(table.rows("held_out"))[: a.rows]
    rows = read_rows(store, table, np.sort(index), exclude_codes=served.exclude_codes)
    name = a.model or served.champion(served.tasks[0])
    print(
        f"{name}, {len(rows)} held-out records; change of the log odds, mean of absolute values\n"
    )
    with tempfile.TemporaryDirectory(prefix="medweave-explanation-") as place:
        _deletion(served, rows.timelines, name, Path(place), random.Random(a.seed))
        model = served.fitted(name)
        if isinstance(model, AttentionCandidate):  # whose weights can be shuffled
            _planted(model, Path(place), a.seed)


def _deletion(
    served: ServedRun, timelines: Timelines, name: str, place: Path, rng: random.Random
) -> None:
    changes: dict[str, list[tuple[float, float]]] = {what: [] for what in _TAKEN}
    scorer, seconds = served.scorer(name), []
    words = Words(getattr(served.encoders, "text_config", None))
    for number in range(len(timelines)):
        one = timelines.take(np.array([number]))
        begun = perf_counter()
        found = explain(served, one, served.tasks[0], model=name, words=words)
        seconds.append(perf_counter() - begun)
        before = float(to_logit(scorer.score(one))[0, 0])
        for what, parts, without in _ways(found, one, place):
            count = _TAKEN[what]
            if len(parts) < 2 * count:
                continue
            ordered = sorted(parts, key=lambda part: -abs(part[0]))
            pair = []
            for taken in (ordered[:count], rng.sample(parts, count)):
                after = float(to_logit(scorer.score(without(taken)))[0, 0])
                pair.append(abs(after - before))
            changes[what].append((pair[0], pair[1]))
    print(
        "| taken out | records | said to matter most | at random | ratio |\n|---|---|---|---|---|"
    )
    for what, pairs in changes.items():
        if pairs:
            most, other = np.mean(pairs, axis=0)
            label = f"{_TAKEN[what]} {what}"
            print(f"| {label} | {len(pairs)} | {most:.3f} | {other:.3f} | {most / other:.1f} |")
    print(f"\nAn explanation took {np.median(seconds):.1f} s (median).\n")


_Part = tuple[float, object]


def _ways(
    found: Explanation, one: Timelines, place: Path
) -> Iterator[tuple[str, list[_Part], Callable[[list[_Part]], Timelines]]]:
    """Give what can be taken out of a record, with its shares, and how."""
    there = set(one.events["code"])
    events: list[_Part] = [(v, c) for c, v in found.events.items() if c in there]
    yield "events", events, lambda taken: _kept(one, {str(code) for _, code in taken})
    notes = one.part(Modality.NOTES)
    for note in found.notes[-1:]:  # the last: most of what is said of notes is in one
        text = str(notes["text_value"][note.number])
        for what, spans in (("sentences", note.sentences), ("words", note.words)):
            parts: list[_Part] = [(s.log_odds, (s.start, s.end)) for s in spans]
            yield what, parts, lambda taken, text=text: _rewritten(one, text, taken)
    for image in found.images[-1:]:
        grid = image.grid
        cells: list[_Part] = [(float(v), at) for at, v in np.ndenumerate(grid)]
        yield (
            "cells of images",
            cells,
            lambda taken, image=image: _painted(one, image, taken, place),
        )


def _kept(one: Timelines, codes: set[str]) -> Timelines:
    events = one.events[~one.events["code"].isin(codes)].reset_index(drop=True)
    return replace(one, events=events)


def _rewritten(one: Timelines, text: str, taken: list[_Part]) -> Timelines:
    left = list(text)
    for _, (start, end) in taken:  # type: ignore[misc]
        left[start:end] = " " * (end - start)
    events = one.events.copy()
    events.loc[events["text_value"] == text, "text_value"] = "".join(left)
    return replace(one, events=events)


def _painted(one: Timelines, image: ExplainedImage, taken: list[_Part], place: Path) -> Timelines:
    """Paint cells over with the mean grey of the film."""
    with Image.open(image.path) as opened:
        film = opened.convert("L")
    grey, draw, cells = int(np.asarray(film).mean()), ImageDraw.Draw(film), len(image.grid)
    side = max(film.size)
    left, top = (side - film.width) // 2, (side - film.height) // 2
    for _, (row, column) in taken:  # type: ignore[misc]
        x, y = column * side / cells - left, row * side / cells - top
        draw.rectangle([x, y, x + side / cells, y + side / cells], fill=grey)
    path = place / "painted.png"
    film.save(path)
    events = one.events.copy()
    shown = events["image"].notna() & ((one.images / events["image"].fillna("")) == image.path)
    events.loc[shown, "image"] = str(path)  # absolute: it stands for itself
    return replace(one, events=events)


def _planted(model: AttentionCandidate, place: Path, seed: int) -> None:
    world = read_world()
    print("| drawn | of the raising heat, on it | of the square | ratio | weights shuffled |")
    print("|---|---|---|---|---|")
    for number, what in enumerate(("a large heart", "haze")):
        findings = np.zeros((_FILMS, 2))
        findings[:, number] = _LARGE
        films, masks = draw_films(world, findings, place / what, seed=seed + number)
        heat = _on_it(model, films, masks)
        with _shuffled(model, seed) as other:
            control = _on_it(other, films, masks)
        area = float(masks.mean())
        print(f"| {what} | {heat:.2f} | {area:.2f} | {heat / area:.1f} | {control / area:.1f} |")


def _on_it(model: Candidate, films: Timelines, masks: np.ndarray) -> float:
    shares = []
    for number, mask in enumerate(masks):
        inside = look_inside(model, films.take(np.array([number])), Modality.IMAGES)
        (cells,) = inside.images.values()
        side = round(len(cells) ** 0.5)
        image = ExplainedImage(number=0, path=Path(), grid=cells.reshape(side, side))
        raising = np.maximum(image.heat(*mask.shape[::-1]), 0)
        shares.append(raising[mask].sum() / max(raising.sum(), 1e-12))
    return float(np.mean(shares))


@contextmanager
def _shuffled(model: AttentionCandidate, seed: int) -> Iterator[Candidate]:
    """Shuffle what an attention model learnt of images, and put it back."""
    images = [(member.images, member.wide) for member in model.members]
    tensors = [t for i, w in images for t in (i.whole_whiten, i.whiten, w.image_weight)]
    generator, kept = torch.Generator().manual_seed(seed), [tensor.clone() for tensor in tensors]
    for tensor in tensors:
        order = torch.randperm(tensor.numel(), generator=generator)
        tensor.copy_(tensor.flatten()[order].view_as(tensor))
    try:
        yield model
    finally:
        for tensor, before in zip(tensors, kept, strict=True):
            tensor.copy_(before)


if __name__ == "__main__":
    main()
