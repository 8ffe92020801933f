"""The real command line, and the small hospital that many tests share."""

import multiprocessing
import os
import re
import shlex
import signal
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

__all__ = ["ROOT", "Hospital", "killed_after", "medweave", "medweave_killed", "readme_session"]

ROOT = Path(__file__).resolve().parent.parent

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.preloaded"])


def medweave(
    *arguments: str | Path, code: int | Collection[int] = 0, timeout_s: float = 600
) -> CompletedProcess[str]:
    """Run the command line in a process of its own and insist on its exit code, or on one of some.

    The process is forked from one that has imported the packages and done nothing else, which
    spares each command some ten seconds of imports.
    """
    words = [str(word) for word in arguments]
    with tempfile.TemporaryDirectory() as place:
        out, err = Path(place) / "stdout", Path(place) / "stderr"
        process = _processes.Process(target=_command, args=(words, str(out), str(err)))
        process.start()
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            process.join()
        printed = [f.read_text("utf-8") if f.is_file() else "" for f in (out, err)]
    done = CompletedProcess(words, process.exitcode, *printed)
    codes = {code} if isinstance(code, int) else code
    assert done.returncode in codes, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def medweave_killed(*arguments: str | Path, after_s: float) -> bool:
    """End a command with SIGKILL at that moment; give False where it had ended well by then."""
    words = [str(word) for word in arguments]
    return killed_after(after_s, _command, words, os.devnull, os.devnull)


def killed_after(after_s: float, work: Callable[..., object], *arguments: object) -> bool:
    """Do that work in a process of its own and end it with SIGKILL; False where it ended before."""
    process = _processes.Process(target=work, args=arguments)
    process.start()
    process.join(after_s)
    killed = process.is_alive()
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), f"ended with {process.exitcode}"
    return killed and process.exitcode != 0


def _command(words: list[str], out: str, err: str) -> None:
    """Be the process of one command: its words, its output, its exit code."""
    os.chdir(ROOT)
    for number, name in ((1, out), (2, err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    from serve.cli import main

    raise SystemExit(main(words))


def readme_session(place: Path, patients: int) -> list[list[str]]:
    """Give the commands of the README's step-by-step session, for other patients and directories.

    Args:
        place: where its directories lie.
        patients: how many are simulated.
    """
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    lines = next(b for b in blocks if "medweave simulate" in b).splitlines()
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("medweave ")]
    made = re.compile(r"(hospital|store|cohort|run)/|risks\.parquet")
    return [
        [
            str(patients) if word == "2000" else str(place / word) if made.match(word) else word
            for word in command
        ]
        for command in commands
    ]


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """A simulated hospital of 60 patients, taken the whole way by the command line."""

    place: Path
    printed: dict[str, str]

    @property
    def source(self) -> Path:
        return self.place / "hospital"

    @property
    def store(self) -> Path:
        return self.place / "store"

    @property
    def cohort(self) -> Path:
        return self.place / "cohort"

    @property
    def run(self) -> Path:
        return self.place / "run"
