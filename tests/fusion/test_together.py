"""Several processes that train together, as torchrun starts them: the weights that one finds."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from encoders.squares import Squares
from fusion.processes import in_step, place, together
from fusion.run import verify_run
from fusion.served import ServedRun
from fusion.share import Dropout, draw_uniform, known_labels, share_rows, sharing
from fusion.train import train
from ingest.errors import RunError, UsageError
from tests.fusion.clinic import HashedEncoders, held_out, write_clinic
from tests.fusion.in_step import TRAINED, Step, small, train_all, watched
from tests.hospital import ROOT

_LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--")


def start(*words: str | Path, out: Path) -> subprocess.Popen:
    """Start a module in two processes; what they print goes to files."""
    with (out / "stdout").open("w") as told, (out / "stderr").open("w") as said:
        return subprocess.Popen(
            [sys.executable, *_LAUNCH, *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=told,
            stderr=said,
        )


class Trained:
    """What one process and two made of the same."""

    def __init__(self, base: Path):
        one, two = base / "one", base / "two"
        for folder in (one, two):
            folder.mkdir()
        both = start("tests.fusion.in_step", two, out=two)
        self.steps: list[Step] = []
        with watched(self.steps):
            self.one = train_all(one)
        assert both.wait(timeout=600) == 0, (two / "stderr").read_text("utf-8")[-3000:]
        self.two = {name: dict(np.load(two / f"{name}.npz")) for name in TRAINED}
        shares = [json.loads((two / f"steps-{i}.json").read_text("utf-8")) for i in (0, 1)]
        self.shares: list[tuple[Step, Step]] = list(zip(*shares, strict=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("together"))


def test_each_step_of_two_processes_has_the_loss_of_the_same_step_of_one(trained: Trained) -> None:
    one = [loss for loss, *_ in trained.steps]
    assert len(trained.shares) == len(one)  # they stopped early at one moment
    two = [(first[0] + second[0]) / 2 for first, second in trained.shares]
    np.testing.assert_allclose(two, one, atol=1e-4)
    assert np.ptp(one) > 0.1


def test_the_batch_is_dealt_out_and_each_label_is_read_once(trained: Trained) -> None:
    for (_, known, rows), (first, second) in zip(trained.steps, trained.shares, strict=False):
        assert first[1] + second[1] == known
        assert (first[2], second[2]) == ((1, 1) if rows == 1 else (rows // 2, rows - rows // 2))


def test_the_labels_that_are_known_weigh_the_same_wherever_they_are_read(trained: Trained) -> None:
    """What was trained on asks for it: a mean of the processes' means is another number."""
    alone = sum((first[1] == 0) != (second[1] == 0) for first, second in trained.shares)
    assert alone >= 3  # one of the two reads no label at all
    assert sum(rows == 1 for _, _, rows in trained.steps) >= 3  # fewer rows than processes
    apart = []
    for (loss, known, _), shares in zip(trained.steps, trained.shares, strict=False):
        means = [mine * known / (2 * count) for mine, count, _ in shares if count]
        apart.append(abs(sum(means) / 2 - loss))
    assert np.median(apart) > 1e-2


@pytest.mark.parametrize("name", TRAINED)
def test_two_processes_find_the_weights_that_one_finds(trained: Trained, name: str) -> None:
    one, two = trained.one[name], trained.two[name]
    assert one.keys() == two.keys()
    for key, array in one.items():
        np.testing.assert_allclose(two[key], array, atol=1e-4, err_msg=key)
    assert any(np.any(two[key] != array) for key, array in one.items())  # they did take part


@pytest.mark.parametrize("how", ["kill", pytest.param("raise", marks=pytest.mark.slow)])
def test_a_command_whose_helper_fails_ends_in_one_sentence_and_goes_on_when_asked_again(
    tmp_path: Path, how: str
) -> None:
    write_clinic(tmp_path, n=100)
    inputs = tmp_path / "store", tmp_path / "cohort"
    names = ["prevalence", "attention"]
    words = ["train", "--store", inputs[0], "--cohort", inputs[1], "--candidates", *names]
    words += ["--quiet", "--run", tmp_path / "run"]
    failed = start("tests.fusion.in_step", "--end", how, *words, out=tmp_path)
    assert failed.wait(timeout=600) == 1
    said = (tmp_path / "stderr").read_text("utf-8")
    (sentence,) = [line for line in said.splitlines() if line.startswith("medweave")]
    words_of = {"kill": "ended before its time", "raise": "not enough memory"}
    assert words_of[how] in sentence
    assert "unexpected" not in said
    assert (tmp_path / "stdout").read_text("utf-8") == ""
    with pytest.raises(RunError):
        verify_run(tmp_path / "run")
    assert [f.name for f in (tmp_path / "run").rglob("*") if f.is_dir()] == ["models", "prevalence"]
    if how == "raise":
        return
    again = start("tests.fusion.in_step", "--end", "well", *words, out=tmp_path)
    with small():
        chosen = train(*inputs, tmp_path / "alone", candidates=names)
    assert again.wait(timeout=600) == 0, (tmp_path / "stderr").read_text("utf-8")[-3000:]
    assert (tmp_path / "stdout").read_text("utf-8") == chosen["tasks"]["ill"]["why"] + "\n"
    runs = [tmp_path / "run", tmp_path / "alone"]
    files = [sorted(f.relative_to(run) for f in run.rglob("*")) for run in runs]
    assert files[0] == files[1]
    for run in runs:
        verify_run(run)
    served = [ServedRun(run, encoders=HashedEncoders()) for run in runs]
    risks = [run.scorer("attention").score(held_out(tmp_path)) for run in served]
    np.testing.assert_allclose(risks[0], risks[1], atol=1e-4)


# The pieces -------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("whole", range(1, 12))
def test_shares_of_a_batch_hold_each_row_once_and_nobody_is_left_without(
    whole: int, processes: int
) -> None:
    shares = [share_rows(whole, (number, processes)) for number in range(processes)]
    rows = list(range(100, 100 + whole))
    assert [row for s in shares if s and not s.borrowed for row in s.of(rows)] == rows
    assert all(s and len(s.of(rows)) == s.rows >= 1 for s in shares)


def test_what_is_dropped_and_drawn_of_a_row_does_not_depend_on_who_reads_it() -> None:
    x, parts = torch.randn(7 * 3, 4), []
    layer = Dropout(0.4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        whole = F.dropout(x, 0.4), torch.rand(7, 2)
        for number in range(3):
            share = share_rows(7, (number, 3))
            assert share is not None
            torch.manual_seed(1)
            with sharing(share):
                parts.append((layer(share.cut(x)), draw_uniform((share.rows, 2), x.device)))
    for place_, told in enumerate(whole):
        assert torch.equal(torch.cat([part[place_] for part in parts]), told)
    assert torch.equal(layer.eval()(x), x)


def test_alone_one_is_in_step_with_oneself() -> None:
    assert place() == (0, 1)
    assert in_step(lambda: together(sum, [1, 2])) == 3
    assert share_rows(5) is None
    assert known_labels(torch.tensor([True, False])).item() == 1


def launched(monkeypatch: pytest.MonkeyPatch, here: int) -> None:
    """Say what torchrun says to the first of four processes."""
    told = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": str(here)}
    for name, value in told.items():
        monkeypatch.setenv(name, value)


def test_processes_of_several_machines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, here=2)
    with pytest.raises(UsageError, match="processes of one machine; torchrun started 4, 2 of them"):
        in_step(list)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, here=4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="torchrun started 4 and there are 1"):
        in_step(list)


def test_processes_that_are_not_in_step_do_not_train_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launched(monkeypatch, here=4)
    with pytest.raises(ValueError, match=r"call fusion\.processes\.in_step"):
        together(sum, [1])


def test_another_process_reads_the_same_decoded_images(tmp_path: Path) -> None:
    for number in range(3):
        grey = np.full((8, 8), 60 * number, np.uint8)
        Image.fromarray(grey).save(tmp_path / f"{number}.png")
    with Squares(sorted(tmp_path.glob("*.png")), 8) as squares:
        copied = pickle.loads(pickle.dumps(squares))  # noqa: S301 - our own
        with copied:
            np.testing.assert_array_equal(copied.take([2, 0]), squares.take([2, 0]))
