"""The options of `medweave store dicom`, and what it prints."""

import argparse
from pathlib import Path

from ingest.errors import UsageError

__all__ = ["add_export", "export_films"]


def add_export(sub: argparse.ArgumentParser) -> None:
    """Add the options to `medweave store`, which has `--raw` already."""
    group = sub.add_argument_group("dicom: write de-identified copies of the films")
    group.add_argument("--out", type=Path, help="directory to write")
    group.add_argument("--key", type=Path, help="file with the key of the pseudonyms, if your own")
    group.add_argument(
        "--with-burned-in",
        action="store_true",
        help="films, too, that have or may have a name written in the picture",
    )


def export_films(a: argparse.Namespace) -> str:
    """Write the copies, and say how many there are and why some are not.

    Raises:
        UsageError: no directory is named.
    """
    from ingest.damage import naming_damage
    from ingest.dicom_export import export_dicom

    if a.out is None:
        raise UsageError("store dicom needs --out DIRECTORY")
    with naming_damage(store=a.store):
        counts = export_dicom(a.store, a.out, raw=a.raw, key=a.key, with_burned_in=a.with_burned_in)
    written = counts.pop("written")
    left = "".join(f"; {n:,} not: {why}" for why, n in sorted(counts.items()) if n)
    return f"{a.out}: {written:,} films{left}"
