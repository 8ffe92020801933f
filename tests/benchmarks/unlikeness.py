"""How often what is wrong with a record is called unlike training: prints a table.

    .venv/bin/python -m tests.benchmarks.unlikeness [--run RUN [--store STORE] [--cohort COHORT] \\
        [--cache DIR]] [--rows N] [--clean N] [--training N] [--place DIR]

Held-out patients of a run are spoilt in one way at a time, and the share of them that is flagged at
0.01 stands beside the area under the curve of telling spoilt from sound by the row's p-value. Of
sound ones the share is the false alarms. Without a run, a hospital is simulated and its patients
are trained on: that takes some 20 minutes, nearly all of it reading films.
"""

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageFilter
from sklearn.metrics import roc_auc_score

from encoders.cache import tokens_in_memory
from fusion.rows import read_rows
from fusion.run import read_json
from fusion.served import ServedRun
from fusion.train import token_cache, train
from fusion.unlikeness import ALPHA
from ingest.labels import read_cohort
from ingest.schema import Modality
from ingest.timeline import Timelines
from tests.benchmarks.known_truth import Hospital
from tests.benchmarks.spoilt import (
    OfEvents,
    OfFilm,
    OfText,
    spoil_events,
    spoil_films,
    spoil_notes,
)

_SEED = 60
"""Of the hospital; no other table has it."""

_HELD_OUT = 1000
_CHINESE = (
    "患者反复活动后气促，两肺闻及湿啰音。双下肢轻度水肿。既往高血压十年。建议心脏超声。门诊随访。"
)
_GERMAN = (
    "Atemnot bei Belastung. Lunge beidseits frei. Keine Ödeme. Bekannte Hypertonie. Echo empfohlen."
)
_BUSINESS = "The board met on Monday. Revenue rose by four percent. A warehouse opens in spring."
_LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz     "))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("run", "store", "cohort", "cache", "place"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--rows", type=int, default=150, help="that are spoilt in each way")
    parser.add_argument("--clean", type=int, default=1000, help="that count the false alarms")
    parser.add_argument("--training", type=int, default=2000, help="patients of a simulation")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medweave-unlikeness-") as name:
        scratch = Path(name)
        if a.run is None:
            hospital = Hospital(a.place or scratch, "default", _SEED, a.training + _HELD_OUT)
            a.store, a.cache = hospital.store, hospital.tokens
            a.cohort, a.run = hospital.cohort(a.training, _HELD_OUT), hospital.place / "run"
            quick = ("prevalence", "events_logistic", "notes_embedding", "images_embedding")
            train(a.store, a.cohort, a.run, candidates=quick, cache=a.cache, progress=True)
        sources = read_json(a.run / "sources.json", "store", "cohort")
        store, cohort = (Path(getattr(a, what) or sources[what]) for what in ("store", "cohort"))
        served = ServedRun(a.run, cache=a.cache or token_cache(store))
        table = read_cohort(cohort)
        rows = np.random.default_rng(0).permutation(table.rows("held_out"))[: max(a.clean, a.rows)]
        sound = read_rows(store, table, rows, exclude_codes=served.exclude_codes).timelines
        print(f"| what was done | rows | flagged at {ALPHA} | AUROC |\n|---|---|---|---|")
        for line in _lines(served, sound, a.rows, scratch / "films"):
            print(line, flush=True)


def _lines(served: ServedRun, sound: Timelines, most: int, films: Path) -> Iterator[str]:
    told = served.unlikeness(sound)
    yield f"| nothing | {len(sound)} | {100 * told.unlike().mean():.1f} % | |"
    spoilers = {
        Modality.EVENTS: {k: partial(spoil_events, how=how) for k, how in _events().items()},
        Modality.NOTES: {k: partial(spoil_notes, how=how) for k, how in _texts().items()},
        Modality.IMAGES: {
            name: partial(spoil_films, how=how, place=films / f"{i}")
            for i, (name, how) in enumerate(_films().items())
        },
    }
    for modality, ways in spoilers.items():
        has = np.flatnonzero(sound.has(modality))[:most]
        before = told.p[has]
        for name, spoil in ways.items():
            spoilt = spoil(sound.take(has))
            with tokens_in_memory():  # what was spoilt has no place in a store's cache
                found = served.unlikeness(spoilt)
            label = np.repeat([0, 1], len(has))
            auroc = roc_auc_score(label, -np.concatenate([before, found.p]))
            share = f"{100 * found.unlike().mean():.0f} %"
            yield f"| {modality}: {name} | {len(has)} | {share} | {auroc:.3f} |"


def _events() -> dict[str, OfEvents]:
    return {
        "every code of an unknown system": partial(_renamed, share=1.0),
        "3 in 10 codes of an unknown system": partial(_renamed, share=0.3),
        "weight in pounds": partial(_times, code="LOINC//29463-7", factor=2.2046),
        "creatinine in umol/L": partial(_times, code="LOINC//2160-0", factor=88.42),
        "glucose in mmol/L": partial(_times, code="LOINC//2345-7", factor=1 / 18.02),
        "haemoglobin in g/L": partial(_times, code="LOINC//718-7", factor=10.0),
        "NT-proBNP in pmol/L": partial(_times, code="LOINC//33762-6", factor=1 / 8.457),
        "one value ten times too high": _mistyped,
        "each event twice": lambda events, rng: pd.concat([events] * 2),
        "4 in 5 events lost": lambda events, rng: events[rng.random(len(events)) < 0.2],
    }


def _renamed(events: pd.DataFrame, rng: np.random.Generator, *, share: float) -> pd.DataFrame:
    picked = rng.random(len(events)) < share
    return events.assign(code=events["code"].where(~picked, "LOCAL//" + events["code"]))


def _times(
    events: pd.DataFrame, rng: np.random.Generator, *, code: str, factor: float
) -> pd.DataFrame:
    value = events["numeric_value"]
    return events.assign(numeric_value=value.where(events["code"] != code, value * factor))


def _mistyped(events: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    valued = events[events["numeric_value"].notna()]
    first = valued.sample(frac=1, random_state=0).drop_duplicates("row").index
    events.loc[first, "numeric_value"] *= 10
    return events


def _texts() -> dict[str, OfText]:
    return {
        "gibberish": lambda text, rng: "".join(rng.choice(_LETTERS, len(text))),
        "words shuffled": lambda text, rng: " ".join(rng.permutation(text.split())),
        "in Chinese": lambda text, rng: "。".join(rng.permutation(_CHINESE.split("。"))),
        "in German": lambda text, rng: ". ".join(rng.permutation(_GERMAN.split(". "))),
        "of something else": lambda text, rng: ". ".join(rng.permutation(_BUSINESS.split(". "))),
        "cut off after 60 letters": lambda text, rng: text[:60],
        "in capitals (the encoder sees none)": lambda text, rng: text.upper(),
    }


def _films() -> dict[str, OfFilm]:
    turn, flip = Image.Transpose.ROTATE_90, Image.Transpose.FLIP_LEFT_RIGHT
    return {
        "noise": lambda film, rng: Image.fromarray(
            rng.integers(0, 256, (film.height, film.width)).astype(np.uint8)
        ),
        "inverted (MONOCHROME1)": lambda film, rng: film.point(lambda grey: 255 - grey),
        "upside down": lambda film, rng: film.transpose(Image.Transpose.ROTATE_180),
        "on its side": lambda film, rng: film.transpose(turn),
        "a quarter as bright": lambda film, rng: film.point(lambda grey: grey // 4),
        "blurred": lambda film, rng: film.filter(ImageFilter.GaussianBlur(film.width / 64)),
        "its upper left quarter": lambda film, rng: film.crop(
            (0, 0, film.width // 2, film.height // 2)
        ),
        "mirrored": lambda film, rng: film.transpose(flip),
    }


if __name__ == "__main__":
    main()
