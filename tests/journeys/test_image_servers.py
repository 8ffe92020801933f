"""From a FHIR server's records and a DICOMweb server's films to a store, by the command line."""

import json
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ingest.landing import RawZone
from ingest.origins import SourceError
from ingest.remote import Remote, land_images
from ingest.signing import ClientCredentials
from serve.cli import main
from tests.servers.dicomweb import DicomServer, dicom_server
from tests.servers.fhir import FhirServer, fhir_server
from tests.servers.tokens import Tokens
from tests.servers.ward import ward

SECRET, OTHERS = "s3cret", "an0ther"
GIVEN = "a-token"


def study(name: str, patient: str, uid: str) -> dict[str, Any]:
    return {
        "resourceType": "ImagingStudy",
        "id": name,
        "status": "available",
        "subject": {"reference": f"Patient/{patient}"},
        "started": "2020-05-05T11:00:00Z",
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}],
    }


def fill(server: FhirServer, pacs: DicomServer) -> None:
    """Hold three studies, two of which the records of two patients name."""
    pacs.ward(3, 1, 2)
    server.put(*ward(2, 1), study("s1", "p1", "1.2.840.99.1"), study("s2", "p2", "1.2.840.99.2"))


def take(server: FhirServer, store: Path, *more: str) -> int:
    return main(["ingest", server.url, "--store", str(store), "--public", "--quiet", *more])


def films(store: Path) -> list[tuple[int, int]]:
    """Count the images of each subject that has a record, too."""
    return duckdb.execute(
        "SELECT count(*) FILTER (code LIKE 'IMAGE//%') AS images,"
        " count(*) FILTER (code NOT LIKE 'IMAGE//%') > 0 AS records"
        " FROM read_parquet($data) GROUP BY subject_id HAVING images > 0 ORDER BY ALL",
        {"data": str(store / "data" / "*.parquet")},
    ).fetchall()


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """Put each secret into a file, since others see command lines."""
    contents = {"SECRET": SECRET, "OTHERS": OTHERS, "GIVEN": GIVEN}
    for name, content in contents.items():
        (tmp_path / name).write_text(f"{content}\n", "utf-8")
    return {name: str(tmp_path / name) for name in contents}


def test_the_films_of_the_records_studies_join_them_and_come_once(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with fhir_server() as server, dicom_server() as pacs:
        fill(server, pacs)
        assert take(server, store, "--dicomweb", pacs.url) == 0
        assert films(store) == [(2, True), (2, True)]
        assert len(pacs.layer.seen("instance")) == 4
        asked, before = len(server.layer.asked), len(pacs.layer.asked)
        assert take(server, store, "--dicomweb", pacs.url) == 0
        assert len(server.layer.asked) == asked
        # Studies may have grown, so they are listed again; no film is asked for a second time.
        assert {a.label for a in pacs.layer.seen()[before:]} == {"series", "instances"}
        assert films(store) == [(2, True), (2, True)]
    assert main(["store", "verify", str(store)]) == 0


def test_a_search_of_studies_takes_the_place_of_those_that_the_records_name(tmp_path: Path) -> None:
    with fhir_server() as server, dicom_server() as pacs:
        fill(server, pacs)
        pacs.film("2", "9", "1", Modality="CT")
        search = "ModalitiesInStudy=CT"
        assert take(server, tmp_path / "s", "--dicomweb", pacs.url, "--studies", search) == 0
        assert {a.query.split("&")[0] for a in pacs.layer.seen("studies")} == {search}
        paths = {a.path.split("/")[3] for a in pacs.layer.seen("instance")}
        assert paths == {"1.2.840.99.2"}


@pytest.mark.parametrize("how", ["token", "client"])
def test_an_open_archive_elsewhere_sees_no_token_of_the_fhir_server(
    tmp_path: Path, secrets: dict[str, str], how: str
) -> None:
    tokens = Tokens(secret=SECRET)
    tokens.given[GIVEN] = time.monotonic() + 600
    options = {
        "token": ["--token", secrets["GIVEN"]],
        "client": ["--client-id", "medweave", "--client-secret", secrets["SECRET"]],
    }[how]
    with fhir_server(tokens=tokens) as server, dicom_server() as pacs:
        fill(server, pacs)
        assert take(server, tmp_path / "s", "--dicomweb", pacs.url, *options) == 0
        assert {a.token for a in pacs.layer.seen()} == {None}
        assert "discovery" not in {a.label for a in pacs.layer.seen()}
        assert len(pacs.layer.seen("instance")) == 4
        assert all(a.token for a in server.layer.seen("search", "everything"))


@pytest.mark.parametrize("how", ["token", "client", "key"])
def test_an_archive_elsewhere_is_asked_with_its_own_token(
    tmp_path: Path, secrets: dict[str, str], how: str
) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    own = Tokens(public_key=key.public_key()) if how == "key" else Tokens(secret=OTHERS)
    own.given[GIVEN] = time.monotonic() + 600
    with fhir_server(tokens=Tokens(secret=SECRET)) as server, dicom_server(tokens=own) as pacs:
        fill(server, pacs)
        at = ["--dicomweb-client-id", "medweave", "--dicomweb-token-url"]
        client = [*at, f"{pacs.origin}/fhir/token"]
        options = {
            "token": ["--dicomweb-token", secrets["GIVEN"]],
            "client": [*client, "--dicomweb-client-secret", secrets["OTHERS"]],
            "key": [*client, "--dicomweb-client-key", str(pem)],
        }[how]
        options += ["--client-id", "medweave", "--client-secret", secrets["SECRET"]]
        assert take(server, tmp_path / "s", "--dicomweb", pacs.url, *options) == 0
        assert len(pacs.layer.seen("instance")) == 4
        words = {str(a.token).removeprefix("Bearer ") for a in pacs.layer.seen("instance")}
        assert words <= set(own.given)
        assert not words & set(server.tokens.given if server.tokens else ())


def test_an_archive_elsewhere_that_wants_a_token_says_which_option_gives_it(
    tmp_path: Path, secrets: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = Tokens(secret=SECRET)
    tokens.given[GIVEN] = time.monotonic() + 600
    with fhir_server(tokens=tokens) as server, dicom_server(tokens=Tokens(secret=OTHERS)) as pacs:
        fill(server, pacs)
        options = ["--token", secrets["GIVEN"], "--dicomweb", pacs.url]
        assert take(server, tmp_path / "s", *options) == SourceError.exit_code
        assert "give its own (--dicomweb-token" in capsys.readouterr().err
        assert {a.token for a in pacs.layer.seen()} == {None}


def test_an_archive_of_the_fhir_servers_origin_shares_its_token(tmp_path: Path) -> None:
    auth = ClientCredentials(client_id="medweave", secret=SECRET)
    with dicom_server(tokens=Tokens(secret=SECRET)) as pacs:
        pacs.ward(1, 1, 2)
        remote = Remote(images=pacs.url, image_search="PatientID=1", auth=auth)
        # The origin's FHIR server says where tokens are given; the archive has no such word.
        land_images(RawZone(tmp_path / "raw"), remote, [], servers=[f"{pacs.origin}/fhir"])
        assert len(pacs.layer.seen("instance")) == 2
        assert all(asked.token for asked in pacs.layer.seen("studies", "series", "instance"))


def test_where_no_fhir_server_is_asked_the_token_is_the_archives(
    tmp_path: Path, secrets: dict[str, str]
) -> None:
    lines = tmp_path / "records.ndjson"
    records = [*ward(1), study("s1", "p1", "1.2.840.99.1")]
    lines.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    tokens = Tokens(secret=SECRET)
    tokens.given[GIVEN] = time.monotonic() + 600
    with dicom_server(tokens=tokens) as pacs:
        pacs.ward(1, 1, 2)
        store = ["--store", str(tmp_path / "store"), "--public", "--quiet"]
        options = ["--dicomweb", pacs.url, "--token", secrets["GIVEN"]]
        assert main(["ingest", str(lines), *store, *options]) == 0
    assert films(tmp_path / "store") == [(2, True)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dicomweb-token", "GIVEN"], "give it by --dicomweb"),
        (["--dicomweb", "pacs.example.org/dicom-web"], "--dicomweb is the http or https URL"),
        (
            ["--dicomweb-token", "GIVEN", "--dicomweb-client-key", "GIVEN"],
            "give one of --dicomweb-",
        ),
        (["--dicomweb-client-secret", "GIVEN"], "needs --dicomweb-client-id"),
        (["--dicomweb-token-url", "https://x"], "--dicomweb-token-url needs --dicomweb-client-"),
        (
            ["--dicomweb-client-secret", "GIVEN", "--dicomweb-client-id", "me"],
            "--dicomweb-client-secret needs --dicomweb-token-url",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path,
    secrets: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    given = [secrets.get(option, option) for option in options]
    url = "http://127.0.0.1:9/fhir"
    assert main(["ingest", url, "--store", str(tmp_path / "s"), *given]) == 2
    assert words in capsys.readouterr().err
