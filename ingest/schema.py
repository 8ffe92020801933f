"""Contract 1, the store: the columns of an event, and the three modalities.

A store is a MEDS 0.4 dataset (https://github.com/Medical-Event-Data-Standard/meds):

    store/
      data/N.parquet                    events, sorted by subject and time; a subject in one shard
      metadata/dataset.json             MEDS; declares the six extension columns
      metadata/codes.parquet            MEDS; each code with its description and parents
      metadata/subject_splits.parquet   MEDS; train, tuning, calibration, held_out
      images/HASH.png                   decoded, 8-bit grey, named by SHA-256 of the source's bytes
      images/HASH.nii                   beside the middle slice's picture: a CT or MR volume, NIfTI
      ingest_report.json                the accounting: what became of each record of each file
      conventions.json                  how the site's codes and units were read
      checksums.json                    SHA-256 of each of these files

and beside it, readable by its owner alone, `store.raw/`: the manifest of sources, what was landed
as NDJSON, the key and the crosswalk of subject identifiers, and the quarantine.

Two clocks. `time` is when something was known and bounds what a model may see; `occurred` is when
it happened and decides outcomes. Both are UTC without zone. Rows without `time` are static: they
are known at any prediction time (only sex is so; `MEDS_BIRTH` stands at the birth date, which is
known ever after, so that MEDS tools compute ages as they expect).

A date without an hour, a month or a year is a period. Both clocks stand at its end, so that nothing
is seen too early; `time_from` and `occurred_from` say where it begins, and are null where that is
the same moment. Labels need them: who is last heard of in "2021" was not followed up to December,
and an outcome of "2021" may lie before or after a prediction time in June. Models never see them.
"""

from enum import StrEnum

import pyarrow as pa

__all__ = [
    "DATASET_COLUMNS",
    "EVENT_SCHEMA",
    "PROJECTED_COLUMNS",
    "SPLITS",
    "Modality",
    "modality_of",
]

EVENT_SCHEMA = pa.schema(
    [
        pa.field("subject_id", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("us")),
        pa.field("code", pa.string(), nullable=False),
        pa.field("numeric_value", pa.float32()),
        pa.field("text_value", pa.large_string()),
        pa.field("occurred", pa.timestamp("us")),
        pa.field("time_from", pa.timestamp("us")),
        pa.field("occurred_from", pa.timestamp("us")),
        pa.field("unit", pa.string()),
        pa.field("image", pa.string()),
        pa.field("source", pa.string()),
    ]
)
"""An event. `time_from` and `occurred_from` are the earliest moments that the stated dates allow,
null where they are `time` and `occurred` themselves; `unit` is UCUM, one a code where that can be
(units.py); `image` a path relative to the store; `source` is `FILE:POSITION`, where FILE is a
file's id in the raw zone's manifest (never a name: file names can carry patients' names) and
POSITION its record, from 1."""

DATASET_COLUMNS = {
    "raw_source_id_columns": ["source"],
    "code_modifier_columns": ["unit"],
    "additional_value_modality_columns": ["image"],
    "other_extension_columns": ["occurred", "time_from", "occurred_from"],
}
"""How `metadata/dataset.json` declares the extension columns."""

PROJECTED_COLUMNS = {
    "subject_key": "VARCHAR",  # `Patient/ID` after references were resolved; a CSV's subject value
    "time": "TIMESTAMP",
    "occurred": "TIMESTAMP",
    "time_from": "TIMESTAMP",  # the earliest that the stated date allows; null: `time` itself
    "occurred_from": "TIMESTAMP",
    "code": "VARCHAR",
    "numeric_value": "DOUBLE",
    "text_value": "VARCHAR",
    "unit": "VARCHAR",
    "image": "VARCHAR",
    "display": "VARCHAR",  # the code's human name, for codes.parquet
    "parents": "VARCHAR[]",  # other codings of the same concept
    "file": "VARCHAR",  # file id in the raw zone's manifest
    "position": "BIGINT",  # record in that file, from 1
}
"""What every projection (SQL, images, CSV mapping) hands over, as DuckDB columns; the writer turns
it into EVENT_SCHEMA. Times are UTC."""

SPLITS = ("train", "tuning", "calibration", "held_out")
"""train fits; tuning stops early and chooses the model; calibration fits the calibrator; held_out
judges."""


class Modality(StrEnum):
    """What a part of a timeline is made of; in the order of names such as `events+notes`."""

    EVENTS = "events"
    NOTES = "notes"
    IMAGES = "images"


def modality_of(code: str) -> Modality:
    """Say which modality a code belongs to: `NOTE//` and `IMAGE//` by prefix, events otherwise.

    >>> [str(modality_of(c)) for c in ("NOTE//LOINC//18842-5", "IMAGE//DX//PA", "LOINC//8480-6")]
    ['notes', 'images', 'events']
    """
    if code.startswith("NOTE//"):
        return Modality.NOTES
    if code.startswith("IMAGE//"):
        return Modality.IMAGES
    return Modality.EVENTS
