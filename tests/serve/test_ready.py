"""A child that is ready for the next upload: one each, and never one that has seen a patient."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from serve.ready import ReadyChild
from serve.upload import UploadLimits, child_caps, uploaded_store
from tests.hospital import ROOT
from tests.serve.test_upload import bundle, patient, weight


def test_each_upload_has_a_child_of_its_own_and_the_next_one_is_made_ready(tmp_path: Path) -> None:
    file = bundle(tmp_path, patient("a"), weight("w", "a", 71.5))
    pids = []
    with contextlib.closing(ReadyChild(child_caps(UploadLimits()))) as ready:
        ready.prepare()
        for _ in range(2):
            assert ready.wait(60)
            with ready.lend() as child:
                pids.append(child.pid)
            with uploaded_store([file], ready=ready) as uploaded:
                assert uploaded.quarantined == 0
        assert None not in pids
        assert len(set(pids)) == 2
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 0)
                raise AssertionError("a child outlived its upload")


def test_a_child_that_died_while_it_waited_costs_nobody_an_upload(tmp_path: Path) -> None:
    file = bundle(tmp_path, patient("a"), weight("w", "a", 71.5))
    with contextlib.closing(ReadyChild(child_caps(UploadLimits()))) as ready:
        ready.prepare()
        assert ready.wait(60)
        assert ready._ready is not None
        os.kill(ready._ready.pid or 0, signal.SIGKILL)
        assert ready._ready._process is not None
        ready._ready._process.wait()
        with uploaded_store([file], ready=ready) as uploaded:
            assert uploaded.quarantined == 0


def test_what_is_lent_without_preparing_starts_nothing_in_the_background() -> None:
    ready = ReadyChild(child_caps(UploadLimits()))
    with ready.lend() as child:
        assert child.pid is None
    assert not ready.wait(1)


def test_after_closing_no_child_is_made() -> None:
    ready = ReadyChild(child_caps(UploadLimits()))
    ready.prepare()
    ready.close()
    ready.wait(60)
    assert ready._ready is None
    ready.prepare()
    assert not ready.wait(60)


def test_what_an_upload_may_write_is_not_held_to_what_the_warming_up_may() -> None:
    """Who is not root cannot raise a hard limit again, so the hard ones stay as they were."""
    words = (
        "import os, resource; from serve.upload import _limit_child; before = "
        "[resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)]; "
        "os.setuid(65534) if os.getuid() == 0 else None; "
        "_limit_child(2**20); _limit_child(2**22); "
        "assert resource.getrlimit(resource.RLIMIT_FSIZE) == (2**22, before[1]); "
        "assert resource.getrlimit(resource.RLIMIT_CPU)[1] == before[0]"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
