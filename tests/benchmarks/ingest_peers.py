"""How fast other packages turn Observations into a table, beside our whole ingest; prints a table.

    .venv/bin/python -m tests.benchmarks.ingest_peers FILE.ndjson [--megabytes 100] [--venv DIR]

FILE holds Observations whose ids are UUIDs (of MIMIC-IV demo on FHIR, say); it is repeated with
new ids until there are `--megabytes`. The peers are installed from PyPI into an environment of
their own (`--venv`, made where it is missing), since their pins clash with ours. Each does no more
than five columns (subject, time, code, value, unit), sorted by subject and time, into one Parquet
file; it loses in silence what does not fit. Ours does all that `medweave ingest` does: account for
each line, resolve references, both clocks, MEDS. Slow peers are given a part of the file, and the
table says which; `orjson.loads` of each line is there to compare with. Every process is kept on one
core; PySpark needs Java, and its row says so where there is none.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ingest.opening import open_bytes
from tests.benchmarks.ingest import MB, ROOT, UUID, _child

PACKAGES = ("polars", "pyarrow", "fhirpathpy", "fhir-pyrate", "pyspark", "pandas")

_SHAPE = """
COLUMNS = ("subject", "time", "code", "value", "unit")
PATHS = {
    "subject": "subject.reference", "time": "effectiveDateTime", "code": "code.coding[0].code",
    "value": "valueQuantity.value", "unit": "valueQuantity.code",
}
"""

PEERS = {
    "polars read_ndjson → Parquet": (
        1.0,
        """
import polars as pl
coding = pl.List(pl.Struct({"system": pl.String, "code": pl.String}))
schema = {
    "subject": pl.Struct({"reference": pl.String}), "effectiveDateTime": pl.String,
    "code": pl.Struct({"coding": coding}),
    "valueQuantity": pl.Struct({"value": pl.Float64, "code": pl.String}),
}
frame = pl.read_ndjson(source, schema=schema)
frame.select(
    subject=pl.col("subject").struct.field("reference"),
    time=pl.col("effectiveDateTime").str.to_datetime(time_zone="UTC", strict=False),
    code=pl.col("code").struct.field("coding").list.first().struct.field("code"),
    value=pl.col("valueQuantity").struct.field("value"),
    unit=pl.col("valueQuantity").struct.field("code"),
).sort("subject", "time").write_parquet(target)
""",
    ),
    "pyarrow read_json → Parquet": (
        1.0,
        """
import pyarrow as pa, pyarrow.compute as pc, pyarrow.json, pyarrow.parquet
text = pa.string()
coding = pa.list_(pa.struct([("system", text), ("code", text)]))
schema = pa.schema([
    ("subject", pa.struct([("reference", text)])), ("effectiveDateTime", text),
    ("code", pa.struct([("coding", coding)])),
    ("valueQuantity", pa.struct([("value", pa.float64()), ("code", text)])),
])
read = pa.json.read_json(source, parse_options=pa.json.ParseOptions(
    explicit_schema=schema, unexpected_field_behavior="ignore"))
codings = pc.struct_field(read["code"], "coding").combine_chunks()
table = pa.table({
    "subject": pc.struct_field(read["subject"], "reference"), "time": read["effectiveDateTime"],
    "code": pc.struct_field(pc.list_element(codings, 0), "code"),
    "value": pc.struct_field(read["valueQuantity"], "value"),
    "unit": pc.struct_field(read["valueQuantity"], "code"),
})
pa.parquet.write_table(table.sort_by([("subject", "ascending"), ("time", "ascending")]), target)
""",
    ),
    "PySpark read.json → Parquet": (
        1.0,
        """
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
         .config("spark.driver.memory", "4g").getOrCreate())
spark.sparkContext.setLogLevel("OFF")
begun = time.perf_counter()  # not its start, which takes seconds
schema = ("subject struct<reference:string>, effectiveDateTime timestamp,"
          " code struct<coding:array<struct<system:string,code:string>>>,"
          " valueQuantity struct<value:double,code:string>")
(spark.read.schema(schema).json(source)
 .selectExpr("subject.reference as subject", "effectiveDateTime as time",
             "code.coding[0].code as code", "valueQuantity.value as value",
             "valueQuantity.code as unit")
 .sort("subject", "time").write.parquet(target))
""",
    ),
    "fhirpathpy, five compiled paths": (
        0.02,
        """
import json, pandas as pd
from fhirpathpy import compile
paths = {name: compile(path) for name, path in PATHS.items()}
rows = []
with open(source) as lines:
    for line in lines:
        resource = json.loads(line)
        rows.append({name: (path(resource) or [None])[0] for name, path in paths.items()})
pd.DataFrame(rows).sort_values(["subject", "time"]).to_parquet(target)
""",
    ),
    "fhir-pyrate, Bundles to a DataFrame": (
        0.02,
        """
import json, logging
logging.disable(logging.CRITICAL)
from fhir_pyrate import Pirate
with open(source) as lines:
    resources = [json.loads(line) for line in lines]
from fhir_pyrate.util.fhirobj import FHIRObj
bundles = [
    FHIRObj(**{"resourceType": "Bundle", "type": "searchset",
               "entry": [{"resource": r} for r in resources[i:i + 100]]})
    for i in range(0, len(resources), 100)
]
pirate = Pirate(base_url="http://localhost/", auth=None, num_processes=1, print_request_url=False,
                silence_fhirpath_warning=True)
frame = pirate.bundles_to_dataframe(
    bundles, fhir_paths=[(name, path) for name, path in PATHS.items()])
frame.sort_values(["subject", "time"]).to_parquet(target)
""",
    ),
}


def main() -> None:
    """Measure each peer and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "medweave-peers")
    a = parser.parse_args()
    python = _environment(a.venv)
    print("| on one core | measured | our whole ingest is faster by |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="medweave-peers-") as name:
        place = Path(name)
        whole = _repeated(a.file, place / "source" / "Observation.ndjson", a.megabytes * MB)
        ours = _ours(place, whole)
        print(f"| `medweave ingest` | {ours / MB:.1f} MB/s | |", flush=True)
        parsed = whole.stat().st_size / _child("parse", whole.parent, cores=1)[0]
        print(f"| orjson.loads, no table | {parsed / MB:.1f} MB/s | {ours / parsed:.2g} x |")
        for peer, (share, code) in PEERS.items():
            part = whole
            if share < 1:
                part = _first_lines(whole, place / f"{share:g}.ndjson", share)
            rate, why = _peer(python, part, place / "peer", code)
            measured = why if rate is None else f"{rate / MB:.2f} MB/s"
            if rate is not None and share < 1:
                measured += f" ({share:.0%} of the file)"
            ratio = "" if rate is None else f"{ours / rate:.2g} x"
            print(f"| {peer} | {measured} | {ratio} |", flush=True)


def _environment(place: Path) -> Path:
    python = place / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([*uv, *PACKAGES], check=True)
    return python


def _repeated(source: Path, target: Path, size: float) -> Path:
    """Write the file again and again, each time with other ids, until it is large enough."""
    target.parent.mkdir()
    with open_bytes(source) as handle:
        text = handle.read()
    with target.open("wb") as out:
        number = 0
        while out.tell() < size:
            mark = b"%04x" % number
            out.write(UUID.sub(lambda found, m=mark: found[0][:-4] + m, text))
            number += 1
    return target


def _first_lines(source: Path, target: Path, share: float) -> Path:
    if not target.is_file():
        most, written = source.stat().st_size * share, 0
        with source.open("rb") as lines, target.open("wb") as out:
            for line in lines:
                written += out.write(line)
                if written >= most:
                    break
    return target


def _ours(place: Path, source: Path) -> float:
    asked = place / "asked.json"
    asked.write_text(f'{{"sources": ["{source}"], "store": "{place / "store"}"}}', "utf-8")
    seconds, _ = _child("ingest", asked, cores=1)
    return source.stat().st_size / seconds


def _peer(python: Path, source: Path, target: Path, code: str) -> tuple[float | None, str]:
    core = min(os.sched_getaffinity(0))
    program = (
        f"import os, time\nos.sched_setaffinity(0, {{{core}}})\n"
        "os.environ['POLARS_MAX_THREADS'] = '1'\n"
        f"source, target = {str(source)!r}, {f'{target}-{time.time_ns()}'!r}\n{_SHAPE}\n"
        f"begun = time.perf_counter()\n{code}\nprint('seconds', time.perf_counter() - begun)"
    )
    done = subprocess.run(
        [str(python), "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds ")]
    if done.returncode or not told:
        return None, "failed: " + (done.stderr.strip().splitlines() or ["no reason"])[-1][:80]
    return source.stat().st_size / float(told[0]), ""


if __name__ == "__main__":
    main()
