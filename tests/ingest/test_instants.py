"""Instants that numpy reads and those that SQL reads are the same ones."""

from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.instants import read_instants
from ingest.projection import create_tables

DATES = st.datetimes(datetime(1690, 1, 1), datetime(2410, 1, 1))  # noqa: DTZ001
ZONES = st.sampled_from(["", "Z", "+00:00", "-05:00", "+05:30", "+14:00", "-14:59", "+1530", "+02"])
FRACTIONS = st.sampled_from(["", ".000", ".123", ".5", ".123456"])
WRITTEN = st.builds(
    lambda at, fraction, zone, cut: (at.strftime("%Y-%m-%dT%H:%M:%S") + fraction + zone)[:cut],
    DATES,
    FRACTIONS,
    ZONES,
    st.sampled_from([None, None, None, 10, 7, 4, 16, -1]),
)
DAMAGED = st.builds(
    lambda text, place, letter: text[: place % len(text)] + letter + text[place % len(text) + 1 :],
    WRITTEN,
    st.integers(0, 40),
    st.sampled_from("0123456789T:-+Z. é/"),
)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    create_tables(con)
    return con


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.one_of(st.none(), WRITTEN, DAMAGED), min_size=1, max_size=30))
def test_what_is_read_here_is_what_sql_reads(
    con: duckdb.DuckDBPyConnection, texts: list[str | None]
) -> None:
    read = read_instants(pa.chunked_array([pa.array(texts, pa.string())])).to_pylist()
    told = con.execute(  # no zone of a site moves what has its own
        "SELECT [fhir_start(t, z), fhir_end(t, z)] FROM"
        " (SELECT unnest($texts) AS t, generate_subscripts($texts, 1) AS n)"
        " CROSS JOIN (VALUES ('UTC'), ('America/New_York')) AS zone(z) ORDER BY n, z",
        {"texts": texts},
    ).fetchall()
    for n, (text, instant) in enumerate(zip(texts, read, strict=True)):
        if instant is not None:
            assert told[2 * n : 2 * n + 2] == [([instant, instant],)] * 2, text


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T23:59:59Z",
        "2024-02-29T23:59:59.250Z",
        "1700-01-01T00:00:00+14:00",
        "2399-12-31T23:59:59.999-05:00",
    ],
)
def test_the_usual_forms_are_read(text: str) -> None:
    [instant] = read_instants(pa.chunked_array([[text]])).to_pylist()
    assert instant.replace(tzinfo=UTC) == datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T10:00:60Z",
            "2024-13-01T00:00:00Z",
        ),
        *(
            "1699-12-31T00:00:00Z",
            "2400-01-01T00:00:00Z",
            "2024-01-01 10:00:00Z",
            "2024-01-01T10:00:00",
        ),
        *("2024-01-01", "", "2024-01-01T10:00:00+99:00", "２０２４-01-01T10:00:00Z"),
    ],
)
def test_what_is_not_plainly_an_instant_is_left_to_sql(text: str) -> None:
    assert read_instants(pa.chunked_array([[text, None]])).to_pylist() == [None, None]


def test_a_slice_and_many_chunks_are_read_like_the_whole() -> None:
    texts = [f"2024-01-{day:02d}T08:00:00Z" for day in range(1, 29)] + [None]
    whole = pa.array(texts)
    parts = pa.chunked_array([whole.slice(0, 5), whole.slice(5, 0), whole.slice(5)])
    assert read_instants(parts).to_pylist() == read_instants(pa.chunked_array([whole])).to_pylist()
    assert read_instants(pa.chunked_array([], pa.string())).to_pylist() == []
