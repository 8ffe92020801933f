"""The command `medweave export`: its options, and what it does and prints."""

import argparse
from pathlib import Path

from ingest.errors import InputError, UsageError
from serve.encoder_options import add_encoders, encoders_asked

__all__ = ["add_onnx", "run_onnx"]


def add_onnx(sub: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    sub.add_argument("run_directory", type=Path, metavar="run", help="run directory")
    sub.add_argument("--out", type=Path, required=True, help="directory to write")
    sub.add_argument(
        "--model", help="attention: export it where another model serves (nothing else is exported)"
    )
    sub.add_argument("--store", type=Path, help="record store to compare on (default: as trained)")
    sub.add_argument("--cohort", type=Path, help="cohort directory (default: as trained)")
    sub.add_argument("--split", default="held_out", help="rows to compare (default held_out)")
    add_encoders(sub, trained=True)


def run_onnx(a: argparse.Namespace) -> None:
    """Export, then compare what was written with the run, where its rows are there.

    Raises:
        UsageError: another model serves, the extra is not installed, or a split that there isn't.
        InputError: a store or cohort that was named is not there.
        RunError: the run is damaged.
    """
    from fusion.onnx_export import export_onnx
    from ingest.schema import SPLITS

    if a.split not in SPLITS:  # before the work, not after it
        raise UsageError(f"split must be one of {', '.join(SPLITS)}; got {a.split!r}")
    store, cohort = _sources(a)
    said = export_onnx(a.run_directory, a.out, model=a.model, **encoders_asked(a))
    size = sum((a.out / name).stat().st_size for name in said["sha256"]) / 1e6
    print(f"{a.out}: {', '.join(said['tasks'])} as ONNX, {size:.0f} MB")
    if store is None or cohort is None:
        print("not compared with the run, whose store is not there; name --store and --cohort")
        return
    from fusion.onnx_compare import compare_export, describe_comparison

    report = compare_export(
        a.out, a.run_directory, store=store, cohort=cohort, split=a.split, **encoders_asked(a)
    )
    print(describe_comparison(report))
    print(f"{a.out / 'export_report.json'} written")


def _sources(a: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Give the store and the cohort: those named, else those of the run where they still lie.

    Raises:
        InputError: one that was named is not there.
        RunError: what the run says of its sources is damaged.
    """
    from fusion.run import read_json

    file = a.run_directory / "sources.json"
    trained = read_json(file, "store", "cohort") if file.is_file() else {}
    found = []
    for name in ("store", "cohort"):
        given = getattr(a, name)
        if given is not None and not given.is_dir():
            raise InputError(f"--{name} {given} is not there")
        place = given or (Path(trained[name]) if name in trained else None)
        found.append(place if place is not None and place.is_dir() else None)
    return found[0], found[1]
