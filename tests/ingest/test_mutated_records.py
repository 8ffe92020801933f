"""Real resources, damaged at random: ingest never fails, and its account always adds up."""

import json
import random
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.build import ingest
from ingest.verify import verify_store
from tests.ingest.exports import PATIENT

ODD: list[Any] = [
    None,
    0,
    -1,
    1e308,
    True,
    "",
    " ",
    "x" * 500,
    "\u0000",
    "9999-99-99",
    [],
    {},
    [[]],
]
"""What a value is replaced by."""


@lru_cache(maxsize=1)
def read_examples(examples: Path) -> list[dict[str, Any]]:
    """Read HL7's examples, of every type that is projected, and what they are wrapped in."""
    files = sorted(examples.glob("*.json"))
    if not files:
        pytest.skip("../shared/data/hl7_r4_examples is not there")
    found = [json.loads(file.read_text("utf-8")) for file in files]
    return [resource for resource in found if len(json.dumps(resource)) < 20_000]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of all values in a JSON document."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [path, *(p for key, part in inner for p in places(part, (*path, key)))]


def with_odd_value(resource: dict[str, Any], rng: random.Random) -> str:
    """Replace one value by one of another kind."""
    whole = json.loads(json.dumps(resource))
    path = rng.choice([p for p in places(whole) if p])
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = rng.choice(ODD)
    return json.dumps(whole)


def with_torn_bytes(resource: dict[str, Any], rng: random.Random) -> bytes:
    """Cut, double or overwrite a stretch of the line."""
    line = json.dumps(resource).encode()
    start = rng.randrange(len(line))
    end = min(len(line), start + rng.choice([1, 2, 10, 200]))
    way = rng.randrange(4)
    if way == 0:
        torn = line[:start] + line[end:]
    elif way == 1:
        torn = line[:end] + line[start:]
    elif way == 2:
        torn = line[:start] + rng.randbytes(end - start) + line[end:]
    else:
        torn = line[:start]
    return torn.replace(b"\n", b" ").replace(b"\r", b" ")


def ingest_damaged(shared_data: Path, seed: int) -> None:
    resources = read_examples(shared_data / "hl7_r4_examples")
    rng = random.Random(seed)
    lines: list[bytes] = [json.dumps(PATIENT).encode()]
    for resource in rng.sample(resources, min(40, len(resources))):
        lines += [
            with_odd_value(resource, rng).encode(),
            with_torn_bytes(resource, rng),
            json.dumps(resource).encode(),
        ]
    rng.shuffle(lines)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in").mkdir()
        cut = rng.randrange(len(lines))  # in two files, so that one may beat the other
        for number, part in enumerate((lines[:cut], lines[cut:])):
            (place / "in" / f"{number}.ndjson").write_bytes(b"".join(x + b"\n" for x in part))
        report = ingest([place / "in"], place / "store", public=True)
        for file in report["files"].values():
            sums = sum(sum(file[kind].values()) for kind in ("skipped", "quarantined"))
            sums += file["projected"] + file["superseded"] + file["deleted"]
            assert sums == file["records"], seed
        told = sum(file["records"] for file in report["files"].values())
        assert told >= sum(1 for line in lines if line.strip()), seed  # a Bundle is several
        assert verify_store(place / "store") == [], seed
        assert ingest([place / "in"], place / "store", public=True, rebuild=True) == report


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
@example(seed=2**32)  # an internal error of DuckDB 2.0.0
def test_damaged_records_are_accounted_for(shared_data: Path, seed: int) -> None:
    ingest_damaged(shared_data, seed)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_many_damaged_records_are_accounted_for(shared_data: Path, seed: int) -> None:
    ingest_damaged(shared_data, seed)
