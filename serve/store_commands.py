"""The commands `ingest` and `store`: their options, and what they do."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ingest.errors import StoreError, UsageError
from serve.exporting import add_export, export_films
from serve.numbers import count
from serve.reading import add_reading, conventions_of
from serve.servers import add_servers, moment, remote_of

__all__ = ["add_ingest", "add_store", "run_ingest", "run_store"]


def add_ingest(sub: argparse.ArgumentParser) -> None:
    """Add the options of `ingest`."""
    sub.add_argument(
        "sources",
        nargs="+",
        help="files or directories (but for hidden files) of FHIR, DICOM or images; or the URL of a"
        " FHIR server",
    )
    sub.add_argument("--store", type=Path, required=True, help="record store to write or add to")
    sub.add_argument("--raw", type=Path, help="raw zone (default STORE.raw, owner-only)")
    add_reading(sub)
    sub.add_argument("--key", type=Path, help="file with the key of the pseudonyms")
    sub.add_argument(
        "--public",
        action="store_true",
        help="use the published key: subject ids repeat; for public or simulated data only",
    )
    sub.add_argument(
        "--deidentify",
        action="store_true",
        default=None,
        help="leave out what could tell who a patient is; shift dates; holds for the whole store",
    )
    sub.add_argument(
        "--keep-dates", action="store_true", help="with --deidentify: leave dates as they are"
    )
    sub.add_argument(
        "--workers",
        type=count,
        help="project on Ray, so many at once (needs the extra `scale`; RAY_ADDRESS is a cluster)",
    )
    add_servers(sub)


def add_store(sub: argparse.ArgumentParser) -> None:
    """Add the options of `store`."""
    sub.add_argument("what", choices=("verify", "info", "dicom"), help="what to do with it")
    sub.add_argument("store", type=Path, help="record store")
    add_export(sub)
    sub.add_argument("--page", type=Path, help="info: write a page of HTML with plots, too")
    sub.add_argument(
        "--json", action="store_true", help="info: the same facts as JSON; also with --since"
    )
    sub.add_argument(
        "--since", type=moment, help="info: say instead what changed since 2026-11-01[T08:00:00Z]"
    )
    sub.add_argument("--raw", type=Path, help="info --since, dicom: raw zone (default STORE.raw)")


def run_ingest(a: argparse.Namespace) -> None:
    """Land the sources and build the store."""
    from ingest.build import ingest
    from ingest.remote import is_url
    from ingest.report import describe_report

    if a.key and a.public:
        raise UsageError("--key and --public exclude each other: one key makes the pseudonyms")
    report = ingest(
        [source if is_url(source) else Path(source) for source in a.sources],
        a.store,
        raw=a.raw,
        mapping=a.mapping,
        timezone=a.timezone,
        key=a.key,
        public=a.public,
        remote=remote_of(a),
        conventions=conventions_of(a),
        deidentify=a.deidentify,
        keep_dates=a.keep_dates,
        workers=a.workers,
        progress=not a.quiet,
    )
    print(describe_report(report))
    if report["answered_until"] and any(is_url(source) for source in a.sources):
        print(f"answered until {report['answered_until']}; next time: --since last")


def run_store(a: argparse.Namespace) -> None:
    """Do with the store what was asked.

    With `--json`, the facts are one JSON object: `StoreFacts`, and with `--since` `Changes`, field
    by field. A later version may add keys; those that are there keep their names and meanings.

    Raises:
        UsageError: `--json` for what has none.
        StoreError: the store is damaged, or none.
    """
    if a.json and a.what != "info":
        raise UsageError(f"--json goes with `store info`; got `store {a.what}`")
    if a.what == "verify":
        from ingest.verify import verify_store

        faults = verify_store(a.store)
        if faults:
            raise StoreError(f"{a.store}: {'; '.join(faults)}")
        print(f"{a.store}: whole, valid MEDS, and every record accounted for")
        return
    if a.what == "dicom":
        print(export_films(a))
        return
    if a.since:
        from ingest.build import raw_zone_of
        from ingest.changes import changes_since, describe_changes

        raw = a.raw or raw_zone_of(a.store.resolve())
        changes = changes_since(a.store, raw, a.since)
        print(_json_of(changes) if a.json else describe_changes(changes))
        return
    from ingest.damage import naming_damage
    from ingest.info import describe_store, write_store_page
    from ingest.store import RecordStore
    from ingest.store_facts import read_facts

    with naming_damage(store=a.store):
        facts = read_facts(RecordStore(a.store))
        print(_json_of(facts) if a.json else describe_store(facts))
        if a.page:
            write_store_page(facts, a.page)


def _json_of(facts: Any) -> str:
    return json.dumps(asdict(facts), ensure_ascii=False, indent=1)
