"""How fast ingest is, each step held against its ceiling in the same run; prints a table of ratios.

    .venv/bin/python -m tests.benchmarks.ingest [--megabytes 400] [--source DIR] [--only NAME …]

`--source` is a directory of NDJSON (plain or .gz) whose ids are UUIDs: MIMIC-IV demo on FHIR or a
Synthea bulk export. Its files are repeated, each time with new ids, until there are `--megabytes`.
Without it, patients are simulated. Each figure is the median (of `records`) or the best of
`--repeats`, and every process is kept on the cores that its row names. Times of different machines
are not comparable; ratios are.
Over 400 lines, so that each step is read beside the ceiling that it is held against.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ingest.opening import open_bytes
from tests.benchmarks.additions import write_a_day, write_new_patients
from tests.benchmarks.table import Row, print_table

UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ROOT = Path(__file__).parents[2]
MB = 1e6


def main() -> None:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=400, help="of NDJSON (default 400)")
    parser.add_argument("--source", type=Path, help="NDJSON to repeat (default: simulated)")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=sorted(STEPS), default=sorted(STEPS))
    a = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="medweave-benchmark-") as name:
        place = Path(name)
        for step in a.only:
            for row in STEPS[step](place, a):
                print(f"{row.step}: {row.measured}; {row.ceiling}; {row.ratio:.3g}", flush=True)
                rows.append(row)
    print()
    print_table(rows)


# What is measured ------------------------------------------------------------------------------


def records(place: Path, a: argparse.Namespace) -> Iterator[Row]:
    """NDJSON to a store, against parsing the same lines, and against validating them."""
    source = _repeated(place / "records", a)
    size = _bytes(source)
    # Side by side in each round, and the median round: a virtual machine is half as fast again in
    # one minute as in the next.
    rounds = []
    for _ in range(a.repeats):
        parse = _child("parse", source, cores=1)[0]
        one = _ingest(place, [source], cores=1)[0]
        seconds, validated = _child("validate", source, cores=1)
        two = _ingest(place, [source], cores=2)[0]
        rounds.append((parse, one, seconds * size / validated, two))
    parse, one, validate, two = np.median(rounds, axis=0)
    to_parse, to_validate, to_two = np.median(
        [(parse / one, validate / one, one / two) for parse, one, validate, two in rounds], axis=0
    )
    yield Row(
        step="NDJSON → MEDS, one core",
        measured=f"{size / one / MB:.1f} MB/s",
        ceiling=f"orjson.loads {size / parse / MB:.0f} MB/s",
        ratio=to_parse,
        target="0.5",
    )
    yield Row(
        step="NDJSON → MEDS, one core",
        measured=f"{size / one / MB:.1f} MB/s",
        ceiling=f"fhir.resources (R4B) validation {size / validate / MB:.2f} MB/s",
        ratio=to_validate,
        target="15",
    )
    yield Row(
        step="two cores",
        measured=f"{two:.2f} s",
        ceiling=f"one core {one:.2f} s",
        ratio=to_two,
        target="1.7",
    )


def memory(place: Path, a: argparse.Namespace) -> Iterator[Row]:
    """Peak memory, and whether it grows with the input."""
    half = argparse.Namespace(**{**vars(a), "megabytes": max(1, a.megabytes // 4)})
    _, small = _ingest(place, [_repeated(place / "quarter", half)], cores=2)
    _, large = _ingest(place, [_repeated(place / "records", a)], cores=2)
    yield Row(
        step=f"peak memory on {a.megabytes} MB",
        measured=f"{large / 2**20:.0f} MiB",
        ceiling=f"on a quarter of it {small / 2**20:.0f} MiB",
        ratio=large / small,
        target="1 (under 2 GiB)",
    )


def addition(place: Path, a: argparse.Namespace) -> Iterator[Row]:
    """1 % new patients into a store that is there, and a day's changes, against ingesting all.

    And what memory it took to ingest all.
    """
    source = _repeated(place / "records", a)
    store, size = place / "store", _bytes(source)
    whole, peak = _ingest(place, [source], cores=2, keep=True)
    yield Row(
        step=f"peak memory on {size / MB:.0f} MB",
        measured=f"{peak / 2**20:.0f} MiB",
        ceiling="2 GiB",
        ratio=peak / 2**31,
        target="at most 1",
    )
    store.rename(place / "kept")
    store.with_name("store.raw").rename(place / "kept.raw")
    for step, write in (("new patients", write_new_patients), ("a day", write_a_day)):
        more = place / step.replace(" ", "-")
        new = write(source, more, 0.01)

        def add(more: Path = more) -> float:
            for ending in ("", ".raw"):
                shutil.rmtree(store.with_name(f"store{ending}"), ignore_errors=True)
                shutil.copytree(place / f"kept{ending}", store.with_name(f"store{ending}"))
            return _ingest(place, [more], cores=2, keep=True, onto=True)[0]

        added = _best(a, add)
        yield Row(
            step=f"{step}: {new / size:.1%} of {size / MB:.0f} MB",
            measured=f"{added:.2f} s",
            ceiling=f"full ingest {whole:.2f} s",
            ratio=added / whole,
            target="at most 0.03",
        )


def films(place: Path, a: argparse.Namespace) -> Iterator[Row]:
    """DICOM to store images against bare decoding; headers against bare `dcmread`."""
    source = place / "films"
    _child("make_films", source, cores=2)
    patients = place / "film-patients.ndjson"
    lines = [{"resourceType": "Patient", "id": f"p{i}"} for i in range(FILMS)]
    patients.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    alone = _best(a, lambda: _ingest(place, [patients], cores=1)[0])
    whole = _best(a, lambda: _ingest(place, [patients, source], cores=1)[0])
    for words, work in (("", "decode"), (" + PNG, as the store has it", "decode_and_save")):
        bare = _best(a, lambda work=work: _child(work, source, cores=1)[0])
        yield Row(
            step="DICOM → store image, one core",
            measured=f"{FILMS / (whole - alone):.1f} films/s",
            ceiling=f"pydicom decode + resize{words} {FILMS / bare:.1f} films/s",
            ratio=bare / (whole - alone),
            target="0.8",
        )
    headers = place / "headers"
    _child("make_headers", headers, cores=2)
    bare = _best(a, lambda: _child("read_headers", headers, cores=1)[0])
    ours = _best(a, lambda: _child("pass_headers", headers, cores=1)[0])
    yield Row(
        step=f"headers of {HEADERS} DICOM files",
        measured=f"{HEADERS / ours:.0f} files/s",
        ceiling=f"dcmread(stop_before_pixels) {HEADERS / bare:.0f} files/s",
        ratio=bare / ours,
        target="0.8",
    )


def upload(place: Path, a: argparse.Namespace) -> Iterator[Row]:
    """One patient's Bundle of 500 resources at serving time."""
    bundle = place / "bundle.json"
    bundle.write_text(json.dumps(_bundle()), "utf-8")
    seconds, _ = _child("serve_bundle", bundle, cores=1)
    yield Row(
        step="one patient's Bundle, 500 resources",
        measured=f"{seconds * 1e3:.0f} ms",
        ceiling="100 ms",
        ratio=seconds / 0.1,
        target="at most 1",
    )


STEPS = {
    "records": records,
    "memory": memory,
    "addition": addition,
    "films": films,
    "upload": upload,
}
FILMS = 150
HEADERS = 10_000


# What runs in a child process, with nothing else ------------------------------------------------


def child(name: str, path: Path) -> tuple[float, float]:
    """Run one piece of work; give its seconds and one more figure."""
    return WORK[name](path)


def _work_parse(path: Path) -> tuple[float, float]:
    import orjson

    lines = [line for file in sorted(path.rglob("*.ndjson")) for line in file.open("rb")]
    begun = time.perf_counter()
    for line in lines:
        orjson.loads(line)
    return time.perf_counter() - begun, 0


def _work_validate(path: Path) -> tuple[float, float]:
    """Validate a sample: every hundredth line, at most 10 s."""
    from fhir.resources.R4B import get_fhir_model_class

    begun, size, number = time.perf_counter(), 0, 0
    for file in sorted(path.rglob("*.ndjson")):
        for line in file.open("rb"):
            number += 1
            if number % 100 or time.perf_counter() - begun > 10:
                continue
            content = json.loads(line)
            model = get_fhir_model_class(content["resourceType"])
            with contextlib.suppress(ValueError):
                model.model_validate(content)
            size += len(line)
    return time.perf_counter() - begun, size


def _work_make_films(path: Path) -> tuple[float, float]:
    path.mkdir()
    rng = np.random.default_rng(0)
    for number in range(FILMS):
        smooth = rng.normal(size=(40, 32)).repeat(64, 0).repeat(64, 1)
        noise = rng.normal(size=smooth.shape)
        pixels = np.clip(2000 + 500 * smooth + 40 * noise, 0, 4095).astype(np.uint16)
        _write_dicom(path / f"{number}.dcm", number, pixels)
    return 0, 0


def _work_make_headers(path: Path) -> tuple[float, float]:
    path.mkdir()
    for number in range(HEADERS):
        _write_dicom(path / f"{number}.dcm", number, np.zeros((64, 64), np.uint16))
    return 0, 0


def _work_decode(path: Path, target: Path | None = None) -> tuple[float, float]:
    import pydicom
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    files = sorted(path.iterdir())
    begun = time.perf_counter()
    for file in files:
        dataset = pydicom.dcmread(file)
        pixels = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
        low, high = float(pixels.min()), float(pixels.max())
        grey = ((pixels - low) * (255 / max(high - low, 1))).astype(np.uint8)
        image = Image.fromarray(grey)
        image.thumbnail((512, 512))
        if target is not None:
            image.save(target)
    return time.perf_counter() - begun, 0


def _work_decode_and_save(path: Path) -> tuple[float, float]:
    return _work_decode(path, path.parent / "decoded.png")


def _work_read_headers(path: Path) -> tuple[float, float]:
    import pydicom

    files = sorted(path.iterdir())
    begun = time.perf_counter()
    for file in files:
        pydicom.dcmread(file, stop_before_pixels=True)
    return time.perf_counter() - begun, 0


def _work_pass_headers(path: Path) -> tuple[float, float]:
    """As ingest and check do it: through the limited child, pipe and JSON included."""
    from ingest.image_store import ImageStore
    from ingest.landing import LandedFile

    files = [
        LandedFile(id="", path=file, name=file.name, kind="dicom", size=4096, sha256="")
        for file in sorted(path.iterdir())
    ]
    with ImageStore(None) as store:
        list(store.describe(files[:1]))  # the child's start, once an ingest, is not a header's
        begun = time.perf_counter()
        told = [header for _, header in store.describe(files)]
        seconds = time.perf_counter() - begun
    if any(isinstance(header, tuple) for header in told):
        raise RuntimeError("a header was refused")
    return seconds, 0


def _work_serve_bundle(path: Path) -> tuple[float, float]:
    """As the page does it: in a child of its own that was made ready while nobody waited."""
    from serve.ready import ReadyChild
    from serve.upload import UploadLimits, child_caps, uploaded_store

    seconds = []
    with contextlib.closing(ReadyChild(child_caps(UploadLimits()))) as ready:
        for _ in range(5):
            ready.prepare()
            if not ready.wait(60):
                raise RuntimeError("no child was made ready")
            begun = time.perf_counter()
            with uploaded_store([path], ready=ready):
                seconds.append(time.perf_counter() - begun)
    return min(seconds), 0


def _work_ingest(path: Path) -> tuple[float, float]:
    import resource

    import ingest.cohort  # imports are not what is measured
    from ingest.build import ingest

    asked = json.loads(path.read_text("utf-8"))
    begun = time.perf_counter()
    ingest([Path(source) for source in asked["sources"]], Path(asked["store"]), public=True)
    seconds = time.perf_counter() - begun
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


WORK: dict[str, Callable[[Path], tuple[float, float]]] = {
    name.removeprefix("_work_"): work
    for name, work in list(globals().items())
    if name.startswith("_work_")
}


# How it is measured -----------------------------------------------------------------------------


def _best(a: argparse.Namespace, measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(a.repeats))


def _child(name: str, path: Path, *, cores: int) -> tuple[float, float]:
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    code = (
        f"import os; os.sched_setaffinity(0, {allowed})\n"
        "from pathlib import Path\nfrom tests.benchmarks.ingest import child\n"
        f"print(*child({name!r}, Path({str(path)!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    seconds, more = done.stdout.split()[-2:]
    return float(seconds), float(more)


def _ingest(
    place: Path, sources: list[Path], *, cores: int, keep: bool = False, onto: bool = False
) -> tuple[float, float]:
    """Ingest in a child; give seconds (without imports) and peak bytes of memory."""
    store = place / "store"
    if not onto:
        for left in (store, store.with_name("store.raw")):
            shutil.rmtree(left, ignore_errors=True)
    asked = place / "asked.json"
    asked.write_text(json.dumps({"sources": [str(s) for s in sources], "store": str(store)}))
    told = _child("ingest", asked, cores=cores)
    if not keep:
        for left in (store, store.with_name("store.raw")):
            shutil.rmtree(left, ignore_errors=True)
    return told


def _repeated(target: Path, a: argparse.Namespace, *, first: int = 0) -> Path:
    """Repeat the source's files with new ids until they have the megabytes; once a run."""
    if target.exists():
        return target
    if a.source is None:
        _simulated(target, a)
        return target
    target.mkdir()
    files = sorted([*a.source.rglob("*.ndjson"), *a.source.rglob("*.ndjson.gz")])
    texts = {}
    for file in files:
        with open_bytes(file) as handle:
            texts[file.name.removesuffix(".gz")] = handle.read()
    copies = max(1, round(a.megabytes * MB / sum(map(len, texts.values()))))
    for name, text in texts.items():
        with (target / name).open("wb") as out:
            for copy in range(first, first + copies):
                # The last four digits say which copy: references go on to match.
                mark = f"{copy:04x}".encode()
                out.write(UUID.sub(lambda found, m=mark: found.group()[:-4] + m, text))
    return target


def _simulated(target: Path, a: argparse.Namespace) -> None:
    from ingest.simulate import simulate

    hospital = target.with_name(target.name + "-hospital")
    simulate(hospital, patients=max(60, a.megabytes * 60), seed=len(target.name))
    (hospital / "fhir").rename(target)


def _bytes(source: Path) -> int:
    return sum(file.stat().st_size for file in source.rglob("*.ndjson"))


def _write_dicom(file: Path, number: int, pixels: np.ndarray) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.1.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d = Dataset()
    d.file_meta = meta
    d.SOPClassUID = meta.MediaStorageSOPClassUID
    d.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    d.StudyInstanceUID = f"1.2.826.0.1.3680043.10.2.{number}"
    d.SeriesInstanceUID = f"1.2.826.0.1.3680043.10.3.{number}"
    d.PatientID, d.Modality, d.ViewPosition = f"p{number % FILMS}", "DX", "PA"
    d.AcquisitionDate, d.AcquisitionTime = "20200101", "120000"
    d.Rows, d.Columns = pixels.shape
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    d.WindowCenter, d.WindowWidth = 2048, 4096
    d.PixelData = pixels.tobytes()
    d.save_as(file, enforce_file_format=True)


def _bundle() -> dict[str, object]:
    who = {"reference": "Patient/p"}
    loinc = {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}
    observations = [
        {
            "resourceType": "Observation",
            "id": f"o{number}",
            "status": "final",
            "code": loinc,
            "subject": who,
            "effectiveDateTime": f"20{number % 20:02}-01-01T08:00:00Z",
            "valueQuantity": {"value": 100 + number % 60, "unit": "mm[Hg]"},
        }
        for number in range(499)
    ]
    patient = {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-01-01"}
    entries = [{"resource": resource} for resource in [patient, *observations]]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


if __name__ == "__main__":
    main()
