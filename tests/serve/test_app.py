"""The application: healthy, ready, silent about what went wrong."""

import logging
import re
import socket
from pathlib import Path

import pytest

from ingest.errors import LimitError, RunError, UsageError
from serve.app import build_app, serve
from serve.texts import TEXTS
from serve.upload import UploadError
from tests.serve.reception import FORM, GRADIO_LEAVES_LOOPS, Remembering, ask, running

pytestmark = pytest.mark.filterwarnings(GRADIO_LEAVES_LOOPS)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    place = tmp_path / "uploads"
    place.mkdir()
    return place


def test_health_and_readiness_are_told_apart(tmp_path: Path, uploads: Path) -> None:
    run, store = tmp_path / "run", tmp_path / "store"
    predictor = Remembering(run, store)
    with running(build_app(predictor, uploads)) as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").status_code == 503
        for file in (run / "manifest.json", store / "metadata" / "dataset.json"):
            file.parent.mkdir(parents=True)
            file.touch()
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()) == (200, {"ready": True})


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (RuntimeError("Jane Roe, born 1950-01-01"), "error_unknown"),
        (UploadError("error_several", "Jane Roe and John Doe"), "error_several"),
        (LimitError("Jane Roe is too large"), "error_limit"),
        (RunError("Jane Roe"), "error_run"),
    ],
)
def test_a_failure_shows_and_logs_no_exception_text(
    tmp_path: Path, uploads: Path, caplog: pytest.LogCaptureFixture, error: Exception, key: str
) -> None:
    predictor = Remembering(tmp_path)

    def fail(files: object, **asked: object) -> None:
        raise error

    predictor.predict_upload = fail
    app = build_app(predictor, uploads)
    with running(app) as client, caplog.at_level(logging.DEBUG):
        files = {"files": ("jane.json", b"{}")}
        (path,) = client.post("/gradio_api/upload", files=files).json()
        status, told = ask(client, app, "uploaded", [[{"path": path, "meta": FORM}], "en", False])
    assert status == 200
    assert TEXTS[key][0] in told
    assert type(error).__name__ not in told
    log_id = re.search("Log entry ([0-9a-f]{8})", told)
    assert log_id
    logged = "\n".join(r.getMessage() + str(r.exc_info) for r in caplog.records)
    assert f"log entry {log_id[1]}: {type(error).__name__} at" in logged
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("serve"))
    assert "Jane" not in told + ours


def test_the_page_reports_to_nobody(tmp_path: Path, uploads: Path) -> None:
    with running(build_app(Remembering(tmp_path), uploads)) as client:
        config = client.get("/config").json()
        page = client.get("/").text
    assert config["analytics_enabled"] is False
    assert not re.search(r'<(script|link)[^>]+(src|href)="https?://', page)
    for handler in config["dependencies"]:
        assert handler["api_visibility"] == "private"


def test_an_address_that_others_reach_is_refused_without_a_login(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--auth FILE"):
        serve(tmp_path, None, host="0.0.0.0")  # noqa: S104 - what is refused


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(tmp_path, None, port=port)


def test_a_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        serve(tmp_path / "nowhere", None, port=0)
