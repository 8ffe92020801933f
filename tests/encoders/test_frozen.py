"""Frozen encoders and their cache."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.cache import TokenCache, tokens_in_memory
from encoders.frozen import FrozenEncoders
from encoders.text import TextConfig, TextEncoder
from ingest.errors import InputError, RunError

NOTES = [
    "No chest pain. Leg oedema since Monday.",
    "",
    "Seen for a check of blood pressure. " * 30,
    "No chest pain.",
]


@pytest.fixture(scope="module")
def encoders() -> FrozenEncoders:
    return FrozenEncoders()


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (64, 48)).astype(np.uint8)).save(path)
    return paths


class Reader(FrozenEncoders):
    """Counts what is read and not taken from the cache."""

    def __init__(self, cache: Path | None, like: FrozenEncoders):
        super().__init__(cache)
        self.__dict__.update(_text=like._text, _image=like._image)
        self.read: list[object] = []

    def _read_notes(self, texts: list[str]):
        self.read += texts
        return super()._read_notes(texts)

    def _read_images(self, paths: list[Path]):
        self.read += paths
        return super()._read_images(paths)


@pytest.fixture
def reader(encoders: FrozenEncoders, tmp_path: Path) -> Reader:
    assert encoders.text_width
    assert encoders.image_width
    return Reader(tmp_path / "cache", encoders)


def test_tokens_come_in_order_and_an_empty_note_has_none(encoders: FrozenEncoders) -> None:
    tokens = encoders.notes(NOTES)
    assert [len(t) for t in tokens] == [2, 0, 30, 1]
    assert {t.dtype for t in tokens} == {np.dtype(np.float32)}
    assert {t.shape[1] for t in tokens} == {encoders.text_width}
    np.testing.assert_array_equal(tokens[0][0], tokens[3][0])


def many_notes() -> list[str]:
    """Notes of 1 to 70 sentences of 3 to 40 words, some of them equal, some denied."""
    rng = np.random.default_rng(3)
    words = ["pain", "chest", "oedema", "leg", "cough", "murmur", "warfarin", "stable", "left"]

    def sentence() -> str:
        length = int(rng.choice([3, 4, 5, 6, 7, 8, 9, 12, 15, 25, 40]))
        start = "No " if rng.random() < 0.3 else ""
        return start + " ".join(rng.choice(words, length)) + "."

    lengths = [1, 1, 2, 3, 5, 70]
    return [" ".join(sentence() for _ in range(n)) for n in lengths]


def same(some: list[np.ndarray], others: list[np.ndarray]) -> None:
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("config", [TextConfig(), TextConfig(segments=4, context=8, window=96)])
def test_a_notes_tokens_are_the_same_to_the_bit_alone_and_among_others(
    encoders: FrozenEncoders, config: TextConfig
) -> None:
    reader = Reader(None, encoders)
    reader.text_config = config
    reader.__dict__["_text"] = TextEncoder(config, encoders._text.model, encoders._text.tokenizer)
    notes = [*NOTES, *many_notes()]
    together = reader.notes(notes)
    alone = [reader.notes([note])[0] for note in notes]
    order = np.random.default_rng(0).permutation(len(notes))
    shuffled = reader.notes([notes[i] for i in order])
    assert len({len(tokens) for tokens in together}) > 5
    same(together, alone)
    same([together[i] for i in order], shuffled)


def test_an_images_tokens_are_the_same_to_the_bit_alone_and_among_others(
    encoders: FrozenEncoders, films: list[Path]
) -> None:
    together = encoders.images(films)
    same(together, [encoders.images([film])[0] for film in films])
    same(together[::-1], encoders.images(films[::-1]))


def test_tokens_are_the_same_to_the_bit_on_one_core_and_on_two(
    encoders: FrozenEncoders, films: list[Path]
) -> None:
    before, read = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            read.append([*encoders.notes(NOTES), *encoders.images(films)])
    finally:
        torch.set_num_threads(before)
    same(*read)


def test_what_is_cached_is_the_same_to_the_bit_and_not_read_again(
    reader: Reader, films: list[Path]
) -> None:
    first = [*reader.notes(NOTES), *reader.images(films)]
    count = len(reader.read)
    assert count == len(NOTES) + len(films)
    again = [*reader.notes(NOTES), *reader.images(films)]
    assert len(reader.read) == count
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_views_have_a_shelf_of_their_own(reader: Reader, films: list[Path]) -> None:
    plain, views = reader.images(films), reader.image_views(films)
    for one, other in zip(plain, views, strict=True):
        assert one.shape == other.shape
        assert not np.allclose(one, other)
    same(views, reader.image_views(films))
    same(views[1:2], reader.image_views(films[1:2]))
    same(plain, reader.images(films))
    assert reader.read == films


def test_a_damaged_cache_file_is_made_again(reader: Reader) -> None:
    first = reader.notes(NOTES)
    files = sorted(reader._cache.rglob("*.tokens"))
    assert len(files) == len(NOTES)
    for file, damage in zip(files, (b"", b"short", None, b"x" * 4000), strict=True):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content if damage is None else damage)
    reader.read.clear()
    for one, other in zip(first, reader.notes(NOTES), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(reader.read) == len(NOTES)
    reader.read.clear()
    reader.notes(NOTES)
    assert not reader.read


def test_other_preprocessing_has_another_cache(encoders: FrozenEncoders, tmp_path: Path) -> None:
    first, second = Reader(tmp_path, encoders), Reader(tmp_path, encoders)
    first.notes(["No chest pain."])
    second.__dict__["_text_preprocessing"] = {**encoders._text_preprocessing, "window": 128}
    second.notes(["No chest pain."])
    assert second.read
    with pytest.raises(RunError, match="another text encoder: window was 128 and is 256"):
        encoders.check(second.preprocessing)
    encoders.check(first.preprocessing)


def test_readers_may_write_the_same_key_at_once(tmp_path: Path) -> None:
    cache, tokens = TokenCache(tmp_path), np.arange(30_000, dtype=np.float32).reshape(10, -1)

    def work(_: int) -> bool:
        cache.put("ab" * 32, tokens)
        found = cache.get("ab" * 32)
        return found is not None and bool((found == tokens).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert [p.suffix for p in tmp_path.rglob("*") if p.is_file()] == [".tokens"]


def test_a_cache_that_cannot_be_written_is_said_once_and_done_without(
    encoders: FrozenEncoders, films: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store.tokens").write_text("a file where the directory should be")
    reader = Reader(tmp_path / "store.tokens", encoders)
    same(reader.notes(NOTES), encoders.notes(NOTES))
    same(reader.images(films), encoders.images(films))
    assert [r.getMessage() for r in caplog.records] == [
        "the token cache is not written: Not a directory"
    ]


def test_in_memory_nothing_is_read_twice_nor_left_on_disk(
    reader: Reader, films: list[Path]
) -> None:
    with tokens_in_memory():
        first = [*reader.notes(NOTES), *reader.images(films)]
        count = len(reader.read)
        same(first, [*reader.notes(NOTES), *reader.images(films)])
    assert len(reader.read) == count
    assert not reader._cache.exists()
    reader.notes(NOTES)
    assert len(reader.read) == count + len(NOTES)
    assert reader._cache.exists()


def test_a_thread_beside_one_that_keeps_nothing_still_writes(reader: Reader) -> None:
    with tokens_in_memory(), ThreadPoolExecutor(1) as pool:
        pool.submit(reader.notes, NOTES).result()
    assert len(list(reader._cache.rglob("*.tokens"))) == len(NOTES)


def test_only_the_owner_may_read_the_cache(reader: Reader) -> None:
    reader.notes(NOTES)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in reader._cache.rglob("*.tokens")}
    assert modes == {0o600}


def test_an_image_that_is_not_there_is_an_error_and_the_others_are_kept(
    reader: Reader, films: list[Path]
) -> None:
    with pytest.raises(InputError, match=r"gone\.png is not there"):
        reader.images([films[0], films[0].with_name("gone.png")])


def test_the_fingerprint_is_that_of_the_published_weights(encoders: FrozenEncoders) -> None:
    stated = encoders.preprocessing
    assert stated["text"]["weights_sha256"].startswith("a0c656ee496409")
    assert stated["image"]["weights_sha256"].startswith("ac73d8caead58bef")
    assert FrozenEncoders().preprocessing == stated
