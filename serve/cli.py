"""The command `medweave`: each subcommand takes directories and writes directories.

A user's error is one sentence on stderr and an exit code of its own (see ingest/errors.py), never a
traceback; with `--debug` it comes below one that says where, and not what (serve/tracebacks.py).
Of several processes that torchrun starts, the first does what is asked, and the others help it to
train (fusion/processes.py).
Heavy imports wait until a subcommand needs them, so that `--help` is quick.
"""

import argparse
import errno
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import partial
from importlib.metadata import version
from pathlib import Path

from ingest.errors import (
    DEFECT,
    InputError,
    LimitError,
    MedweaveError,
    UsageError,
)
from serve.cohort_command import add_cohort, run_cohort
from serve.encoder_options import add_encoders, encoders_asked, stay_off_hubs
from serve.explaining import add_explain, run_explain
from serve.numbers import count, port, seed, whole
from serve.onnx_command import add_onnx, run_onnx
from serve.servers import moment
from serve.store_commands import add_ingest, add_store, run_ingest, run_store
from serve.tracebacks import describe_error, hide_words_of_warnings

__all__ = ["main"]

_HOME = Path(__file__).resolve().parent.parent
_DEMO_SEED = 7
_LAUNCHED = "LOCAL_RANK"  # set by torchrun; what follows from it is a heavy import
_NO_SPACE = os.strerror(errno.ENOSPC)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    if int(os.environ.get("RANK", "0")) and _LAUNCHED in os.environ:
        return _help(argv)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # a page must not phone home
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    arguments = _parser().parse_args(argv)
    stay_off_hubs(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if arguments.debug:
        hide_words_of_warnings()
    else:
        warnings.simplefilter("ignore")
    run: Callable[[argparse.Namespace], None] = arguments.run
    try:
        if _LAUNCHED in os.environ:
            from fusion.processes import in_step

            in_step(partial(run, arguments))
        else:
            run(arguments)
    except KeyboardInterrupt:
        print(f"medweave {arguments.command}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        if arguments.debug:
            print(describe_error(error), file=sys.stderr)
        words, code = _told(error)
        print(f"medweave {arguments.command}: {words}", file=sys.stderr)
        return code
    return 0


def _help(argv: Sequence[str] | None) -> int:
    """Help the first process to train; what there is to say, it says."""
    from fusion.processes import help_out

    with Path(os.devnull).open("w") as nowhere, ExitStack() as quiet:
        quiet.enter_context(redirect_stdout(nowhere))
        quiet.enter_context(redirect_stderr(nowhere))
        try:
            arguments = _parser().parse_args(argv)
        except SystemExit:
            return 0
        warnings.simplefilter("ignore")
        try:
            help_out()
        except Exception as error:
            if arguments.debug:
                quiet.close()
                print(describe_error(error), file=sys.stderr)
            return 1
        return 0


def _told(error: Exception) -> tuple[str, int]:
    """Put an error into one sentence and an exit code (ingest/errors.py)."""
    if isinstance(error, MedweaveError):
        return " ".join(str(error).split()), error.exit_code
    if isinstance(error, OSError):  # a path that is of another kind, a full disk
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", InputError.exit_code
    if _NO_SPACE in str(error):  # DuckDB's is no OSError
        return _NO_SPACE, InputError.exit_code
    if isinstance(error, MemoryError):
        return "there is not enough memory", LimitError.exit_code
    if isinstance(error, RecursionError):
        return "an input is nested too deeply", LimitError.exit_code
    # The text of any other error may hold a patient's data: its kind and place must do.
    steps = [step for step, _ in traceback.walk_tb(error.__traceback__)]
    ours = [step for step in steps if Path(step.f_code.co_filename).parent.parent == _HOME]
    place = f"{Path(ours[-1].f_code.co_filename).relative_to(_HOME)}:{ours[-1].f_lineno}"
    return (
        f"unexpected {type(error).__name__} at {place}, which is a defect of Medweave; --debug "
        "shows where it came from",
        DEFECT,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="medweave",
        description="From FHIR records and medical images to calibrated, explained disease-risk "
        "predictions. Not for clinical use.",
    )
    parser.add_argument("--version", action="version", version=f"medweave {version('medweave')}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and warnings")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], words: str, *, bars: bool = True
    ):
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(run=run)
        if bars:
            sub.add_argument("--quiet", action="store_true", help="no progress bars")
        sub.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        return sub

    sub = command("simulate", _simulate, "Write a hospital whose true risks are known.")
    sub.add_argument("--patients", type=count, required=True, help="how many patients")
    sub.add_argument("--seed", type=whole, default=0, help="same seed, same bytes (default 0)")
    sub.add_argument("--out", type=Path, required=True, help="directory to write")
    sub.add_argument("--world", type=Path, help="world YAML (default ingest/worlds/default.yaml)")

    sub = command(
        "check",
        _check,
        "Say what is in a directory of records, before a long ingest.",
        bars=False,
    )
    sub.add_argument("path", type=Path, help="directory or file")
    sub.add_argument("--timezone", default="UTC", help="for times that carry no zone (default UTC)")

    add_ingest(
        command("ingest", run_ingest, "Bring records and images into a record store (MEDS).")
    )

    words = "Verify a record store, say what it holds, or write its films as DICOM."
    add_store(command("store", run_store, words, bars=False))

    words = "Select rows and labels: by tasks, or from a table of labels."
    add_cohort(command("cohort", run_cohort, words))

    sub = command("train", _train, "Fit every model, calibrate, and choose the one that serves.")
    sub.add_argument("--store", type=Path, required=True, help="record store")
    sub.add_argument("--cohort", type=Path, required=True, help="cohort directory")
    sub.add_argument("--run", type=Path, required=True, dest="out", help="run directory to write")
    sub.add_argument("--seed", type=seed, default=0, help="same seed, same weights on a CPU")
    sub.add_argument(
        "--candidates",
        nargs="+",
        metavar="NAME",
        help="only these models; notes_finetuned and images_finetuned are fitted only so",
    )
    sub.add_argument(
        "--finetune",
        choices=("last", "full"),
        help="how much of an encoder these two train (default last: its last stages or blocks)",
    )
    sub.add_argument(
        "--exclude", nargs="+", default=[], metavar="REGEX", help="codes that are no features"
    )
    sub.add_argument(
        "--folds",
        type=count,
        help="cross-validate by patient instead: everything fitted and chosen inside the folds",
    )
    sub.add_argument("--repeats", type=count, default=1, help="of the cross-validation")
    add_encoders(sub)

    sub = command("evaluate", _evaluate, "Judge a run on held-out patients; write the report.")
    sub.add_argument("run_directory", type=Path, metavar="run", help="run directory")
    sub.add_argument(
        "--split",
        default="held_out",
        help="which split (default held_out: metrics.json and report.html, which the page shows; "
        "another writes metrics.SPLIT.json and report.SPLIT.html)",
    )
    sub.add_argument("--store", type=Path, help="record store (default: as trained)")
    sub.add_argument("--cohort", type=Path, help="cohort directory (default: as trained)")
    sub.add_argument("--oracle", type=Path, help="true risks, as `simulate` writes them")
    add_encoders(sub, trained=True)

    words = "Write a run's attention model as ONNX, and compare it with the run."
    add_onnx(command("export", run_onnx, words, bars=False))

    sub = command("predict", _predict, "Write the risk of every subject as Parquet or CSV.")
    sub.add_argument("run_directory", type=Path, metavar="run", help="run directory")
    sub.add_argument("--store", type=Path, required=True, help="record store")
    sub.add_argument("--out", type=Path, required=True, help="risks.parquet or risks.csv")
    sub.add_argument("--at", type=moment, help="prediction time, ISO 8601 (default: the task's)")
    add_encoders(sub, trained=True)

    words = "Say why a subject's risk is what it is, and what it would be if."
    add_explain(command("explain", run_explain, words, bars=False))

    sub = command("serve", _serve, "Open the page on this machine.", bars=False)
    sub.add_argument("run_directory", type=Path, metavar="run", help="run directory")
    sub.add_argument("--store", type=Path, help="record store to pick patients from")
    sub.add_argument("--port", type=port, default=7860, help="port (default 7860)")
    sub.add_argument("--host", default="127.0.0.1", help="address (default 127.0.0.1)")
    sub.add_argument("--auth", type=Path, help="file with lines NAME:PASSWORD; needed off loopback")
    add_encoders(sub, trained=True)

    sub = command(
        "demo", _demo, "The whole path: simulate, ingest, train, evaluate, open the page."
    )
    sub.add_argument("--out", type=Path, default=Path("demo"), help="directory (default demo)")
    sub.add_argument("--patients", type=count, help="how many simulated patients")
    sub.add_argument("--seed", type=whole, help=f"of the simulation (default {_DEMO_SEED})")
    sub.add_argument("--data", type=Path, help="a real data set that has a mapping, instead")
    sub.add_argument("--no-serve", action="store_true", help="stop before the page")
    sub.add_argument("--port", type=port, default=7860, help="port (default 7860)")
    return parser


def _simulate(a: argparse.Namespace) -> None:
    from ingest.simulate import simulate

    summary = simulate(a.out, patients=a.patients, seed=a.seed, world=a.world, progress=not a.quiet)
    print(f"{a.out}: {summary['patients']} patients")


def _check(a: argparse.Namespace) -> None:
    from ingest.check import check

    print(check(a.path, timezone=a.timezone))


def _train(a: argparse.Namespace) -> None:
    if a.repeats > 1 and not a.folds:
        raise UsageError("--repeats is of the cross-validation; it needs --folds")
    from fusion.finetune_config import FinetuneConfig

    how = {"finetune": FinetuneConfig(layers=a.finetune) if a.finetune else None}
    if a.folds:
        from fusion.crossfit import cross_validate
        from fusion.report import describe_metrics

        metrics = cross_validate(
            a.store,
            a.cohort,
            a.out,
            folds=a.folds,
            repeats=a.repeats,
            seed=a.seed,
            exclude_codes=a.exclude,
            candidates=a.candidates,
            progress=not a.quiet,
            **how,
            **encoders_asked(a),
        )
        print(describe_metrics(metrics))
        return
    from fusion.train import train

    chosen = train(
        a.store,
        a.cohort,
        a.out,
        seed=a.seed,
        candidates=a.candidates,
        exclude_codes=a.exclude,
        progress=not a.quiet,
        **how,
        **encoders_asked(a),
    )
    for champion in chosen["tasks"].values():
        print(champion["why"])


def _evaluate(a: argparse.Namespace) -> None:
    from fusion.card import CARD
    from fusion.evaluate import evaluate, judgement_files
    from fusion.report import describe_metrics

    metrics = evaluate(
        a.run_directory,
        split=a.split,
        store=a.store,
        cohort=a.cohort,
        oracle=a.oracle,
        progress=not a.quiet,
        **encoders_asked(a),
    )
    print(describe_metrics(metrics))
    written = judgement_files(a.run_directory, a.split)
    card = f" and {CARD}" if a.split == "held_out" else ""
    print(f"{written[0]}{',' if card else ' and'} {written[1].name}{card} written")


def _predict(a: argparse.Namespace) -> None:
    from serve.predictor import Predictor

    if a.out.suffix not in {".parquet", ".csv"}:
        raise UsageError(f"--out must end in .parquet or .csv; got {a.out.name}")
    predictor = Predictor(a.run_directory, a.store, **encoders_asked(a))
    a.out.parent.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    risks = predictor.predict_table(at=a.at, progress=not a.quiet)
    if a.out.suffix == ".csv":
        risks.to_csv(a.out, index=False)
    else:
        risks.to_parquet(a.out, index=False)
    print(f"{a.out}: {len(risks)} risks of {risks['subject_id'].nunique()} subjects")


def _serve(a: argparse.Namespace) -> None:
    from serve.app import serve

    serve(
        a.run_directory,
        a.store,
        host=a.host,
        port=a.port,
        auth=a.auth,
        **encoders_asked(a),
    )


def _demo(a: argparse.Namespace) -> None:
    from serve.demo import demo

    for name, given in (("--patients", a.patients), ("--seed", a.seed)):
        if a.data and given is not None:
            raise UsageError(f"{name} is of the simulated hospital; leave it out with --data")
    demo(
        a.out,
        patients=a.patients,
        seed=_DEMO_SEED if a.seed is None else a.seed,
        data=a.data,
        serve_page=not a.no_serve,
        port=a.port,
        progress=not a.quiet,
    )


if __name__ == "__main__":
    sys.exit(main())
