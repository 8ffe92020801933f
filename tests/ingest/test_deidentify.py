"""The flag as a whole: shifts, order, the choice that holds, what stands apart, and use."""

import json
import re
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest

from ingest.build import ingest
from ingest.cohort import build_cohort
from ingest.deidentify_choice import FLAGGED
from ingest.deidentify_known import KNOWN
from ingest.dicom_export import export_dicom
from ingest.errors import InputError, LimitError, StoreError, UsageError
from ingest.info import describe_store
from ingest.labels import read_cohort
from ingest.limits import LimitedChild
from ingest.simulate import simulate
from ingest.store import RecordStore
from ingest.store_facts import read_facts
from tests.hospital import ROOT
from tests.ingest.exports import observation, write_ndjson
from tests.ingest.films import write_film
from tests.ingest.planted import Planted, plant_hospital
from tests.ingest.test_build import hashes


def keyed(place: Path, name: bytes = b"a key of our own, and long enough") -> Path:
    key = place / "key"
    key.write_bytes(name)
    return key


def events(store: Path) -> pd.DataFrame:
    return RecordStore(store).events().df()


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Planted, Path, Path]:
    """One hospital, with its identifiers and without, under one key."""
    place = tmp_path_factory.mktemp("twice")
    hospital = plant_hospital(place / "hospital", patients=6)
    for name, deidentify in (("plain", None), ("clean", True)):
        ingest([hospital.place], place / name, key=keyed(place), deidentify=deidentify)
    return hospital, place / "plain", place / "clean"


def shifts(plain: pd.DataFrame, clean: pd.DataFrame) -> pd.Series:
    """The days between the two stores' times, by subject: one for all of its events."""
    keys = ["subject_id", "source"]
    both = plain.groupby(keys)["time"].min().to_frame("was")
    both["now"] = clean.groupby(keys)["time"].min()
    days = (both["now"] - both["was"]).dropna()
    assert (days.groupby("subject_id").nunique() == 1).all()
    return days.groupby("subject_id").first()


def test_a_subject_moves_by_one_shift_in_records_notes_and_films(
    twice: tuple[Planted, Path, Path], tmp_path: Path
) -> None:
    hospital, plain, clean = twice
    was, now = events(plain), events(clean)
    days = shifts(was, now)
    assert len(days) == len(hospital.patients)
    assert (days != timedelta(0)).all()
    assert (days == days.dt.floor("D")).all()
    for column in ("occurred", "time_from", "occurred_from"):
        ends = [frame.groupby("subject_id")[column].max() for frame in (was, now)]
        assert ((ends[1] - ends[0]).dropna() == days[ends[1].dropna().index]).all()
    crosswalk = pd.read_parquet(clean.with_name("clean.raw") / "crosswalk.parquet")
    subjects = crosswalk.set_index("subject_key")["subject_id"]
    notes = now[now["code"].str.startswith("NOTE//")].groupby("subject_id")["text_value"].first()
    for patient, stated in hospital.dates.items():
        subject = subjects[f"Patient/{patient}"]
        first, second, third = (day + days[subject] for day in stated)
        assert f"was seen on {first}, BP 120/80" in notes[subject]
        assert re.sub(r" 0", " ", f"on {second:%B %d, %Y}") in re.sub(r" 0", " ", notes[subject])
        assert f"read it on {third:%d.%m.%Y}" in notes[subject]
    counts = export_dicom(clean, tmp_path / "films", key=clean.with_name("key"))
    assert counts == {"written": 6, "burned in, or suspected to be": 2}
    for path in (tmp_path / "films").rglob("*.dcm"):
        film, subject = pydicom.dcmread(path), int(path.parent.name)
        [patient] = crosswalk[crosswalk["subject_id"] == subject]["subject_key"]
        taken = hospital.dates[patient.removeprefix("Patient/")][0] + days[subject]
        assert film.StudyDate == film.AcquisitionDate == f"{taken:%Y%m%d}"
        assert film.AcquisitionTime == "131500"


def test_the_order_of_events_and_the_time_of_day_stay(twice: tuple[Planted, Path, Path]) -> None:
    _, plain, clean = twice
    orders = []
    for store in (plain, clean):
        dated = events(store).dropna(subset="time")
        dated["step"] = dated.groupby("subject_id")["time"].rank(method="dense")
        dated["hour"] = dated["time"].dt.time
        orders.append(dated[["subject_id", "source", "step", "hour"]].drop_duplicates())
    was, now = (order.sort_values(["subject_id", "source", "step"]) for order in orders)
    assert was.reset_index(drop=True).equals(now.reset_index(drop=True))


def test_the_same_key_gives_the_same_store_and_another_key_another(tmp_path: Path) -> None:
    hospital = plant_hospital(tmp_path / "hospital", patients=2)
    made = {}
    for name, key in (("a", b"the first key of the two"), ("b", b"the first key of the two")):
        (tmp_path / name).mkdir()
        use = {"key": keyed(tmp_path / name, key), "deidentify": True}
        ingest([hospital.place], tmp_path / name / "store", **use)
        made[name] = hashes(tmp_path / name / "store" / "data")
    assert made["a"] == made["b"]
    (tmp_path / "c").mkdir()
    key = keyed(tmp_path / "c", b"the second key of the two")
    ingest([hospital.place], tmp_path / "c" / "store", key=key, deidentify=True)
    subjects = [set(RecordStore(tmp_path / n / "store").subjects()) for n in ("a", "c")]
    assert not subjects[0] & subjects[1]


def test_without_the_flag_nothing_is_changed(twice: tuple[Planted, Path, Path]) -> None:
    hospital, plain, _ = twice
    report = RecordStore(plain).report()
    assert "deidentified" not in report
    assert all(name.endswith((".ndjson", ".dcm", ".txt")) for name in report["files"])
    assert not (plain / FLAGGED).exists()
    assert not (plain.with_name("plain.raw") / "deidentify.json").exists()
    texts = " ".join(events(plain)["text_value"].dropna())
    names = [needle for needle, kind in hospital.needles.items() if kind == "visit"]
    assert all(name in texts for name in names)
    assert "[NAME]" not in texts


def test_a_choice_holds_for_all_that_comes_later(tmp_path: Path) -> None:
    person = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Doering"}]}
    said = observation("a", {"valueString": "Doering"}, subject={"reference": "Patient/p1"})
    more = {**said, "id": "b", "effectiveDateTime": "2020-06-04T08:00:00Z"}
    one = write_ndjson(tmp_path / "one.ndjson", person, said)
    two = write_ndjson(tmp_path / "two.ndjson", more)
    clean, plain = tmp_path / "clean", tmp_path / "plain"
    ingest([one], clean, deidentify=True)
    ingest([two], clean)
    assert list(events(clean)["text_value"]) == ["[NAME]", "[NAME]"]
    assert "de-identified, dates shifted" in describe_store(read_facts(RecordStore(clean)))
    with pytest.raises(UsageError, match="began with --deidentify and can't go on without"):
        ingest([two], clean, deidentify=False)
    with pytest.raises(UsageError, match="can't go on with --deidentify --keep-dates: one store"):
        ingest([two], clean, deidentify=True, keep_dates=True)
    ingest([one], plain)
    with pytest.raises(UsageError, match="began without --deidentify and can't go on with"):
        ingest([two], plain, deidentify=True)
    with pytest.raises(UsageError, match="--keep-dates is of --deidentify"):
        ingest([two], plain, keep_dates=True)
    with pytest.raises(UsageError, match="--public and --deidentify exclude each other"):
        ingest([two], tmp_path / "other", deidentify=True, public=True)
    (tmp_path / "clean.raw" / "deidentify.json").write_text("{")
    (clean / "ingest_report.json").unlink()
    with pytest.raises(StoreError, match="holds something that is no store"):
        ingest([two], clean)


def test_a_choice_holds_though_its_first_ingest_failed(tmp_path: Path) -> None:
    person = {"resourceType": "Patient", "id": "p", "name": [{"family": "Doering"}]}
    source = write_ndjson(
        tmp_path / "a.ndjson", person, observation("a", {"valueString": "Doering"})
    )
    with pytest.raises(InputError, match="is not there"):
        ingest([tmp_path / "gone"], tmp_path / "store", deidentify=True)
    ingest([source], tmp_path / "store")
    assert list(events(tmp_path / "store")["text_value"]) == ["[NAME]"]


def test_an_error_of_the_system_does_not_name_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_ndjson(tmp_path / "Doering.ndjson", {"resourceType": "Patient", "id": "p"})

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr("ingest.landing.hashlib.file_digest", fail)
    for name, told in (("clean", "a file of the sources"), ("plain", str(source))):
        with pytest.raises(PermissionError) as caught:
            ingest([source], tmp_path / name, deidentify=name == "clean" or None)
        assert caught.value.filename == told


def test_names_are_found_in_whatever_resource_tells_them(tmp_path: Path) -> None:
    told = {"identifier": {"type": {"coding": [{"code": "MR"}]}, "value": "K-12345"}}
    subject = {"reference": "Patient/p", **told, "display": "Xaver Wolfhard"}
    person = {
        "resourceType": "Person",
        "id": "x",
        "name": [{"family": "Hinterseer"}],
        "link": [{"target": {"reference": "Patient/p"}}],
    }
    coverage = {
        "resourceType": "Coverage",
        "id": "c",
        "beneficiary": {"reference": "Patient/p"},
        "subscriberId": "SUBX5566",
    }
    said = {"valueString": "Wolfhard, Hinterseer, SUBX5566, K 12345"}
    record = observation("a", said, subject=subject)
    source = write_ndjson(tmp_path / "a.ndjson", record, person, coverage)
    ingest([source], tmp_path / "store", deidentify=True)
    assert list(events(tmp_path / "store")["text_value"]) == ["[NAME], [ID], [ID]"]


def test_a_film_whose_header_cannot_be_read_is_suspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ndjson(tmp_path / "in" / "p.ndjson", {"resourceType": "Patient", "id": "p1"})
    write_film(tmp_path / "in" / "film.dcm", PatientID="p1", StudyDate="20200101")
    call = LimitedChild.call

    def fail(self: LimitedChild, **use: Any) -> Any:
        if self._function.endswith(":read_identity"):
            raise LimitError("parsing took longer than 30 s")
        return call(self, **use)

    monkeypatch.setattr(LimitedChild, "call", fail)
    report = ingest([tmp_path / "in"], tmp_path / "store", deidentify=True)
    assert report["deidentified"]["burned_in_annotation"] == {"suspected": 1}


def test_dates_can_be_kept(tmp_path: Path) -> None:
    person = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Doering"}]}
    said = {"valueString": "Doering on 2020-05-01", "subject": {"reference": "Patient/p1"}}
    source = write_ndjson(tmp_path / "one.ndjson", person, observation("a", said))
    report = ingest([source], tmp_path / "store", deidentify=True, keep_dates=True)
    assert report["deidentified"]["dates"] == "kept"
    found = events(tmp_path / "store")
    assert list(found["text_value"]) == ["[NAME] on 2020-05-01"]
    assert list(found["time"]) == [datetime(2020, 5, 4, 8)]  # noqa: DTZ001 - the store's are UTC


def test_nobody_is_older_than_ninety_and_the_order_stays(tmp_path: Path) -> None:
    person = {"resourceType": "Patient", "id": "old-1", "birthDate": "1920-03-01"}
    visits = [
        observation(
            f"v{n}",
            {"valueString": text},
            effectiveDateTime=f"{year}-05-04T08:00:00Z",
            subject={"reference": "Patient/old-1"},
        )
        for n, (year, text) in enumerate(
            [
                (1921, "a child"),
                (1922, "a boy"),
                (2019, "born in 1920, on 1920-03-01; is 99 years old"),
            ]
        )
    ]
    age = observation("30525-0", {"valueInteger": 99}, subject={"reference": "Patient/old-1"})
    source = write_ndjson(tmp_path / "one.ndjson", person, *visits, age)
    report = ingest([source], tmp_path / "store", deidentify=True)
    assert report["deidentified"]["subjects_over_89"] == 1
    found = events(tmp_path / "store").dropna(subset="time").sort_values("time")
    codes = [code.removeprefix("LOINC//") for code in found["code"]]
    assert codes == ["MEDS_BIRTH", "v0", "v1", "v2", "30525-0"]
    years = (found["time"].max() - found["time"].min()) / timedelta(days=365.25)
    assert 90 <= years < 90.01
    texts = dict(zip(codes, found["text_value"], strict=True))
    assert texts["v2"] == "born in [DATE], on [DATE]; is 90+ years old"
    assert found["numeric_value"].max() == 90


def test_raw_zone_is_its_owners_alone(twice: tuple[Planted, Path, Path]) -> None:
    _, _, clean = twice
    raw = clean.with_name("clean.raw")
    assert stat.S_IMODE(raw.stat().st_mode) == 0o700
    for path in raw.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path.name
    inside = {path.name for path in clean.rglob("*")}
    assert not inside & {"crosswalk.parquet", "quarantine.parquet", "manifest.json", "key"}


def test_writing_in_a_picture_is_flagged_and_not_exported_unless_asked(tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_ndjson(source / "p.ndjson", {"resourceType": "Patient", "id": "p1"})
    kinds = {"stated": {"BurnedInAnnotation": "YES"}, "suspected": {"Modality": "US"}}
    kinds |= {"none": {}, "denied": {"Modality": "US", "BurnedInAnnotation": "NO"}}
    for n, (name, tags) in enumerate(kinds.items()):
        uid = f"1.2.3.{n + 1}"
        tags |= {"PatientID": "p1", "StudyDate": "20200101", "SOPInstanceUID": uid}
        write_film(source / f"{name}.dcm", **tags, SeriesInstanceUID=uid)
    store = tmp_path / "store"
    report = ingest([source], store, deidentify=True)
    assert report["deidentified"]["burned_in_annotation"] == {"stated": 1, "suspected": 1}
    assert set(pd.read_parquet(store / FLAGGED)["burned_in"]) == {"stated", "suspected"}
    assert "writing in 1 pictures stated" in describe_store(read_facts(RecordStore(store)))
    left = {"written": 2, "burned in, or suspected to be": 2}
    assert export_dicom(store, tmp_path / "few") == left
    assert export_dicom(store, tmp_path / "all", with_burned_in=True) == {"written": 4}
    with pytest.raises(StoreError, match="holds something; name a new directory"):
        export_dicom(store, tmp_path / "all")
    ingest([source], tmp_path / "plain")
    with pytest.raises(UsageError, match="is not de-identified"):
        export_dicom(tmp_path / "plain", tmp_path / "none")
    (source / "none.dcm").unlink()
    with pytest.raises(StoreError, match=r"film [0-9a-f]{8} of the raw zone is gone or changed"):
        export_dicom(store, tmp_path / "again", with_burned_in=True)


def test_a_film_is_scrubbed_of_what_the_patients_records_say(tmp_path: Path) -> None:
    person = {
        "resourceType": "Patient",
        "id": "p1",
        "name": [{"family": "Doering", "given": ["Jane"]}],
        "telecom": [{"value": "555-810-7203"}],
    }
    other = {**person, "id": "p2", "name": [{"family": "Roemer"}]}
    subject = {"reference": "Patient/p1"}
    said = {"valueString": "well", "performer": [{"display": "Dr. Xaver Wolfhard"}]}
    write_ndjson(
        tmp_path / "in" / "a.ndjson", person, other, observation("a", said, subject=subject)
    )
    # The header knows the patient by a number alone.
    tags = {"PatientID": "p1", "PatientName": "", "ManufacturerModelName": "X1 of Jane Doering"}
    tags |= {"ContrastBolusAgent": "by Wolfhard, call 555 8107203", "StudyDate": "20200101"}
    write_film(tmp_path / "in" / "a.dcm", **tags, DeviceSerialNumber="1", KVP="120")
    store, films = tmp_path / "store", tmp_path / "films"
    ingest([tmp_path / "in"], store, deidentify=True)
    assert export_dicom(store, films) == {"written": 1}
    [path] = films.rglob("*.dcm")
    film = pydicom.dcmread(path)
    assert film.ManufacturerModelName == "X1 of [NAME]"
    assert "Wolfhard" not in str(film)
    assert "8107203" not in str(film)
    kept = store.with_name("store.raw") / KNOWN
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.unlink()
    with pytest.raises(
        StoreError, match=r"holds no known\.parquet.*ingest one of its sources again"
    ):
        export_dicom(store, tmp_path / "more")


def test_labels_are_the_same_with_and_without(tmp_path: Path) -> None:
    simulate(tmp_path / "hospital", patients=80, seed=3)
    found = {}
    for name, deidentify in (("plain", None), ("clean", True)):
        sources = [tmp_path / "hospital" / "fhir"]
        ingest(sources, tmp_path / name, key=keyed(tmp_path), deidentify=deidentify)
        task = ROOT / "ingest" / "tasks" / "heart_failure_1y.yaml"
        build_cohort(tmp_path / name, [task], tmp_path / f"{name}-cohort")
        cohort = read_cohort(tmp_path / f"{name}-cohort")
        labels = cohort.index.join(pd.DataFrame(cohort.labels).add_prefix("label"))
        found[name] = labels.sort_values(["subject_id", "prediction_time"]).reset_index(drop=True)
    plain, clean = found["plain"], found["clean"]
    assert len(plain) > 40
    assert plain.drop(columns="prediction_time").equals(clean.drop(columns="prediction_time"))
    moved = clean["prediction_time"] - plain["prediction_time"]
    assert (moved == moved.dt.floor("D")).all()
    assert (moved != timedelta(0)).all()


def test_the_report_names_files_by_their_ids_and_the_raw_zone_by_name(
    twice: tuple[Planted, Path, Path],
) -> None:
    _, _, clean = twice
    report = RecordStore(clean).report()
    assert all(re.fullmatch(r"[0-9a-f]{8}\.[a-z]+", name) for name in report["files"])
    manifest = json.loads((clean.with_name("clean.raw") / "manifest.json").read_text("utf-8"))
    assert {file["id"] for file in manifest["files"]} >= {n.split(".")[0] for n in report["files"]}


@pytest.mark.parametrize("source", ["synthea_bulk_ndjson", "covid_cxr"])
def test_hardly_anything_but_identifiers_goes_from_real_notes(
    source: str, shared_data: Path, tmp_path: Path
) -> None:
    mapping = ROOT / "ingest" / "mappings" / "covid_cxr.yaml" if source == "covid_cxr" else None
    texts = {}
    for name, deidentify in (("plain", None), ("clean", True)):
        use = {"key": keyed(tmp_path), "deidentify": deidentify, "mapping": mapping}
        ingest([shared_data / source], tmp_path / name, **use)
        texts[name] = events(tmp_path / name).set_index("source")["text_value"].dropna()
    words = changed = 0
    for key, said in texts["plain"].items():
        kept = texts["clean"][key]
        dateless = [re.sub(r"\d{4}-\d\d-\d\d|\[\w+\]|90\+", " ", text) for text in (said, kept)]
        before, after = (re.findall(r"\S+", text) for text in dateless)
        words += len(before)
        changed += len(before) - sum((pd.Series(before).isin(after)).astype(int))
    assert words > 5000
    # Synthea's notes name the patient in their first lines; covid_cxr's have no names.
    assert changed / words < (0.015 if source == "synthea_bulk_ndjson" else 0.01)
