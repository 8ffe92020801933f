"""The simulated hospital: repeatable, valid, and leaking nothing but what the model says."""

import base64
import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pydicom
import pytest
from sklearn.metrics import roc_auc_score

from ingest.chart import Chart
from ingest.course import Course, draw_courses
from ingest.errors import InputError, MappingError, UsageError
from ingest.oracle import SUBSETS, Draw, Statistics, draw, evidence, oracle
from ingest.phrasebook import read_phrasebook
from ingest.simulate import simulate
from ingest.vocabulary import HEART_FAILURE
from ingest.world import World, read_world

PATIENTS = 150


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "hospital"
    simulate(out, patients=PATIENTS, seed=7)
    return out


def read(hospital: Path, kind: str) -> list[dict[str, Any]]:
    text = (hospital / "fhir" / f"{kind}.ndjson").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def subject(resource: dict[str, Any]) -> str:
    return (resource.get("subject") or resource["patient"])["reference"]


def index_visits(hospital: Path) -> dict[str, tuple[datetime, datetime]]:
    found: dict[str, tuple[datetime, datetime]] = {}
    for encounter in read(hospital, "Encounter"):
        if encounter["class"]["code"] == "AMB":
            assert subject(encounter) not in found, "one AMB encounter a patient"
            period = encounter["period"]
            found[subject(encounter)] = when(period["start"]), when(period["end"])
    return found


def contents(directory: Path) -> dict[str, bytes]:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes()
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    first = simulate(tmp_path / "a", patients=12, seed=3)
    again = simulate(tmp_path / "b", patients=12, seed=3)
    simulate(tmp_path / "c", patients=12, seed=4)
    assert first == again
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    ours, theirs = contents(tmp_path / "a"), contents(tmp_path / "c")
    assert ours["fhir/Patient.ndjson"] != theirs["fhir/Patient.ndjson"]
    assert not {n for n in ours if n.startswith("dicom")} & set(theirs)


def test_a_label_is_what_the_records_say_of_heart_failure(hospital: Path) -> None:
    """Read from FHIR alone, as the task does: confirmed, by onset, within 365 days, not before."""
    index = index_visits(hospital)
    within, before, followed = set(), set(), set()
    for condition in read(hospital, "Condition"):
        if condition["code"]["coding"][0]["code"] != HEART_FAILURE[0]:
            continue
        if condition["verificationStatus"]["coding"][0]["code"] != "confirmed":
            continue
        who, onset = subject(condition), when(condition["onsetDateTime"])
        assert onset <= when(condition["recordedDate"])
        if onset <= index[who][1]:
            before.add(who)
        elif onset <= index[who][1] + timedelta(days=365):
            assert when(condition["recordedDate"]) <= index[who][1] + timedelta(days=360)
            within.add(who)
    for encounter in read(hospital, "Encounter"):
        who = subject(encounter)
        if when(encounter["period"]["start"]) > index[who][1] + timedelta(days=365):
            followed.add(who)
    table = pq.read_table(hospital / "oracle.parquet").to_pandas()
    assert len(index) == PATIENTS == len(table)
    for row in table.itertuples():
        who = row.subject_key
        known = who in followed and who not in before
        assert row.label == (who in within) if known else pd.isna(row.label)
    assert table["label"].notna().sum() > 0.8 * PATIENTS
    assert 0 < table["label"].sum() < 0.5 * PATIENTS


def test_who_is_lost_has_no_record_later_than_30_days(hospital: Path) -> None:
    index = index_visits(hospital)
    last: dict[str, datetime] = defaultdict(lambda: datetime.fromisoformat("1900-01-01T00:00:00Z"))
    for kind in ("Encounter", "Condition", "Observation", "DocumentReference", "ImagingStudy"):
        for r in read(hospital, kind):
            at = r.get("period", {}).get("end") or next(
                r[f] for f in ("recordedDate", "issued", "date", "started") if f in r
            )
            last[subject(r)] = max(last[subject(r)], when(at))
    gaps = [(last[who] - end).days for who, (_, end) in index.items()]
    assert any(gap <= 30 for gap in gaps)
    assert all(gap <= 30 or gap > 365 for gap in gaps)


def test_every_film_decodes_and_joins_its_imaging_study(hospital: Path) -> None:
    studies = {}
    for study in read(hospital, "ImagingStudy"):
        uid = study["identifier"][0]["value"].removeprefix("urn:oid:")
        series = study["series"][0]
        studies[uid] = subject(study), series["uid"], series["instance"][0]["uid"], study["started"]
    records = {p["identifier"][0]["value"]: f"Patient/{p['id']}" for p in read(hospital, "Patient")}
    files = sorted((hospital / "dicom").glob("*.dcm"))
    assert len(files) == len(studies) > 0.7 * PATIENTS
    seen = Counter()
    for file in files:
        film = pydicom.dcmread(file)
        pixels = film.pixel_array
        assert pixels.shape == (256, 256)
        assert 1500 < np.ptp(pixels) <= 4095
        who, series, instance, started = studies.pop(film.StudyInstanceUID)
        assert records[film.PatientID] == who
        assert (film.SeriesInstanceUID, film.SOPInstanceUID) == (series, instance)
        assert f"{when(started):%Y%m%d%H%M%S}" == film.StudyDate + film.StudyTime
        seen.update([film.ViewPosition, film.PhotometricInterpretation])
    assert not studies
    assert set(seen) == {"PA", "AP", "MONOCHROME1", "MONOCHROME2"}


def test_a_sample_of_every_type_is_valid_fhir_r4(hospital: Path) -> None:
    kinds = sorted(file.stem for file in (hospital / "fhir").iterdir())
    assert len(kinds) == 10
    for kind in kinds:
        model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        resources = read(hospital, kind)
        assert resources
        for resource in resources[:: max(len(resources) // 25, 1)]:
            model.model_validate(resource)


def test_resource_ids_are_unique_and_references_lead_somewhere(hospital: Path) -> None:
    ids: Counter[str] = Counter()
    wanted = set()
    for file in (hospital / "fhir").iterdir():
        for resource in read(hospital, file.stem):
            ids[f"{file.stem}/{resource['id']}"] += 1
            wanted |= set(_references(resource))
    assert max(ids.values()) == 1
    assert wanted <= set(ids)


def _references(content: Any) -> list[str]:
    if isinstance(content, dict):
        own = [content["reference"]] if "reference" in content else []
        return own + [r for value in content.values() for r in _references(value)]
    return [r for item in content for r in _references(item)] if isinstance(content, list) else []


def test_the_events_oracle_can_be_computed_from_the_written_records(hospital: Path) -> None:
    """Nothing that the oracle is given is missing from the files, and nothing is changed there."""
    world, index = read_world(hospital / "world.yaml"), index_visits(hospital)
    people = [f"Patient/{p['id']}" for p in read(hospital, "Patient")]
    row = {who: i for i, who in enumerate(people)}
    kinds = world.events.measurements
    by_code = {m.code: name for name, m in kinds.items()}
    visits: dict[str, list[tuple[float, str, float]]] = defaultdict(list)
    for observation in read(hospital, "Observation"):
        who, at = subject(observation), when(observation["effectiveDateTime"])
        if observation["status"] != "final" or when(observation["issued"]) > index[who][1]:
            continue
        for part in observation.get("component", [observation]):
            code = part["code"]["coding"][0]["code"]
            if code in by_code:
                years = (at - index[who][0]).total_seconds() / 86400 / 365.25
                visits[who].append((years, by_code[code], part["valueQuantity"]["value"]))
    widest = max(map(len, visits.values()))
    years = np.zeros((len(people), widest))
    values = {name: np.ones(years.shape) for name in kinds}
    seen = {name: np.zeros(years.shape, bool) for name in kinds}
    for who, found in visits.items():
        for k, (at, name, value) in enumerate(found):
            years[row[who], k] = at
            values[name][row[who], k], seen[name][row[who], k] = value, True
    diseases = [c.code for c in world.events.comorbidities.values()]
    comorbid = np.zeros((len(people), len(diseases)), bool)
    for condition in read(hospital, "Condition"):
        code, who = condition["code"]["coding"][0]["code"], subject(condition)
        if code in diseases:
            assert when(condition["recordedDate"]) <= index[who][1]
            comorbid[row[who], diseases.index(code)] = True
    born = {f"Patient/{p['id']}": p["birthDate"] for p in read(hospital, "Patient")}
    age = [
        ((index[who][0] - when(born[who] + "T00:00:00Z")).days / 365.25 - world.events.age_mean)
        / world.events.age_sd
        for who in people
    ]
    n, empty = len(people), np.zeros((len(people), 6), np.int8)
    studies = read(hospital, "ImagingStudy")
    taken = {subject(s) for s in studies if when(s["started"]) <= index[subject(s)][1]}
    statistics = Statistics(
        years=years,
        visited=np.ones(years.shape, bool),
        values=values,
        seen=seen,
        age=np.array(age),
        comorbid=comorbid,
        has_note=np.zeros(n, bool),
        stated=empty,
        hedged=empty.astype(bool),
        has_image=np.array([who in taken for who in people]),
        heart=np.zeros(n),
        opacity=np.zeros(n),
    )
    risks = oracle(world, evidence(world, statistics), ("events",))["events"]
    table = pq.read_table(hospital / "oracle.parquet").to_pandas()
    assert list(table["subject_key"]) == people
    np.testing.assert_allclose(risks, table["events"], atol=2e-3)


def test_the_index_visit_has_the_note_and_the_film_that_are_stated(hospital: Path) -> None:
    index = index_visits(hospital)
    summary = json.loads((hospital / "hospital.json").read_text())
    notes = [
        d
        for d in read(hospital, "DocumentReference")
        if index[subject(d)][0] <= when(d["date"]) <= index[subject(d)][1]
    ]
    films = [
        s
        for s in read(hospital, "ImagingStudy")
        if index[subject(s)][0] <= when(s["started"]) <= index[subject(s)][1]
    ]
    assert len({subject(d) for d in notes}) == len(notes) == summary["with_note"] < PATIENTS
    assert len({subject(s) for s in films}) == len(films) == summary["with_image"] < PATIENTS
    kinds = Counter()
    for note in notes:
        attachment = note["content"][0]["attachment"]
        text = base64.b64decode(attachment["data"]).decode("utf-8")
        kinds[attachment["contentType"].split(";")[0]] += 1
        assert text.startswith("<html>") == attachment["contentType"].startswith("text/html")
        assert len(text) > 200
    assert set(kinds) == {"text/plain", "text/html"}


def test_the_counts_are_what_was_written(hospital: Path) -> None:
    summary = json.loads((hospital / "hospital.json").read_text())
    written = {f.stem: len(read(hospital, f.stem)) for f in (hospital / "fhir").iterdir()}
    written["dicom"] = len(list((hospital / "dicom").iterdir()))
    assert summary["written"] == {kind: n for kind, n in written.items() if n}
    table = pq.read_table(hospital / "oracle.parquet").to_pandas()
    assert summary["patients"] == len(table)
    assert summary["positives"] == table["label"].dropna().sum()
    assert list(table.columns) == ["subject_key", "label", *SUBSETS, "additive"]
    risks = table[[*SUBSETS, "additive"]].to_numpy()
    assert ((risks > 0) & (risks < 1)).all()


@cache
def charts(n: int = 2500) -> tuple[World, Draw, list[Course], list[list[dict[str, Any]]]]:
    world, rng = read_world(), np.random.default_rng(21)
    world = world.model_copy(
        update={"follow_up": world.follow_up.model_copy(update={"lost": 0.0, "later_image": 0.5})}
    )
    book, drawn = read_phrasebook(world), draw(world, n, rng)
    courses = draw_courses(world, drawn, 1, rng)
    return (
        world,
        drawn,
        courses,
        [Chart(world, book, drawn.statistics, courses[i], i, 1, rng).resources() for i in range(n)],
    )


def known_at(resource: dict[str, Any]) -> str:
    for field in ("recordedDate", "issued", "authoredOn", "occurrenceDateTime"):
        if field in resource:
            return resource[field]
    return resource.get("performedDateTime") or resource["date"]


def codes(resources: list[dict[str, Any]], course: Course, *, after: bool) -> set[str]:
    found = set()
    for r in resources:
        if r["resourceType"] in ("Patient", "Encounter", "ImagingStudy", "DocumentReference"):
            continue
        if (when(known_at(r)) > course.index_end) != after:
            continue
        concept = r.get("code") or r.get("vaccineCode") or r.get("medicationCodeableConcept")
        if concept:
            status = r.get("verificationStatus", {"coding": [{"code": r.get("status")}]})
            code = concept["coding"][0]["code"]
            found.add(f"{r['resourceType']}/{code}/{status['coding'][0]['code']}")
    return found


def test_before_the_end_of_the_index_visit_no_irrelevant_code_knows_the_label() -> None:
    world, drawn, courses, written = charts()
    relevant = [f"/{c.code}/" for c in world.events.comorbidities.values()]
    relevant += ["/314076/", "/860975/", "/259255/", "/855332/"]  # what treats them
    label = drawn.label
    seen = [codes(resources, c, after=False) for resources, c in zip(written, courses, strict=True)]
    worst = {}
    for code in sorted(set().union(*seen)):
        if any(part in code for part in relevant):
            continue
        has = np.array([code in s for s in seen])
        if has.sum() < 30 or (~has).sum() < 30:
            continue
        error = np.sqrt(has.var() * (1 / label.sum() + 1 / (~label).sum()))
        worst[code] = abs(has[label].mean() - has[~label].mean()) / error
    assert len(worst) > 40
    assert max(worst.values()) < 4, max(worst, key=lambda c: worst[c])
    count = [len(s) for s in seen]
    assert 0.45 < roc_auc_score(label, count) < 0.58  # comorbidities are events, and do know it


def test_no_confirmed_heart_failure_stands_before_the_index_visit_of_a_labelled_patient() -> None:
    _, _, courses, written = charts()
    for resources, course in zip(written, courses, strict=True):
        early = codes(resources, course, after=False)
        assert (f"Condition/{HEART_FAILURE[0]}/confirmed" in early) == (course.prior is not None)


def test_whoever_looks_after_the_index_visit_is_told_the_label() -> None:
    """The trap works: a leak of later measurements would show as an AUROC above the oracle's."""
    _, drawn, courses, written = charts()
    score, label = [], []
    for i, (resources, course) in enumerate(zip(written, courses, strict=True)):
        late = [
            np.log(r["valueQuantity"]["value"])
            for r in resources
            if r["resourceType"] == "Observation"
            and r["code"]["coding"][0]["code"] == "33762-6"
            and when(r["issued"]) > course.index_end
        ]
        if late:
            score.append(np.mean(late))
            label.append(drawn.label[i])
    assert len(label) > 500
    assert roc_auc_score(label, score) > 0.97


def test_another_world_writes_another_hospital(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nmissing: {image: 0.9}\nrisk: {prevalence: 0.6}\n")
    summary = simulate(tmp_path / "out", patients=40, seed=1, world=file)
    assert summary["world"] == "mine"
    assert summary["with_image"] < 15
    assert summary["positives"] > 14
    assert read_world(tmp_path / "out" / "world.yaml") == read_world(file)


def test_a_world_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("images: {size: 12}\n")
    with pytest.raises(MappingError, match=r"images\.size: .*128.*\(got 12\)"):
        simulate(tmp_path / "out", patients=2, seed=1, world=file)
    file.write_text("notes: {wording: {family: ['{whom} died']}}\n")
    with pytest.raises(MappingError, match="has a slot that is none of"):
        simulate(tmp_path / "out", patients=2, seed=1, world=file)
    with pytest.raises(InputError, match="cannot be read"):
        simulate(tmp_path / "out", patients=2, seed=1, world=tmp_path / "none.yaml")
    assert [f.name for f in tmp_path.iterdir()] == ["bad.yaml"]


def test_an_earlier_hospital_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    simulate(tmp_path / "h", patients=3, seed=1)
    simulate(tmp_path / "h", patients=2, seed=2)
    assert len(read(tmp_path / "h", "Patient")) == 2
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a simulated hospital"):
        simulate(other, patients=2, seed=1)
    assert (other / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(("patients", "seed"), [(0, 1), (-3, 1), (2_000_000, 1), (2, -1)])
def test_numbers_out_of_range_are_refused(tmp_path: Path, patients: int, seed: int) -> None:
    with pytest.raises(UsageError, match="must be between"):
        simulate(tmp_path / "out", patients=patients, seed=seed)
