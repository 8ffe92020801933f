"""Write what lands on a store that is there: new patients, or a day of patients that it knows.

Both are made of the NDJSON that the store was built from, line by line. Resources that belong to no
patient (drugs, places) stay as they are: what is new refers to them.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["write_a_day", "write_new_patients"]

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PATIENT = re.compile(rb'"reference"\s*:\s*"(?:Patient/|urn:uuid:)([^"]+)"')
_ID = re.compile(rb'"id"\s*:\s*"([^"]+)"')
_TYPE = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]+)"')
_UPDATED = re.compile(rb'"lastUpdated"\s*:\s*"[^"]*"')
_IN_HOSPITAL = 10
"""One in so many patients has new records on a day."""


def write_new_patients(source: Path, target: Path, share: float) -> int:
    """Write patients of the source under new ids until they have the share of its bytes."""
    wanted = share * sum(file.stat().st_size for file in source.glob("*.ndjson"))
    sizes: dict[bytes, int] = {}
    for _, line, patient in _lines(source):
        sizes[patient] = sizes.get(patient, 0) + len(line)
    shared = {_ID.search(line)[1] for _, line, _ in _lines(source, of_nobody=True)}  # type: ignore[index]
    chosen, size = set(), 0
    for patient in sorted(sizes, key=lambda p: sizes[p]):
        if size + sizes[patient] / 2 > wanted:
            break
        chosen.add(patient)
        size += sizes[patient]

    def renamed(found: re.Match[bytes]) -> bytes:
        return found[0] if found[0] in shared else found[0][:-4] + b"fade"

    return _write(
        source, target, lambda line, patient: [_UUID.sub(renamed, line)] * (patient in chosen)
    )


def write_a_day(source: Path, target: Path, share: float) -> int:
    """Write newer versions of the share of old records, and as many new ones, of few patients."""
    patients = sorted({patient for _, _, patient in _lines(source)})
    here = set(patients[::_IN_HOSPITAL])
    step = max(
        1,
        round(
            sum(patient in here for _, _, patient in _lines(source))
            / max(1, share * sum(1 for _ in _lines(source)))
        ),
    )
    number = 0

    def day(line: bytes, patient: bytes) -> list[bytes]:
        nonlocal number
        number += patient in here
        if patient not in here or number % step:
            return []
        newer = b'"lastUpdated":"2199-01-01T00:00:00Z"'
        again = (
            _UPDATED.sub(newer, line)
            if _UPDATED.search(line)
            else line.replace(b"{", b'{"meta":{' + newer + b"},", 1)
        )
        kind = _TYPE.search(line)
        if kind is None or kind[1] == b"Patient":
            return [again]
        made = _ID.sub(lambda found: found[0][:-5] + b'feed"', line, count=1)
        return [again, made]

    return _write(source, target, day)


def _lines(source: Path, *, of_nobody: bool = False) -> Iterator[tuple[Path, bytes, bytes]]:
    """Give file, line and patient of each line that is somebody's, or of nobody's."""
    for file in sorted(source.glob("*.ndjson")):
        with file.open("rb") as handle:
            for line in handle:
                patient = _patient_of(line)
                if of_nobody != bool(patient) and _ID.search(line):
                    yield file, line, patient


def _patient_of(line: bytes) -> bytes:
    kind = _TYPE.search(line)
    found = (_ID if kind and kind[1] == b"Patient" else _PATIENT).search(line)
    return found[1] if found else b""


def _write(source: Path, target: Path, make: Callable[[bytes, bytes], list[bytes]]) -> int:
    """Write what is made of each line under its file's name; give the bytes."""
    target.mkdir(parents=True)
    size = 0
    for file, line, patient in _lines(source):
        made = make(line, patient)
        if made:
            with (target / file.name).open("ab") as out:
                size += out.write(b"".join(made))
    return size
