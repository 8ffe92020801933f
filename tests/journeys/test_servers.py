"""From a server's URL to a store, by the command line."""

import json
import time
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ingest.origins import SourceError
from ingest.patience import Patience
from serve.cli import main
from tests.servers.fhir import FhirServer, Habits, fhir_server
from tests.servers.tokens import Tokens
from tests.servers.ward import note, ward


def events(store: Path) -> list[tuple]:
    return duckdb.execute(
        "SELECT * EXCLUDE (source) FROM read_parquet($data) ORDER BY ALL",
        {"data": str(store / "data" / "*.parquet")},
    ).fetchall()


def take(server: FhirServer, store: Path, *more: str) -> int:
    return main(["ingest", server.url, "--store", str(store), "--public", "--quiet", *more])


def test_a_server_gives_the_store_that_its_records_in_a_file_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patients = tmp_path / "patients.txt"
    patients.write_text("p1\nPatient/p2\n\nurn:mrn|MRN-3\n", "utf-8")
    with fhir_server(habits=Habits(export_polls=0)) as server:
        server.put(*ward(3))
        lines = tmp_path / "ward.ndjson"
        lines.write_text("".join(json.dumps(r) + "\n" for r in ward(3)), "utf-8")
        assert take(server, tmp_path / "served", "--patients", str(patients)) == 0
        assert take(server, tmp_path / "exported", "--export", "system") == 0
        capsys.readouterr()
        assert main(["ingest", str(lines), "--store", str(tmp_path / "filed"), "--public"]) == 0
        filed = events(tmp_path / "filed")
        assert len(filed) > 10
        assert events(tmp_path / "served") == filed
        assert events(tmp_path / "exported") == filed
        asked = len(server.layer.asked)
        assert asked > 3
        assert take(server, tmp_path / "served", "--patients", str(patients)) == 0
        assert events(tmp_path / "served") == filed
        assert len(server.layer.asked) == asked  # what landed is not asked for again
    for name in ("served", "exported", "filed"):
        assert main(["store", "verify", str(tmp_path / name)]) == 0
    capsys.readouterr()
    page = tmp_path / "store.html"
    assert main(["store", "info", str(tmp_path / "served"), "--page", str(page)]) == 0
    assert capsys.readouterr().out.startswith("3 subjects")
    assert "<svg" in page.read_text("utf-8")


def values(store: Path) -> list[float]:
    return [
        row[0]
        for row in duckdb.execute(
            "SELECT numeric_value FROM read_parquet($data) WHERE code LIKE 'LOINC%' ORDER BY ALL",
            {"data": str(store / "data" / "*.parquet")},
        ).fetchall()
    ]


def amend(server: FhirServer, day: str, value: float) -> None:
    """Let a value of p1 be amended on a day, and another one be measured, one higher."""
    old = server.resources["Observation"]["p1-o1"]
    old = {**old, "meta": {"lastUpdated": f"{day}T00:00:00Z"}, "status": "amended"}
    amended, new = ({"value": value + more, "code": "mm[Hg]"} for more in (0, 1))
    server.put({**old, "valueQuantity": amended})
    server.put({**old, "valueQuantity": new, "status": "final", "id": f"new-{day}"})


@pytest.mark.parametrize("since", ["2023-01-01", "2023-01-01T00:00:00Z"])
@pytest.mark.parametrize("how", ["--search", "--export"])
def test_what_the_server_changed_since_is_added_to_the_store(
    tmp_path: Path, how: str, since: str
) -> None:
    store = tmp_path / "store"
    asking = [how, "Patient?gender=female" if how == "--search" else "system"]
    with fhir_server(habits=Habits(everything=False, export_polls=0)) as server:
        server.put(*ward(1))
        assert take(server, store, *asking) == 0
        assert values(store) == [120, 121, 122, 123, 124]
        amend(server, "2024-01-01", 200)
        assert take(server, store, *asking, "--since", since) == 0
    assert values(store) == [120, 122, 123, 124, 200, 201]


@pytest.mark.parametrize("how", ["--search", "--export"])
def test_the_next_time_asks_for_what_changed_since_the_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    store = tmp_path / "store"
    asking = [how, "Patient?gender=female" if how == "--search" else "system"]
    with fhir_server(habits=Habits(everything=False, export_polls=0)) as server:
        server.put(*ward(1))
        assert take(server, store, *asking, "--since", "last") == 2
        assert "no fetch from this server that asked the same" in capsys.readouterr().err
        for month in range(1, 4):
            server.now = f"2024-0{month}-02T08:00:00Z"
            asked = len(server.layer.asked)
            again = ["--since", "last"] if month > 1 else []
            assert take(server, store, *asking, *again) == 0
            now = f"2024-0{month}-02T08:00:00+00:00"
            assert f"answered until {now}" in capsys.readouterr().out.splitlines()[-1]
            report = json.loads((store / "ingest_report.json").read_text("utf-8"))
            assert report["answered_until"] == now
            queries = " ".join(unquote(a.query) for a in server.layer.asked[asked:])
            # A little earlier than the last answer, for what was committed late.
            assert (f"2024-0{month - 1}-02T07:55:00+00:00" in queries) is (month > 1)
            # The day before the next time: whoever then asked since any earlier time than the last
            # would be given it again.
            amend(server, f"2024-0{month + 1}-01", 100 * month)
        assert values(store) == [101, 120, 122, 123, 124, 200, 201]
        # What was asked first is answered as it was, and does not set the clock back.
        asked = len(server.layer.asked)
        assert take(server, store, *asking) == 0
        assert len(server.layer.asked) == asked
        assert "answered until 2024-03-02" in capsys.readouterr().out
        other = ["--search", "Patient"] if how == "--search" else [*asking, "--type", "Observation"]
        assert take(server, store, *other, "--since", "last") == 2


def flags(place: Path, server: FhirServer, other: FhirServer) -> dict[str, list[str]]:
    """Give options by name, with the files that they name."""
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    written = {"secret": b"s3cret\n", "token": b"a-token\n", "key": pem, "patients": b"p2\n"}
    for name, content in written.items():
        (place / name).write_bytes(content)
    assert server.tokens is not None
    server.tokens.public_key = key.public_key()
    server.tokens.given["a-token"] = time.monotonic() + 600
    client = ["--client-id", "medweave"]
    return {
        "secret": [*client, "--client-secret", str(place / "secret"), "--scope", "system/*.rs"],
        "key": [*client, "--client-key", str(place / "key"), "--token-url", f"{server.url}/token"],
        "token": ["--token", str(place / "token")],
        "origin": ["--allow-origin", other.origin],
        "patients": ["--patients", str(place / "patients")],
        "search": ["--search", "Patient?gender=female"],
        "include": ["--include", "Observation:device", "_revinclude=Provenance:target:Condition"],
        "type": ["--type", "Patient", "Condition"],
        "level": ["--export", "group/7", "--type", "Patient", "--since", "2019-01-01"],
    }


@pytest.mark.parametrize(
    ("given", "label", "seen"),
    [
        ("secret", "token", "POST /fhir/token? Basic "),
        ("key", "token", "POST /fhir/token? None"),
        ("key", "search", "Bearer "),
        ("token", "search", "Bearer a-token"),
        ("token origin", "attachment", "GET /files/note.txt? None"),
        ("token patients", "everything", "GET /fhir/Patient/p2/$everything?"),
        ("token search", "search", "GET /fhir/Patient?gender=female&"),
        ("token include", "search", "GET /fhir/Observation?_include=Observation:device&"),
        ("token include", "search", "GET /fhir/Condition?_revinclude=Provenance:target:Condition&"),
        ("token type", "search", "GET /fhir/Condition?"),
        (
            "token level",
            "export",
            "GET /fhir/Group/7/$export?_type=Patient&_since=2019-01-01T00:00:00+00:00 ",
        ),
    ],
)
def test_what_the_options_say_reaches_the_server(
    tmp_path: Path, given: str, label: str, seen: str
) -> None:
    tokens = Tokens(secret=None if given == "key" else "s3cret")
    habits = Habits(export_polls=0)
    with fhir_server() as other, fhir_server(tokens=tokens, habits=habits) as server:
        other.attachments["note.txt"] = ("text/plain", b"Stable.")
        server.put(*ward(2, 1), note("doc", "p1", f"{other.origin}/files/note.txt"))
        options = flags(tmp_path, server, other)
        asked = [option for name in given.split() for option in options[name]]
        assert take(server, tmp_path / "store", *asked) == 0
        found = [*server.layer.seen(label), *other.layer.seen(label)]
        told = [f"{a.method} {a.path}?{unquote(a.query)} {a.token}" for a in found]
        assert any(seen in line for line in told), told
        assert {a.label for a in other.layer.seen()} == ({"attachment"} & {label})
        if "type" in given:
            kinds = {a.path.rpartition("/")[2] for a in found}
            assert kinds == {"Patient", "Condition"}
        if given == "secret":
            assert tokens.scopes == ["system/*.rs"]
        # Where tokens are given is asked of the server, unless it was said.
        assert len(server.layer.seen("discovery")) == (given == "secret")


def test_a_second_server_is_refused_since_its_ids_may_be_other_peoples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = Habits(export_polls=0)
    with fhir_server(habits=quick) as one, fhir_server(habits=quick) as other:
        one.put(*ward(1))
        other.put(*ward(2))
        assert take(one, tmp_path / "store", "--export", "system") == 0
        before = events(tmp_path / "store")
        assert take(other, tmp_path / "store", "--export", "system") == 2
        assert "make a store for each" in capsys.readouterr().err
        assert take(one, tmp_path / "store", "--export", "system") == 0
        assert events(tmp_path / "store") == before


def test_what_the_server_does_not_give_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patients = tmp_path / "patients.txt"
    patients.write_text("p1\nnobody\n", "utf-8")
    with fhir_server() as server:
        server.put(*ward(1))
        assert take(server, tmp_path / "store", "--patients", str(patients)) == 0
    printed = capsys.readouterr().out
    assert "asked for and not given by a server:" in printed
    report = json.loads((tmp_path / "store" / "ingest_report.json").read_text("utf-8"))
    assert sum(report["not_fetched"].values()) == 1


def test_a_server_that_is_not_there_has_an_exit_code_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = Patience(attempts=2, first_wait_s=0.01)
    monkeypatch.setattr("ingest.fetching.Patience", lambda: hasty)
    code = main(["ingest", "http://127.0.0.1:9/fhir", "--store", str(tmp_path / "s"), "--quiet"])
    told = capsys.readouterr().err
    assert code == SourceError.exit_code
    assert told.startswith("medweave ingest: ")
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--client-id", "me"], "--client-id needs"),
        (["--token", "TOKEN", "--client-secret", "TOKEN"], "give one of"),
        (["--client-secret", "TOKEN"], "needs --client-id"),
        (["--export", "system", "--search", "Patient"], "--export asks for everything"),
        (["--studies", "PatientID=1"], "give it by --dicomweb"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n", "utf-8")
    given = [str(token) if option == "TOKEN" else option for option in options]
    url = "http://127.0.0.1:9/fhir"
    assert main(["ingest", url, "--store", str(tmp_path / "s"), *given]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--since", "2026-01-01"], ["--search", "Patient"], ["--type", "Observation"]]
)
def test_what_is_asked_of_a_server_is_refused_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main(["ingest", str(tmp_path), "--store", str(tmp_path / "s"), *options]) == 2
    assert f"{options[0]} is asked of a FHIR server" in capsys.readouterr().err


def test_a_list_of_patients_in_another_encoding_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patients = tmp_path / "patients.txt"
    patients.write_text("p1\n", "utf-16")
    with fhir_server() as server:
        assert take(server, tmp_path / "store", "--patients", str(patients)) == 3
    said = capsys.readouterr().err
    assert said == f"medweave ingest: {patients} is no UTF-8 text; save it as UTF-8\n"
