"""Timelines as a model would read them if something were wrong with events, notes or films.

What is done reaches one modality alone, and neither who the patients are nor when one predicts.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ingest.schema import Modality
from ingest.timeline import Timelines

__all__ = ["OfEvents", "OfFilm", "OfText", "spoil_events", "spoil_films", "spoil_notes"]

OfEvents = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
OfText = Callable[[str, np.random.Generator], str]
OfFilm = Callable[[Image.Image, np.random.Generator], Image.Image]


def spoil_events(timelines: Timelines, *, how: OfEvents, seed: int = 0) -> Timelines:
    """Do something to the events, which are codes and measurements, of all rows at once."""
    events = timelines.events
    mine = events["modality"] == str(Modality.EVENTS)
    parts = [how(events[mine].copy(), np.random.default_rng(seed)), events[~mine]]
    together = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    return Timelines(index=timelines.index, events=together, images=timelines.images)


def spoil_notes(timelines: Timelines, *, how: OfText, seed: int = 0) -> Timelines:
    """Do something to each note."""
    events, rng = timelines.events.copy(), np.random.default_rng(seed)
    written = events["text_value"].notna() & (events["modality"] == str(Modality.NOTES))
    events.loc[written, "text_value"] = [
        how(str(text), rng) for text in events.loc[written, "text_value"]
    ]
    return Timelines(index=timelines.index, events=events, images=timelines.images)


def spoil_films(timelines: Timelines, *, how: OfFilm, place: Path, seed: int = 0) -> Timelines:
    """Do something to each film, and write it to a new directory, where the rows now look."""
    events, rng = timelines.events.copy(), np.random.default_rng(seed)
    place.mkdir(parents=True)
    shown = events["image"].notna()
    names = []
    for number, name in enumerate(events.loc[shown, "image"]):
        with Image.open(timelines.images / str(name)) as film:
            names.append(f"{number}.png")
            how(film.convert("L"), rng).save(place / names[-1])
    events.loc[shown, "image"] = names
    return Timelines(index=timelines.index, events=events, images=place)
