"""Real DICOM files, damaged at random: ingest never fails, and each one's fate has a reason."""

import random
import tempfile
from functools import lru_cache
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.build import ingest
from ingest.verify import verify_store
from tests.ingest.films import write_film

REAL = Path(pydicom.__path__[0]) / "data/test_files"
AT_ONCE = 6


@lru_cache(maxsize=1)
def real_films() -> list[bytes]:
    """Read pydicom's own films, of every transfer syntax that came with it."""
    contents = [file.read_bytes() for file in sorted(REAL.glob("*.dcm"))]
    found = [c for c in contents if len(c) < 600_000 and c[128:132] == b"DICM"]
    assert len(found) > 20
    return found


def damaged(film: bytes, rng: random.Random) -> bytes:
    """Cut, double or overwrite a stretch; as often in the header as in all the rest."""
    start = rng.randrange(132, min(len(film), 2000) if rng.random() < 0.5 else len(film))
    end = min(len(film), start + rng.choice([1, 2, 4, 64, 5000]))
    way = rng.randrange(4)
    if way == 0:
        return film[:start] + film[end:]
    if way == 1:
        return film[:end] + film[start:]
    if way == 2:
        return film[:start] + rng.randbytes(end - start) + film[end:]
    return film[:start]


def ingest_films(seed: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in").mkdir()
        films = {f"{n}.dcm": damaged(rng.choice(real_films()), rng) for n in range(AT_ONCE)}
        for file, film in films.items():
            (place / "in" / file).write_bytes(film)
        write_film(place / "in" / "good.dcm", PatientID="good", StudyDate="20240301")
        report = ingest([place / "in"], place / "store", public=True)
        assert report["files"].keys() == {*films, "good.dcm"}, seed
        for file in report["files"].values():
            told = [sum(file[kind].values()) for kind in ("skipped", "quarantined")]
            # Superseded: another of these is the same film.
            assert file["projected"] + file["superseded"] + sum(told) == file["records"] == 1, seed
            assert all(file["quarantined"]), seed  # each with its reason
        assert report["files"]["good.dcm"]["projected"] == 1, seed
        assert verify_store(place / "store") == [], seed


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_films_are_accounted_for(seed: int) -> None:
    ingest_films(seed)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_many_damaged_films_are_accounted_for(seed: int) -> None:
    ingest_films(seed)
