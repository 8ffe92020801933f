"""Films, patients and studies that are added to a store with images give a full build's store."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ingest.image_store import ImageStore
from ingest.store import RecordStore
from tests.ingest.addition_cases import WHO, bundle, gone
from tests.ingest.deliveries import deliver, require_as_built_anew
from tests.ingest.exports import PATIENT, observation, write_ndjson
from tests.ingest.film_deliveries import Radiology
from tests.ingest.films import write_film, write_slice

STUDY = {
    "resourceType": "ImagingStudy",
    "id": "s",
    "status": "available",
    "subject": WHO,
    "started": "2020-01-05T08:00:00Z",
    "identifier": [{"value": "film"}],
}


def write_picture(path: Path, value: int = 0) -> Path:
    Image.fromarray(np.full((64, 64), value, np.uint8)).save(path)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a store of a patient, whose study a film joins."""
    known = observation("first", {})
    first = write_ndjson(tmp_path / "in" / "a.ndjson", PATIENT, known, STUDY)
    assert not deliver(tmp_path, first, write_picture(tmp_path / "film.png"))
    return tmp_path


def images(place: Path) -> list[tuple[str, str]]:
    rows = RecordStore(place / "store").images().fetchall()
    return sorted((f"{time:%Y-%m-%d}", image) for _, time, _, _, image, _ in rows)


def test_what_bears_on_no_image_leaves_them_and_reads_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [path.stat().st_ino for path in (place / "store" / "images").iterdir()]

    def refuse(*_: Any) -> None:
        raise AssertionError("an image was asked for")

    monkeypatch.setattr(ImageStore, "describe", refuse)
    assert deliver(place, write_ndjson(place / "in" / "b.ndjson", observation("a", {})))
    assert [path.stat().st_ino for path in (place / "store" / "images").iterdir()] == before
    monkeypatch.undo()
    require_as_built_anew(place)


def test_a_film_that_comes_later_is_added_and_the_old_ones_are_not_read_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "b").mkdir()
    read: list[str] = []
    ask = ImageStore._ask

    def watched(self: ImageStore, task: str, files: list[dict[str, Any]]) -> Any:
        read.extend(file["path"] for file in files)
        return ask(self, task, files)

    monkeypatch.setattr(ImageStore, "_ask", watched)
    other = write_picture(place / "b" / "film.png", 7)
    assert deliver(place, other)
    assert read == [str(other)]
    assert len(images(place)) == 2
    require_as_built_anew(place)


def test_a_film_that_joined_nobody_joins_the_patient_who_comes_later(place: Path) -> None:
    late = write_picture(place / "late.png", 9)
    assert deliver(place, late)
    assert len(images(place)) == 1
    came = {**STUDY, "id": "t", "identifier": [{"value": "late"}], "started": "2020-02-01"}
    came["subject"] = {"reference": "Patient/q"}
    source = write_ndjson(place / "in" / "b.ndjson", came, {**PATIENT, "id": "q"})
    assert deliver(place, source)
    assert [day for day, _ in images(place)] == ["2020-01-05", "2020-02-01"]
    require_as_built_anew(place)


def test_a_study_that_moves_takes_its_film_with_it(place: Path) -> None:
    moved = {**STUDY, "started": "2020-01-09T08:00:00Z"}
    assert deliver(place, write_ndjson(place / "in" / "b.ndjson", moved))
    assert [day for day, _ in images(place)] == ["2020-01-09"]
    require_as_built_anew(place)


def test_a_film_whose_study_is_gone_leaves_the_store(place: Path) -> None:
    assert deliver(place, write_ndjson(place / "in" / "b.json", bundle(gone("ImagingStudy/s"))))
    assert images(place) == []
    assert list((place / "store" / "images").iterdir()) == []
    require_as_built_anew(place)


def test_what_an_open_stay_says_of_its_end_dates_no_film(tmp_path: Path) -> None:
    """A stay in progress may carry an end, as a plan or left over: nothing is known by it."""
    stay = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "in-progress",
        "subject": WHO,
        "period": {"start": "2019-06", "end": "2029-09"},
    }
    study = {name: value for name, value in STUDY.items() if name != "started"}
    study |= {"encounter": {"reference": "Encounter/e"}, "identifier": [{"value": "1.2.840.9.1"}]}
    film = write_film(
        tmp_path / "film.dcm",
        np.zeros((8, 8), "<u2"),
        StudyInstanceUID="1.2.840.9.1",
        AcquisitionDateTime="20150301101500",
    )
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", PATIENT, stay, study), film)
    assert [time for time, _ in images(tmp_path)] == ["2015-03-01"]
    require_as_built_anew(tmp_path)  # its verification, too: nothing begins after it was known


def test_a_patient_of_the_film_s_name_makes_it_nobody_s(place: Path) -> None:
    source = write_ndjson(place / "in" / "b.ndjson", {**PATIENT, "id": "film"})
    assert deliver(place, source)
    assert images(place) == []
    require_as_built_anew(place)


def test_a_slice_that_comes_later_makes_another_volume(place: Path) -> None:
    known = {**PATIENT, "identifier": [{"value": "c"}]}
    slices = [write_slice(place / "ct" / f"{n}.dcm", n, n) for n in range(4)]
    assert deliver(place, write_ndjson(place / "in" / "b.ndjson", known), *slices[:3])
    assert len(list((place / "store" / "images").glob("*.nii"))) == 1
    before = images(place)
    assert deliver(place, slices[3], timezone="Europe/Berlin")
    [after] = [row for row in images(place) if row[0] == "2024-03-01"]
    assert after not in before
    assert len(before) == len(images(place)) == 2
    assert len(list((place / "store" / "images").glob("*.nii"))) == 1
    require_as_built_anew(place)


@pytest.mark.parametrize("seed", range(4))
def test_random_deliveries_with_films_give_the_store_that_a_full_build_gives(
    tmp_path: Path, seed: int
) -> None:
    require_random_deliveries(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_random_deliveries_with_films_give_the_store_that_a_full_build_gives(
    tmp_path: Path, seed: int
) -> None:
    require_random_deliveries(tmp_path, seed)


def require_random_deliveries(place: Path, seed: int) -> None:
    """Deliver in two to five batches, each of which must have been added, not built in full."""
    hospital = Radiology(seed)
    for number in range(hospital.rng.randint(2, 5)):
        files = [hospital.film(place / "in") for _ in range(hospital.rng.randint(0, 9))]
        records = hospital.rng.randint(0 if number and files else 1, 3)
        files += [hospital.file(place / "in") for _ in range(records)]
        zone = hospital.rng.choice(["UTC", "Europe/Berlin"])
        assert deliver(place, *files, timezone=zone) == (number > 0)
    require_as_built_anew(place)


def test_films_alone_are_their_own_patients_until_records_come(tmp_path: Path) -> None:
    films = [
        write_film(
            tmp_path / f"{name}.dcm",
            np.full((8, 8), number, "<u2"),
            PatientID=name,
            StudyDate="20200105",
            SOPInstanceUID=f"1.2.3.{number}",
        )
        for number, name in enumerate(("p", "q", ""))
    ]
    assert not deliver(tmp_path, films[0])
    assert deliver(tmp_path, *films[1:], write_picture(tmp_path / "q.png"))
    assert len(images(tmp_path)) == 2  # nobody's are the film without PatientID, and the picture
    assert owners(tmp_path) == ["Patient/p", "Patient/q"]
    require_as_built_anew(tmp_path)
    deliver(tmp_path, write_ndjson(tmp_path / "in" / "a.ndjson", PATIENT, observation("a", {})))
    assert owners(tmp_path) == ["Patient/p"]  # q is a stranger to the records
    require_as_built_anew(tmp_path)


def owners(place: Path) -> list[str]:
    said = pq.read_table(place / "store.raw" / "crosswalk.parquet").to_pylist()
    return sorted(row["subject_key"] for row in said)
