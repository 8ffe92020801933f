"""What is registered for the life of a process."""

import subprocess
import sys

from tests.hospital import ROOT


def test_a_process_that_loaded_every_room_ends_without_a_word() -> None:
    rooms = "fusion.attention, fusion.crossfit, fusion.evaluate, fusion.train, serve.predictor"
    done = subprocess.run(
        [sys.executable, "-c", f"import {rooms}"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
