"""The images of a timeline, as a page shows them, and where in them a risk came from."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from fusion.explain import ExplainedImage
from ingest.schema import Modality
from ingest.store import RecordStore
from ingest.timeline import Timelines
from serve.prediction import Picture

__all__ = ["PICTURE_PX", "heat_pictures", "read_pictures"]

PICTURES = 24
"""Images that a prediction carries along, the latest ones."""

PICTURE_PX = 640
"""Longest side of a carried image: what a page shows, not what the model saw."""


_HEAT_PX = 480
_RAISES, _LOWERS = (214, 96, 12), (29, 95, 168)
"""As in `serve.page_theme`, brighter: they lie on films."""


def read_pictures(timelines: Timelines, records: RecordStore) -> tuple[Picture, ...]:
    """Read the latest images of one row, oldest first."""
    return tuple(_read(timelines.part(Modality.IMAGES).tail(PICTURES), records))


def _read(images: pd.DataFrame, records: RecordStore) -> Iterator[Picture]:
    for event in images.itertuples():
        path = records.image_path(event.image) if isinstance(event.image, str) else None
        png = None
        if path is not None and path.is_file():
            with Image.open(path) as image:
                image.thumbnail((PICTURE_PX, PICTURE_PX))
                png = _png(image)
        yield Picture(code=str(event.code), time=pd.Timestamp(event.time), png=png)


def heat_pictures(images: Sequence[ExplainedImage]) -> dict[int, tuple[bytes, bytes]]:
    """Give each image, and the image with its heat, as PNG by its number.

    The strongest cell of all of them has the full colour.
    """
    largest = max([1e-12, *(float(np.abs(image.grid).max()) for image in images)])
    found = {}
    for image in images:
        with Image.open(image.path) as opened:
            opened.thumbnail((_HEAT_PX, _HEAT_PX))
            film = opened.convert("L").convert("RGB")
        heat = image.heat(film.width, film.height) / largest
        strength = np.clip(np.abs(heat), 0, 1)[..., None] ** 0.7 * 0.65
        colour = np.where(heat[..., None] > 0, np.array(_RAISES), np.array(_LOWERS))
        mixed = np.asarray(film, np.float32) * (1 - strength) + colour * strength
        found[image.number] = (_png(film), _png(Image.fromarray(mixed.astype(np.uint8))))
    return found


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
