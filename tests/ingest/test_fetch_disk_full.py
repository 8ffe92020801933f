"""A disk that is really full while servers are asked: it ends, and with room nothing is lost."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.bulk_export import export_bulk
from ingest.dicomweb import fetch_dicomweb
from ingest.fhir_server import fetch_fhir
from tests.servers.dicomweb import dicom_server
from tests.servers.fetches import landed_keys, quick
from tests.servers.fhir import FhirServer, fhir_server
from tests.servers.ward import ward
from tests.small_disk import resize, small_disk, used

WARD = 12


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as place:
        yield place


def fill_and_go_on(
    disk: Path, fetch: Callable[[Path], Any], content: Callable[[Path], Any]
) -> None:
    """Ask with a fifth, half and most of the room that is needed, and then with enough."""
    fetch(disk / "in")
    whole, size = content(disk / "in"), used(disk)
    shutil.rmtree(disk / "in")
    for share in (0.2, 0.5, 0.8):
        resize(disk, int(size * share))
        with pytest.raises(OSError, match="No space left"):
            fetch(disk / "in")
        resize(disk, 64 * 1024)
        fetch(disk / "in")
        assert content(disk / "in") == whole
        shutil.rmtree(disk / "in")


def keys_of(server: FhirServer) -> Counter[str]:
    return Counter(dict.fromkeys(server.all(), 1))


@pytest.mark.parametrize("ask", [fetch_fhir, export_bulk])
def test_records_are_whole_once_there_is_room(disk: Path, ask: Callable[..., Any]) -> None:
    kept: list[Any] = []
    who = {"patients": [f"p{n}" for n in range(1, WARD + 1)]} if ask is fetch_fhir else {}

    def fetch(into: Path) -> None:
        kept[:] = [ask(server.url, into, patience=quick()[0], workers=1, **who)]

    with fhir_server() as server:
        server.put(*ward(WARD))
        fill_and_go_on(disk, fetch, lambda _: landed_keys(kept[0]))
        fetch(disk / "in")
        assert landed_keys(kept[0]) == keys_of(server)


def test_films_are_whole_once_there_is_room(disk: Path) -> None:
    def fetch(into: Path) -> None:
        fetch_dicomweb(server.url, into, patience=quick()[0], workers=2)

    def content(place: Path) -> list[bytes]:
        return sorted(film.read_bytes() for film in place.rglob("*.dcm"))

    with dicom_server() as server:
        films = server.ward(WARD)
        fill_and_go_on(disk, fetch, content)
        fetch(disk / "in")
        assert content(disk / "in") == sorted(film.content for film in films)
