"""Small DICOM files, tables and landed files for the tests of images and mappings."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ingest.landing import LandedFile, discover, kind_of
from ingest.schema import PROJECTED_COLUMNS

DX = "1.2.840.10008.5.1.4.1.1.1.1"


def film_dataset(values: np.ndarray, **tags: Any) -> Dataset:
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = DX
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = "1.2.3.4.5"
    film.Modality = "DX"
    film.PhotometricInterpretation = "MONOCHROME2"
    film.SamplesPerPixel = 1
    bits = 8 * values.itemsize
    film.BitsAllocated = film.BitsStored = bits
    film.HighBit = bits - 1
    film.PixelRepresentation = int(values.dtype.kind == "i")
    film.Rows, film.Columns = values.shape[-2:]
    if values.ndim == 3:
        film.NumberOfFrames = len(values)
    for keyword, value in tags.items():
        setattr(film, keyword, value)
    content = values.tobytes()
    vr = "OB" if bits == 8 else "OW"
    film.add_new("PixelData", vr, content + b"\0" * (len(content) % 2))
    return film


def write_film(path: Path, values: np.ndarray | None = None, **tags: Any) -> Path:
    if values is None:
        values = np.arange(64, dtype="<u2").reshape(8, 8) * 60
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some films are wrong on purpose
        film_dataset(values, **tags).save_as(path, enforce_file_format=True)
    return path


def write_slice(
    path: Path, place: float, value: int = 0, *, values: np.ndarray | None = None, **tags: Any
) -> Path:
    """An axial CT slice of one value, or of `values`, `place` mm up; its path makes its UID."""
    geometry: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": f"1.2.3.{int(hashlib.sha256(str(path).encode()).hexdigest()[:12], 16)}",
        "SeriesInstanceUID": "1.2.3.9",
        "Modality": "CT",
        "PatientID": "c",
        "StudyDate": "20240301",
        "StudyTime": "120000",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-10, -20, place],
        "PixelSpacing": [0.7, 0.5],
        "BitsStored": 12,
        "HighBit": 11,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": 40,
        "WindowWidth": 400,
    }
    values = np.full((4, 6), value, "<u2") if values is None else values
    return write_film(path, values, **{**geometry, **tags})


def land(directory: Path) -> list[LandedFile]:
    found = []
    for path, name in discover(directory):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(
            LandedFile(
                id=hashlib.sha256(name.encode()).hexdigest()[:8],
                path=path,
                name=name,
                kind=kind_of(path),
                size=path.stat().st_size,
                sha256=digest,
            )
        )
    return found


def open_tables() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    columns = ", ".join(f'"{name}" {kind}' for name, kind in PROJECTED_COLUMNS.items())
    con.execute(f"CREATE TABLE projected ({columns})")
    con.execute(
        "CREATE TABLE outcome (file VARCHAR, position BIGINT, status VARCHAR, detail VARCHAR)"
    )
    con.execute("CREATE TABLE undated (file VARCHAR, position BIGINT, type VARCHAR)")
    con.execute(
        "CREATE TABLE imaging_study (subject_key VARCHAR, study_uid VARCHAR, series_uids VARCHAR[],"
        " sop_uids VARCHAR[], accessions VARCHAR[], available TIMESTAMP, occurred TIMESTAMP)"
    )
    con.execute("CREATE TABLE patient_identifier (subject_key VARCHAR, value VARCHAR)")
    return con


def fates(con: duckdb.DuckDBPyConnection, files: list[LandedFile]) -> dict[str, tuple[str, str]]:
    """Give each file's outcome by name; fails unless there is exactly one."""
    names = {file.id: file.name for file in files}
    rows = con.execute("SELECT file, status, detail FROM outcome").fetchall()
    assert len(rows) == len({row[0] for row in rows})
    return {names[file]: (status, detail) for file, status, detail in rows}
