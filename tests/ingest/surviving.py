"""Look for planted identifiers in all that a command wrote and printed."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pydicom


def squash(text: str) -> str:
    """Leave letters and digits alone, without accents: what a reader would see through."""
    text = unicodedata.normalize("NFKD", text.lower().replace("\u00ad", ""))
    return re.sub(r"[\W_]", "", "".join(c for c in text if not unicodedata.combining(c)))


def contents(place: Path) -> Iterator[tuple[str, str]]:
    """Give what stands in each file under a place, as text: Parquet and DICOM decoded."""
    for path in sorted(place.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(place).as_posix()
        yield name, name
        raw = path.read_bytes()
        yield name, raw.decode("latin-1")
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            for column in table.column_names:
                for value in table[column].to_pylist():
                    yield f"{name}:{column}", str(value)
            yield name, str(table.schema.metadata)
        elif path.suffix == ".dcm":
            yield name, str(pydicom.dcmread(path))


def survivors(needles: dict[str, str], texts: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Give what is found, and where: kinds and places, for a failure is printed."""
    places: dict[str, list[str]] = {}
    for name, text in texts:
        places.setdefault(name, []).append(text)
    found: set[tuple[str, str]] = set()
    for name, parts in places.items():
        seen = "\0".join(f"{squash(part)}\1{part.lower()}" for part in dict.fromkeys(parts))
        found |= {(kind, name) for needle, kind in needles.items() if _stands_in(seen, needle)}
    return found


def _stands_in(seen: str, needle: str) -> bool:
    if needle.isdigit() and len(needle) < 7:  # a UID may have the same five digits
        return re.search(rf"(?<![\d.]){needle}(?![\d.])", seen) is not None
    typed = needle.lower()
    for letter, spelled in (("ä", "ae"), ("ö", "oe"), ("ü", "ue")):
        typed = typed.replace(letter, spelled)
    return any(form in seen for form in (needle.lower(), squash(needle), squash(typed)))
