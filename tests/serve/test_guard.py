"""The guard: no client reads a file by its path, and no other machine's page reaches this one."""

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path

import fastapi
import gradio as gr
import httpx
import pytest

from ingest.errors import InputError, UsageError
from serve.app import build_app
from serve.guard import check_address, close_gradio_files, login_check, uploaded_files
from serve.page import build_page
from serve.upload import UploadLimits
from tests.serve.reception import FORM, GRADIO_LEAVES_LOOPS, Remembering, ask, blocks_of, running

SECRET = b"not for the client: 8f3a"


pytestmark = pytest.mark.filterwarnings(GRADIO_LEAVES_LOOPS)


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("elsewhere") / "secret.json"
    file.write_bytes(SECRET)
    return file


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Remembering:
    return Remembering(tmp_path_factory.mktemp("run"))


@pytest.fixture
def predictor(remembering: Remembering) -> Remembering:
    remembering.read.clear()
    remembering.paths.clear()
    return remembering


@pytest.fixture(scope="module")
def app(remembering: Remembering, uploads: Path) -> fastapi.FastAPI:
    return build_app(remembering, uploads)


@pytest.fixture(scope="module")
def client(app: fastapi.FastAPI) -> Iterator[httpx.Client]:
    with running(app) as client:
        yield client


def naming(path: object) -> list:
    return [[{"path": str(path), "meta": FORM, "orig_name": "x.json"}], "en", False]


def unguarded(predictor: Remembering, uploads: Path) -> fastapi.FastAPI:
    """The page as `mount_gradio_app` alone leaves it."""
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    app = fastapi.FastAPI()
    page = build_page(predictor, uploads, UploadLimits())
    return gr.mount_gradio_app(app, page, path="/", show_error=False, ssr_mode=False)


def test_a_mounted_page_without_the_guard_does_read_any_file(
    predictor: Remembering, uploads: Path, secret: Path
) -> None:
    """The control: were this to fail, the tests below would prove nothing."""
    app = unguarded(predictor, uploads)
    with running(app) as client:
        ask(client, app, "uploaded", naming(secret))
    assert predictor.read == [SECRET]


def test_gradios_own_check_once_closed_refuses_the_file(
    predictor: Remembering, uploads: Path, secret: Path
) -> None:
    app = unguarded(predictor, uploads)
    close_gradio_files(blocks_of(app))
    with running(app) as client:
        _, told = ask(client, app, "uploaded", naming(secret))
    assert predictor.read == []
    assert SECRET.decode() not in told


def test_a_client_cannot_name_a_file_that_was_not_uploaded(
    client: httpx.Client, app: fastapi.FastAPI, predictor: Remembering, secret: Path, uploads: Path
) -> None:
    assert blocks_of(app).has_launched
    inside = uploads / "link.json"
    inside.symlink_to(secret)
    away = (secret, "/etc/hostname", uploads / ".." / "secret.json", inside, "relative.json")
    for path in (*away, "http://127.0.0.1:1/x.json", "file:///etc/hostname", uploads, "\0"):
        status, told = ask(client, app, "uploaded", naming(path))
        assert (status, told) == (403, "only files that were uploaded here can be named"), path
    assert predictor.read == []


def test_a_path_is_found_wherever_it_stands_in_a_body(
    client: httpx.Client, app: fastapi.FastAPI, secret: Path
) -> None:
    hidden = {"a": [{"b": {"path": str(secret), "meta": FORM}}]}
    for handler, data in (("uploaded", [hidden, "en", False]), ("picked", [hidden, "en", False])):
        assert ask(client, app, handler, data)[0] == 403


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/x+json", "a/b", ""]
)
def test_json_under_another_name_is_checked_or_refused(
    client: httpx.Client, secret: Path, kind: str
) -> None:
    body = json.dumps({"data": naming(secret), "fn_index": 0, "session_hash": "s"})
    answer = client.post(
        "/gradio_api/queue/join", content=body, headers={"content-type": kind} if kind else {}
    )
    assert answer.status_code in {403, 415}


def test_what_was_uploaded_is_used_once_and_deleted(
    client: httpx.Client, app: fastapi.FastAPI, predictor: Remembering, uploads: Path
) -> None:
    sent = client.post("/gradio_api/upload", files={"files": ("jane_roe.json", b"{}")})
    (path,) = sent.json()
    assert Path(path).is_relative_to(uploads)
    status, _ = ask(client, app, "uploaded", naming(path))
    assert status == 200
    assert predictor.read == [b"{}"]
    assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file={}",
        "/gradio_api/%66ile={}",
        "/gradio_api/file{}",
        "/gradio_api//file={}",
        "//gradio_api/file={}",
        "/file={}",
        "/gradio_api/proxy=http://127.0.0.1:1{}",
        "/gradio_api/custom_component/1/client/component/..%2f..{}",
        "/static/..%2f..%2f..{}",
        "/static/../../..{}",
        "/assets/..%2f..%2f..{}",
        "/svelte/..%2f..{}",
    ],
)
def test_no_address_serves_a_file_by_its_path(
    client: httpx.Client, secret: Path, path: str
) -> None:
    answer = client.get(path.format(secret))
    assert answer.status_code >= 400
    assert SECRET not in answer.content


def test_an_uploaded_file_is_not_served_back(client: httpx.Client) -> None:
    (path,) = client.post("/gradio_api/upload", files={"files": ("a.json", b"{}")}).json()
    assert client.get(f"/gradio_api/file={path}").status_code == 404


@pytest.mark.parametrize(
    "route",
    [
        *("component_server", "run/uploaded", "api/uploaded", "call/uploaded", "info"),
        *("process_recording", "vibe-edit", "runs", "openapi.json", "stream/x"),
    ],
)
def test_of_gradios_routes_only_those_that_the_page_needs_answer(
    client: httpx.Client, route: str
) -> None:
    assert client.get(f"/gradio_api/{route}").status_code == 404
    assert client.post(f"/gradio_api/{route}", json={}).status_code == 404
    assert client.get("/monitoring").status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "10.0.0.7", "", "127.0.0.1@x"]
)
def test_a_name_that_is_not_loopback_is_refused(client: httpx.Client, host: str) -> None:
    """A web site that points its own name at 127.0.0.1 (DNS rebinding) is same-origin to it."""
    assert client.get("/", headers={"host": host}).status_code in {400, 421}


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "LOCALHOST"])
def test_loopback_by_any_of_its_names_is_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost", "http://127.0.0.1:1"]
)
def test_another_origin_is_refused(client: httpx.Client, origin: str) -> None:
    answer = client.post("/gradio_api/queue/join", json={}, headers={"origin": origin})
    assert answer.status_code == 403


def test_another_sites_form_is_refused(client: httpx.Client) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    files = {"files": ("a.json", b"{}")}
    assert client.post("/gradio_api/upload", files=files, headers=headers).status_code == 403


def test_large_unmeasured_and_broken_bodies_are_refused(client: httpx.Client) -> None:
    join = "/gradio_api/queue/join"
    kind = {"content-type": "application/json"}
    assert client.post(join, content=b" " * (2**20 + 1), headers=kind).status_code == 413
    assert client.post(join, content=iter([b"{}"]), headers=kind).status_code == 411
    assert client.post(join, content=b"{", headers=kind).status_code == 400
    assert client.post(join, content=b"[" * 10**5, headers=kind).status_code == 400
    raw = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=30)
    raw.putrequest("POST", "/gradio_api/upload")
    raw.putheader("Content-Length", str(UploadLimits().total_bytes + 2**17))
    raw.endheaders()  # refused by what it announces, before a byte of it comes
    assert raw.getresponse().status == 413
    raw.close()


def test_a_file_over_its_cap_is_refused_while_it_is_received(
    predictor: Remembering, tmp_path: Path
) -> None:
    uploads = tmp_path
    limits = UploadLimits(file_bytes=1000, total_bytes=10_000)
    with running(build_app(predictor, uploads, limits=limits)) as client:
        files = {"files": ("a.json", b" " * 2000)}
        assert client.post("/gradio_api/upload", files=files).status_code == 413
    assert not [file for file in uploads.rglob("*") if file.is_file()]


def test_answers_forbid_foreign_content_and_caching(client: httpx.Client) -> None:
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


def test_only_files_of_the_upload_directory_are_handed_on(uploads: Path, secret: Path) -> None:
    inside = uploads / "a.json"
    inside.write_bytes(b"{}")
    assert uploaded_files([str(inside)], uploads) == [inside.resolve()]
    with pytest.raises(InputError, match="only files that were uploaded here"):
        uploaded_files([str(inside), str(secret)], uploads)


def test_an_address_that_others_reach_needs_a_login(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"got --host 0\.0\.0\.0; add --auth"):
        check_address("0.0.0.0", None)  # noqa: S104 - what is refused
    check_address("127.0.0.1", None)
    check_address("0.0.0.0", tmp_path)  # noqa: S104 - with a login


def test_a_login_file_is_read_and_compared_in_full(tmp_path: Path) -> None:
    file = tmp_path / "logins"
    file.write_text("# two of them\nann:pa:ss\nbob:word\n", "utf-8")
    file.chmod(0o600)
    allowed = login_check(file)
    assert allowed("ann", "pa:ss")
    assert allowed("bob", "word")
    for name, password in (("ann", "word"), ("ann", ""), ("", ""), ("# two of them", "")):
        assert not allowed(name, password)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("ann:word\n", 0o644, "can be read by others"),
        ("ann\n", 0o600, "lines NAME:PASSWORD"),
        ("ann:\n", 0o600, "lines NAME:PASSWORD"),
        ("", 0o600, "lines NAME:PASSWORD"),
    ],
)
def test_a_login_file_that_protects_nothing_is_refused(
    tmp_path: Path, content: str, mode: int, words: str
) -> None:
    file = tmp_path / "logins"
    file.write_text(content, "utf-8")
    file.chmod(mode)
    with pytest.raises(UsageError, match=words):
        login_check(file)


def test_with_a_login_nothing_of_the_page_is_shown_before_it(
    predictor: Remembering, uploads: Path, tmp_path: Path
) -> None:
    file = tmp_path / "logins"
    file.write_text("ann:word\n", "utf-8")
    file.chmod(0o600)
    app = build_app(predictor, uploads, auth=file)
    with running(app) as client:
        upload = {"files": ("a.json", b"{}")}
        assert client.post("/gradio_api/upload", files=upload).status_code == 401
        assert client.post("/gradio_api/queue/join", json={}).status_code == 401
        assert "mw-warning" not in client.get("/").text
        wrong = client.post("/login", data={"username": "ann", "password": "x"})
        assert wrong.status_code == 400
        right = client.post("/login", data={"username": "ann", "password": "word"})
        assert right.status_code == 200
        assert client.post("/gradio_api/upload", files=upload).status_code == 200
