"""Films whose findings are known, and where they were drawn: rows that any model can be asked."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ingest.phantom import draw_phantom
from ingest.schema import Modality
from ingest.timeline import TIMELINE_COLUMNS, Timelines
from ingest.world import World

_CHANGED = 0.25  # of the largest change of a pixel: where a finding shows


def draw_films(
    world: World, findings: np.ndarray, place: Path, *, seed: int
) -> tuple[Timelines, np.ndarray]:
    """Draw a film a row; give the rows, and where each would differ without its findings.

    Args:
        world: how films are drawn.
        findings: [n 2] heart size and opacity, in sd.
        place: directory for the films.
        seed: of everything that means nothing.

    Returns:
        Rows with an image alone, and masks [n h w].
    """
    place.mkdir(parents=True, exist_ok=True)
    rows, masks = [], []
    for number, (heart, opacity) in enumerate(findings.tolist()):
        with_it, without = (
            draw_phantom(world, *found, "PA", np.random.default_rng([seed, number])).astype(int)
            for found in ((heart, opacity), (0.0, 0.0))
        )
        Image.fromarray((with_it >> 4).astype(np.uint8)).save(place / f"{number}.png")
        change = np.abs(with_it - without)
        masks.append(change > _CHANGED * max(int(change.max()), 1))
        rows.append({"row": number, "days_before": 1.0, "image": f"{number}.png"})
    moment = pd.Timestamp("2024-03-01")
    events = pd.DataFrame(rows).reindex(columns=list(TIMELINE_COLUMNS))
    events["time"] = moment - pd.Timedelta(days=1)
    events["code"], events["modality"] = "IMAGE//DX//PA", str(Modality.IMAGES)
    index = pd.DataFrame({"subject_id": np.arange(1, len(rows) + 1), "prediction_time": moment})
    return Timelines(index=index, events=events, images=place), np.stack(masks)
