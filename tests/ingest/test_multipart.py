"""Parts of a multipart body come out as they went in, however it is cut into chunks."""

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.multipart import PartReader, media_type
from ingest.patience import Passing

BOUNDARY = b"ab-a"
# Bytes of which boundaries are made, so that contents come close to being one.
TRICKY = st.lists(st.sampled_from([b"\r\n", b"--", b"ab-a", b"ab", b"-", b"a", b"\0", b" "]))


def body_of(parts: list[bytes], *, head: bytes = b"Content-Type: application/dicom\r\n") -> bytes:
    lines = [b"--" + BOUNDARY + b"\r\n" + head + b"\r\n" + part + b"\r\n" for part in parts]
    return b"".join(lines) + b"--" + BOUNDARY + b"--"


def read(chunks: Iterator[bytes], boundary: bytes = BOUNDARY) -> list[bytes]:
    reader, found = PartReader(chunks, boundary), []
    while reader.go_to_next():
        found.append(b"".join(reader.content()))
    reader.drain()
    return found


def cut(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def is_delimited(part: bytes) -> bool:
    """Say whether a part holds a delimiter of its own, which no sender may let happen."""
    lines = (b"\r\n" + part + b"\r\n").split(b"\r\n--" + BOUNDARY)[1:]
    return any(line.startswith(b"--") or line.lstrip(b" ").startswith(b"\r\n") for line in lines)


@given(
    parts=st.lists(TRICKY.map(b"".join).filter(lambda part: not is_delimited(part)), max_size=4),
    size=st.integers(1, 40),
    head=st.sampled_from([b"", b"Content-Type: application/dicom\r\n"]),
    around=st.sampled_from([b"", b"said before\r\n"]),
)
def test_parts_come_back_whatever_they_hold_and_however_they_are_cut(
    parts: list[bytes], size: int, head: bytes, around: bytes
) -> None:
    body = around + body_of(parts, head=head) + b"\r\n" + around
    if parts:
        assert read(cut(body, size)) == parts


@given(kept=st.integers(0, len(body_of([b"one", b"two"])) - 1), size=st.integers(1, 40))
def test_a_body_that_is_cut_anywhere_is_never_taken_for_whole(kept: int, size: int) -> None:
    with pytest.raises(Passing, match="broke off in the middle"):
        read(cut(body_of([b"one", b"two"])[:kept], size))


def test_white_space_after_a_delimiter_is_no_content() -> None:
    body = body_of([b"one"]).replace(BOUNDARY + b"\r\n", BOUNDARY + b" \t \r\n")
    assert read(cut(body, 3)) == [b"one"]


@pytest.mark.parametrize(
    ("body", "boundary", "match"),
    [
        (body_of([b"x" * 100_000]), b"other", "without the boundary that it names"),
        (body_of([b"one"]), b"", "without a boundary"),
        (b"--ab-a\r\n" + b"X: y\r\n" * 9999, BOUNDARY, "headers have no end"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_early(
    body: bytes, boundary: bytes, match: str
) -> None:
    with pytest.raises(Passing, match=match):
        read(cut(body, 4096), boundary)


def test_a_part_of_any_size_takes_no_more_memory_than_its_chunks() -> None:
    chunk = b"\r\n--ab" * 10_000
    size = 0

    def chunks() -> Iterator[bytes]:
        yield body_of([b""]).removesuffix(b"\r\n--ab-a--")
        for _ in range(3000):
            yield chunk
        yield b"\r\n--ab-a--"

    tracemalloc.start()
    reader = PartReader(chunks(), BOUNDARY)
    assert reader.go_to_next()
    for part in reader.content():
        size += len(part)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 3000 * len(chunk)
    assert most < 1 << 20


def test_a_type_is_read_with_its_boundary_quoted_or_not() -> None:
    assert media_type("multipart/related; boundary=x") == ("multipart/related", b"x")
    assert media_type('MULTIPART/Related;boundary="a;b"') == ("multipart/related", b"a;b")
    assert media_type("") == ("text/plain", b"")
