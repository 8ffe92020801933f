"""The images of a timeline, as a page shows them."""

import io
from collections.abc import Iterator

import pandas as pd
from PIL import Image

from ingest.schema import Modality
from ingest.store import RecordStore
from ingest.timeline import Timelines
from serve.prediction import Picture

__all__ = ["PICTURE_PX", "read_pictures"]

PICTURES = 24
"""Images that a prediction carries along, the latest ones."""

PICTURE_PX = 640
"""Longest side of a carried image: what a page shows, not what the model saw."""


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
                buffer = io.BytesIO()
                image.save(buffer, "PNG")
                png = buffer.getvalue()
        yield Picture(code=str(event.code), time=pd.Timestamp(event.time), png=png)
