"""When a command may ask a model hub, and that each command that needs encoders takes both."""

import argparse
import os
from pathlib import Path

import pytest

from serve.encoder_options import add_encoders, encoders_asked, stay_off_hubs
from tests.hospital import medweave


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "")  # put back after, whatever it was
    monkeypatch.delenv("HF_HUB_OFFLINE")


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_encoders(parser)
    return parser.parse_args(words)


@pytest.mark.usefixtures("nothing_set")
def test_a_hub_is_asked_only_for_what_a_command_names_and_the_disk_lacks(tmp_path: Path) -> None:
    stay_off_hubs(parsed("--text-encoder", "org/clinical"))
    assert "HF_HUB_OFFLINE" not in os.environ
    stay_off_hubs(parsed("--image-encoder", str(tmp_path)))
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize("given", [parsed(), argparse.Namespace(command="check")])
def test_what_names_no_encoder_asks_no_hub(given: argparse.Namespace) -> None:
    stay_off_hubs(given)
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_whoever_set_it_is_not_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    stay_off_hubs(parsed())
    assert os.environ["HF_HUB_OFFLINE"] == "0"


def test_what_was_named_is_told_by_part() -> None:
    asked = encoders_asked(parsed("--image-encoder", "resnet18"))
    assert asked == {"text": None, "image": "resnet18"}


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "explain", "serve", "export"])
def test_each_command_that_reads_notes_takes_both(command: str) -> None:
    said = medweave(command, "--help").stdout
    for part in ("text", "image"):
        assert f"--{part}-encoder NAME_OR_DIR" in said
