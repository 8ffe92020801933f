"""A series of slices becomes one event with a volume, and nothing of it is lost or invented."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset

from ingest.build import ingest
from ingest.image_store import ImageStore
from ingest.limits import Caps
from ingest.store import RecordStore
from ingest.verify import verify_store
from tests.ingest.films import film_dataset, write_slice

REAL = Path(pydicom.__path__[0]) / "data/test_files/dicomdirtests"


def build(tmp_path: Path, *patients: str) -> tuple[RecordStore, dict[str, Any]]:
    """Ingest `tmp_path/in`, with a Patient for each identifier."""
    lines = [
        {"resourceType": "Patient", "id": f"p{number}", "identifier": [{"value": name}]}
        for number, name in enumerate(patients or ("c",))
    ]
    records = tmp_path / "patients.ndjson"
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if not records.exists():
        records.write_text(text)
    report = ingest([records, tmp_path / "in"], tmp_path / "store", public=True)
    assert verify_store(tmp_path / "store") == []
    return RecordStore(tmp_path / "store"), report


def events(store: RecordStore) -> list[tuple[str, str]]:
    rows = store.images().fetchall()
    return [(code, image) for _, _, _, code, image, _ in rows]


def heights(store: RecordStore) -> list[list[int]]:
    """The values of each volume's slices, one a slice."""
    volumes = [store.volume(image) for _, image in events(store)]
    return sorted([int(v) for v in one.values[:, 0, 0]] for one in volumes if one is not None)


def fates(report: dict[str, Any], status: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for file in report["files"].values():
        for reason, n in file[status].items():
            found[reason] = found.get(reason, 0) + n
    return found


def test_a_series_is_one_event_ordered_by_place_in_hounsfield_units(tmp_path: Path) -> None:
    for number, place in enumerate([7, 1, 5, 3]):  # as the files lie, and as they are numbered
        tags = {"InstanceNumber": number, "StudyTime": f"12000{number}"}
        write_slice(tmp_path / f"in/{number}.dcm", place, 1000 + place, **tags)
    store, report = build(tmp_path)
    [(code, image)] = events(store)
    assert code == "IMAGE//CT"
    assert [file["projected"] for file in report["files"].values()] == [1, 1, 1, 1, 1]
    volume = store.volume(image)
    assert volume is not None
    assert volume.values.dtype == np.int16
    assert (volume.values == np.array([-23, -21, -19, -17])[:, None, None]).all()
    assert volume.spacing_mm == pytest.approx((2, 0.7, 0.5))
    assert volume.affine @ [0, 0, 0, 1] == pytest.approx([10, 20, 1, 1])
    assert store.volume_path(image) == store.image_path(image).with_suffix(".nii")
    # Known when the last slice was there.
    [(time,)] = store.images().aggregate("max(time)").fetchall()
    assert f"{time:%H:%M:%S}" == "12:00:03"


def test_a_volume_says_of_which_side_it_is(tmp_path: Path) -> None:
    for place in range(4):
        write_slice(tmp_path / f"in/{place}.dcm", place, 1000, Modality="MR", Laterality="L")
    store, _ = build(tmp_path)
    [(code, image)] = events(store)
    assert store.volume(image) is not None
    assert code == "IMAGE//MR//L"


def test_the_picture_of_a_volume_is_its_middle_slice(tmp_path: Path) -> None:
    for place in range(5):
        write_slice(tmp_path / f"in/{place}.dcm", place, 1064 if place == 2 else 0)
    store, _ = build(tmp_path)
    [(_, image)] = events(store)
    picture = np.asarray(Image.open(store.image_path(image)))
    assert picture.shape == (4, 6)
    assert np.abs(picture.astype(int) - 128).max() <= 1  # 40 HU is the window's centre


def test_a_film_has_no_volume(tmp_path: Path) -> None:
    write_slice(tmp_path / "in/a.dcm", 0)
    store, _ = build(tmp_path)
    [(_, image)] = events(store)
    assert store.volume_path(image) is None
    assert store.volume(image) is None


def test_slices_of_two_patients_are_two_volumes(tmp_path: Path) -> None:
    for who, value in (("c", 10), ("d", 20)):
        for place in range(3):
            write_slice(tmp_path / f"in/{who}{place}.dcm", place, value, PatientID=who)
    store, _ = build(tmp_path, "c", "d")
    assert heights(store) == [[-1014] * 3, [-1004] * 3]
    assert store.images().aggregate("count(distinct subject_id)").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "tags",
    [
        {"EchoTime": [5, 9]},
        {"TemporalPositionIdentifier": [1, 2]},
        {"AcquisitionNumber": [1, 2]},
        {"ImageType": [["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL"]]},
        {"ConvolutionKernel": ["B30f", "B70f"]},
        {"SeriesInstanceUID": ["1.2.3.9", "1.2.3.10"]},
    ],
    ids=lambda tags: next(iter(tags)),
)
def test_stacks_of_one_place_are_volumes_of_their_own(tmp_path: Path, tags: dict) -> None:
    [(keyword, values)] = tags.items()
    for turn, value in enumerate(values):
        for place in range(3):
            name = tmp_path / f"in/{place}-{turn}.dcm"
            write_slice(name, place, 100 * turn + place, **{keyword: value})
    assert heights(build(tmp_path)[0]) == [[-1024, -1023, -1022], [-924, -923, -922]]


def test_a_slice_that_comes_later_makes_another_volume_and_the_old_one_goes(
    tmp_path: Path,
) -> None:
    for place in (0, 1, 2):
        write_slice(tmp_path / f"in/{place}.dcm", place, place)
    [(_, first)] = events(build(tmp_path)[0])
    write_slice(tmp_path / "in/3.dcm", 3, 3)
    store, _ = build(tmp_path)
    [(_, second)] = events(store)
    assert first != second
    assert heights(store) == [[-1024, -1023, -1022, -1021]]
    assert len(list((store.path / "images").iterdir())) == 2


def test_a_series_from_two_time_zones_is_one_volume_known_when_its_last_slice_was(
    tmp_path: Path,
) -> None:
    for place in range(4):
        write_slice(tmp_path / f"in/{place % 2}/{place}.dcm", place, place)
    store = tmp_path / "store"
    (tmp_path / "p.ndjson").write_text(
        '{"resourceType": "Patient", "id": "p", "identifier": [{"value": "c"}]}\n'
    )
    for site, zone in enumerate(("Europe/Berlin", "America/New_York")):
        ingest([tmp_path / "p.ndjson", tmp_path / f"in/{site}"], store, timezone=zone, public=True)
    assert verify_store(store) == []
    assert heights(RecordStore(store)) == [[-1024, -1023, -1022, -1021]]
    [(_, time, occurred, *_)] = RecordStore(store).images().fetchall()
    assert f"{time:%H:%M}" == f"{occurred:%H:%M}" == "17:00"  # noon in New York


def test_the_same_film_from_two_time_zones_is_one(tmp_path: Path) -> None:
    (tmp_path / "p.ndjson").write_text(
        '{"resourceType": "Patient", "id": "p", "identifier": [{"value": "c"}]}\n'
    )
    report: dict[str, Any] = {}
    for site, zone in enumerate(("Europe/Berlin", "America/New_York")):
        write_slice(tmp_path / f"in/{site}.dcm", 0, 0, SOPInstanceUID="1.2.3.7")
        sources = [tmp_path / "p.ndjson", tmp_path / f"in/{site}.dcm"]
        report = ingest(sources, tmp_path / "store", timezone=zone, public=True)
    assert report["images"] == 1
    assert report["files"]["1.dcm"]["superseded"] == 1


def test_slice_by_slice_or_at_once_gives_the_same_store(tmp_path: Path) -> None:
    at_once, bit_by_bit = tmp_path / "a", tmp_path / "b"
    for place in range(5):
        write_slice(bit_by_bit / f"in/{place}.dcm", place, place)
        build(bit_by_bit)
    shutil.copytree(bit_by_bit / "in", at_once / "in")
    build(at_once)
    images = [
        {file.name: file.read_bytes() for file in (place / "store/images").iterdir()}
        for place in (at_once, bit_by_bit)
    ]
    assert images[0] == images[1]
    assert len(images[0]) == 2


def test_a_volume_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    for place in range(3):
        write_slice(tmp_path / f"in/{place}.dcm", place)
    store, _ = build(tmp_path)
    before = {file.name: file.stat().st_ino for file in (store.path / "images").iterdir()}
    store, _ = build(tmp_path)
    assert {f.name: f.stat().st_ino for f in (store.path / "images").iterdir()} == before


def test_a_cut_slice_is_quarantined_and_parts_the_volume(tmp_path: Path) -> None:
    for place in range(7):
        write_slice(tmp_path / f"in/{place}.dcm", place, place)
    cut = tmp_path / "in/3.dcm"
    cut.write_bytes(cut.read_bytes()[:-10])
    store, report = build(tmp_path)
    assert fates(report, "quarantined") == {"pixel data cut short (38 of 48 bytes)": 1}
    assert heights(store) == [[-1024, -1023, -1022], [-1020, -1019, -1018]]


def test_a_slice_whose_pixels_do_not_decode_is_quarantined_and_parts_the_volume(
    tmp_path: Path,
) -> None:
    for place in range(7):
        film = write_slice(tmp_path / f"in/{place}.dcm", place, place)
        dataset = pydicom.dcmread(film)
        dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        if place == 3:
            dataset.PixelData = dataset.PixelData[:40] + b"\xff" * (len(dataset.PixelData) - 40)
        dataset.save_as(film)
    store, report = build(tmp_path)
    [(reason, n)] = fates(report, "quarantined").items()
    assert n == 1
    assert reason.startswith("pixels that cannot be decoded (RLE Lossless, 12 bits")
    assert heights(store) == [[-1024, -1023, -1022], [-1020, -1019, -1018]]


def test_another_version_of_a_slice_takes_its_place(tmp_path: Path) -> None:
    for place in range(3):
        write_slice(tmp_path / f"in/{place}.dcm", place, 5, SOPInstanceUID=f"1.2.3.{place}")
    build(tmp_path)
    write_slice(tmp_path / "in/new.dcm", 1, 9, SOPInstanceUID="1.2.3.1")
    store, report = build(tmp_path)
    assert heights(store) == [[-1019, -1015, -1019]]
    assert sum(file["superseded"] for file in report["files"].values()) == 1


def test_an_undated_series_is_counted_slice_by_slice(tmp_path: Path) -> None:
    for place in range(3):
        write_slice(tmp_path / f"in/{place}.dcm", place, StudyDate="", StudyTime="")
    store, report = build(tmp_path)
    assert events(store) == []
    assert fates(report, "skipped") == {"image: undated": 3}
    assert report["undated"] == {"image": 3}


def test_values_that_are_not_whole_are_kept_as_floats(tmp_path: Path) -> None:
    for place, slope in enumerate((0.5, 0.25, 2.0)):  # as PET has, another for each slice
        tags = {"RescaleSlope": slope, "RescaleIntercept": 0, "Modality": "PT"}
        write_slice(tmp_path / f"in/{place}.dcm", place, 10, **tags)
    store, _ = build(tmp_path)
    volume = store.volume(events(store)[0][1])
    assert volume is not None
    assert volume.values.dtype == np.float32
    assert volume.values[:, 0, 0].tolist() == [5.0, 2.5, 20.0]


def test_values_beyond_16_bits_are_kept_as_floats(tmp_path: Path) -> None:
    for place in range(3):
        tags = {"BitsStored": 16, "HighBit": 15, "RescaleIntercept": 0}
        write_slice(tmp_path / f"in/{place}.dcm", place, 40_000, **tags)
    store, _ = build(tmp_path)
    volume = store.volume(events(store)[0][1])
    assert volume is not None
    assert volume.values.dtype == np.float32
    assert set(np.unique(volume.values)) == {40_000.0}


def enhanced(path: Path, places: list[float], times: list[int] | None = None) -> None:
    """An enhanced CT of one file: each frame holds its own number."""
    groups = []
    for place, time in zip(places, times or [1] * len(places), strict=True):
        position, content, transform, group = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-10, -20, place]
        content.TemporalPositionIndex = time
        transform.RescaleSlope, transform.RescaleIntercept = 1, -1000
        group.PlanePositionSequence = [position]
        group.FrameContentSequence = [content]
        group.PixelValueTransformationSequence = [transform]
        groups.append(group)
    orientation, measures, shared = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [0.7, 0.5]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    frames = np.stack([np.full((4, 6), number, "<u2") for number in range(len(places))])
    path.parent.mkdir(parents=True)
    film_dataset(
        frames,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1",
        Modality="CT",
        PatientID="c",
        StudyDate="20240301",
        BitsStored=12,
        HighBit=11,
        PerFrameFunctionalGroupsSequence=groups,
        SharedFunctionalGroupsSequence=[shared],
    ).save_as(path, enforce_file_format=True)


def test_an_enhanced_object_is_a_volume_ordered_by_its_frames_places(tmp_path: Path) -> None:
    enhanced(tmp_path / "in/a.dcm", [4, 2, 0, 1, 3])
    store, report = build(tmp_path)
    assert heights(store) == [[-998, -997, -999, -996, -1000]]
    assert report["files"]["a.dcm"]["projected"] == 1


def test_the_times_of_an_enhanced_object_are_volumes_of_their_own(tmp_path: Path) -> None:
    enhanced(tmp_path / "in/a.dcm", [0, 0, 1, 1, 2, 2], [1, 2] * 3)
    store, report = build(tmp_path)
    assert heights(store) == [[-1000, -998, -996], [-999, -997, -995]]
    assert report["files"]["a.dcm"]["records"] == 1


def test_frames_of_an_enhanced_object_that_fit_no_volume_are_pictures(tmp_path: Path) -> None:
    enhanced(tmp_path / "in/a.dcm", [0, 1, 2, 50])
    store, _ = build(tmp_path)
    assert heights(store) == [[-1000, -999, -998]]
    assert len(events(store)) == 2


def test_a_film_loop_at_one_place_is_one_picture(tmp_path: Path) -> None:
    enhanced(tmp_path / "in/a.dcm", [0.0] * 20)
    store, _ = build(tmp_path)
    assert [store.volume(image) for _, image in events(store)] == [None]


def test_a_volume_over_its_cap_is_refused_by_name(tmp_path: Path) -> None:
    from ingest.headers import ImageHeader
    from ingest.image_store import Slice
    from tests.ingest.films import land

    for place in range(3):
        write_slice(tmp_path / f"in/{place}.dcm", place)
    with ImageStore(tmp_path / "images", Caps(volume_bytes=100)) as images:
        slices = [
            Slice(file=file, frame=0, plane=header.planes[0])
            for file, header in images.describe(land(tmp_path / "in"))
            if isinstance(header, ImageHeader)
        ]
        _, refused = images.keep_stack(slices)
    reason = "over a limit: a volume of 144 bytes is over 100"
    assert list(refused.values()) == [("quarantined", reason)] * 3
    assert list((tmp_path / "images").iterdir()) == []


def test_verify_finds_a_volume_that_is_gone_changed_or_nobodys(tmp_path: Path) -> None:
    for place in range(3):
        write_slice(tmp_path / f"in/{place}.dcm", place)
    store, _ = build(tmp_path)
    [volume] = (store.path / "images").glob("*.nii")
    whole = volume.read_bytes()
    volume.write_bytes(whole[:-1] + b"\x07")
    assert verify_store(store.path) == [f"images/{volume.name} was changed or damaged"]
    volume.unlink()
    assert verify_store(store.path) == [f"images/{volume.name} is gone"]


def test_real_series_become_the_volumes_that_lie_in_them(tmp_path: Path) -> None:
    """pydicom's own: CT5N has five slices 2.5 mm apart; of CT2's four, one lies 20 cm off."""
    shutil.copytree(REAL / "98892001", tmp_path / "in/a")
    shutil.copytree(REAL / "77654033/CT2", tmp_path / "in/b")
    shutil.copytree(REAL / "98892003/MR700", tmp_path / "in/c")  # projections around an axis
    who = {str(pydicom.dcmread(f).PatientID) for f in (tmp_path / "in").rglob("*") if f.is_file()}
    store, report = build(tmp_path, *sorted(who))
    found = [volume for _, image in events(store) if (volume := store.volume(image)) is not None]
    shapes = sorted((one.values.shape[0], round(one.spacing_mm[0], 3)) for one in found)
    assert shapes == [(3, 1.25), (5, 2.5)]
    assert len(events(store)) == 2 + 2 + 1 + 7  # volumes, scouts, the slice apart, projections
    assert fates(report, "quarantined") == {}
    [thick] = [one for one in found if len(one.values) == 5]
    for place, name in enumerate(("3353", "3023", "2693", "2392", "2062")):
        slice_ = pydicom.dcmread(REAL / "98892001/CT5N" / name)
        expected = slice_.pixel_array * slice_.RescaleSlope + slice_.RescaleIntercept
        assert (thick.values[place] == expected).all()
        corner = thick.affine @ [0, 0, place, 1]
        left, back, up = slice_.ImagePositionPatient
        assert corner[:3] == pytest.approx([-left, -back, up], abs=1e-3)
