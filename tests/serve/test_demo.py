from pathlib import Path

from serve.demo import _Stages


def test_a_stage_is_done_again_when_what_it_writes_is_gone(tmp_path: Path) -> None:
    report, done = tmp_path / "run" / "report.html", []

    def work() -> dict:
        done.append(1)
        report.parent.mkdir(exist_ok=True)
        report.touch()
        return {"times": len(done)}

    def ask(question: int) -> dict:
        return _Stages(tmp_path).do("judge", "it", {"of": question}, [report], work)

    assert ask(1) == {"times": 1}
    assert ask(1) == {"times": 1}
    report.unlink()  # the directory is still there
    assert ask(1) == {"times": 2}
    assert ask(2) == {"times": 3}
