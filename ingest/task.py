"""Read a task: an ACES file that says who is judged, when, and on what.

The file is ACES's own (https://eventstreamaces.readthedocs.io): `predicates`, a `trigger`, and
`windows`, of which one carries `index_timestamp` (its end or start is the prediction time) and one
carries `label`. What ACES has no word for stands under `metadata`, all of it optional:

    title, description    what the page shows
    rows                  all, first or last: which of a subject's eligible times make a row;
                          chosen before labels are looked at
    horizon_days          shown on the page; follows from the label's window where that is a length
    exclude_codes         regular expressions; training drops events with such codes from what
                          models see, at any time (for labels that are known when one predicts)
    concurrent            true: the label tells of the prediction time itself, it is no forecast
    never_ends            missing or negative: what the label is where the event that ends its
                          window never comes
    steps                 {WINDOW: words} for the printed flow
    cases                 small patients with the rows that must come out; the tests run them
    authors, references, version, license, notes      free
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import yaml
from aces.config import DerivedPredicateConfig, TaskExtractorConfig, WindowConfig
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ingest.errors import CohortError, InputError

__all__ = ["DEATH", "Rows", "Task", "TaskSettings", "quiet_aces", "read_task"]

DEATH = "MEDS_DEATH"
Rows = Literal["all", "first", "last"]
_DAY = timedelta(days=1)


class TaskSettings(BaseModel):
    """What a task file may say under `metadata`; the module's docstring says what each is for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    description: str = ""
    rows: Rows = "all"
    horizon_days: float | None = None
    exclude_codes: tuple[str, ...] = ()
    concurrent: bool = False
    never_ends: Literal["missing", "negative"] = "missing"
    steps: dict[str, str] = {}
    cases: list[dict[str, Any]] = []
    authors: Any = None
    references: Any = None
    version: Any = None
    license: Any = None
    notes: Any = None

    @field_validator("exclude_codes")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns


@dataclass(frozen=True, kw_only=True)
class Task:
    """Hold one task, checked. ACES changes a configuration while it runs it: ask `config` anew."""

    name: str
    """The file's name without `.yaml`."""

    path: Path
    settings: TaskSettings
    aces: TaskExtractorConfig

    @property
    def windows(self) -> dict[str, WindowConfig]:
        """The windows by name, in the file's order."""
        return self.aces.windows or {}

    @property
    def label_window(self) -> str:
        """The window whose `label` predicate is counted."""
        return self.aces.label_window  # pyright: ignore[reportReturnType] - read_task checked it

    @property
    def label_length(self) -> timedelta | None:
        """How long the label's window is, or None where an event ends it."""
        window = self.windows[self.label_window]
        bound = window._parsed_start if window.root_node == "end" else window._parsed_end
        if bound["offset"] is None:
            return None
        expr = window.start_endpoint_expr if window.root_node == "end" else window.end_endpoint_expr
        return abs(expr.window_size)

    def config(self, windows: Iterable[str], *, unlimited: str | None = None) -> Any:
        """Give ACES's configuration with these windows and those that they refer to.

        `unlimited` names a window whose `has` is left out.
        """
        kept = {name: self.windows[name] for name in self.closure(windows)}
        if unlimited in kept:
            kept[unlimited] = replace(kept[unlimited], has={})
        return TaskExtractorConfig(
            predicates=dict(self.aces.predicates), trigger=self.aces.trigger, windows=kept
        )

    def closure(self, windows: Iterable[str]) -> list[str]:
        """List the windows with all that they refer to, in the file's order."""
        wanted, todo = set(), list(windows)
        while todo:
            name = todo.pop()
            if name not in wanted:
                wanted.add(name)
                todo += _refers_to(self.windows[name])
        return [name for name in self.windows if name in wanted]

    def needs_label(self, window: str) -> bool:
        """Say whether a window is the label's or refers to it."""
        return self.label_window in self.closure([window])

    def looks_ahead(self, window: str) -> bool:
        """Say whether a window is not surely over at the prediction time."""
        index = f"{self.aces.index_timestamp_window}.{self._index_window.index_timestamp}"
        return not all(self._not_after(f"{window}.{side}", index) for side in ("start", "end"))

    @property
    def _index_window(self) -> WindowConfig:
        return self.windows[self.aces.index_timestamp_window]

    def plain(self, names: Iterable[str]) -> set[str]:
        """Replace derived predicates (`or(...)`, `and(...)`) by the plain ones in them."""
        found: set[str] = set()
        for name in names:
            predicate = self.aces.predicates.get(name)
            if isinstance(predicate, DerivedPredicateConfig):
                found |= self.plain(predicate.input_predicates)
            elif predicate is not None:
                found.add(name)
        return found

    def outcomes(self) -> set[str]:
        """Name the plain predicates that the label's window uses: they count when they occurred."""
        window = self.windows[self.label_window]
        return self.plain({window.label, *window.referenced_predicates})

    def words(self, window: str) -> str:
        """Say in words what a window asks, for the flow."""
        if window in self.settings.steps:
            return self.settings.steps[window]
        limits = [
            f"{name} {'at least ' + str(low) if low is not None else ''}"
            f"{' and ' if None not in (low, high) else ''}"
            f"{'at most ' + str(high) if high is not None else ''}"
            for name, (low, high) in (self.windows[window].has or {}).items()
        ]
        return f"{window}: {', '.join(limits) or 'the window can be found'}"

    def _place(self, node: str) -> tuple[str, timedelta]:
        """Resolve a window's side to an anchor (the trigger or an event) and a distance from it."""
        total = timedelta(0)
        while node != "trigger":
            base, bound = self._step(node)
            if bound["event_bound"]:
                return node, total
            window, side = node.split(".")
            if bound["offset"]:
                total += getattr(self.windows[window], f"{side}_endpoint_expr").window_size
            node = base
        return node, total

    def _step(self, node: str) -> tuple[str, dict[str, Any]]:
        window, side = node.split(".")
        bound = getattr(self.windows[window], f"_parsed_{side}")
        base = bound["referenced"]
        return (f"{window}.{base}" if base in ("start", "end") else base), bound

    def _not_after(self, node: str, other: str) -> bool:
        """Say whether one side of a window is surely at or before another."""
        (anchor, away), (other_anchor, other_away) = self._place(node), self._place(other)
        if anchor == other_anchor:
            return away <= other_away
        if anchor != "trigger" and away <= timedelta(0):
            base, bound = self._step(anchor)
            if bound["occurs_before"] and self._not_after(base, other):
                return True
        if other_anchor != "trigger" and other_away >= timedelta(0):
            base, bound = self._step(other_anchor)
            return not bound["occurs_before"] and self._not_after(node, base)
        return False


def read_task(path: Path) -> Task:
    """Read and check a task file.

    Raises:
        InputError: there is no such file.
        CohortError: it is no ACES task, lacks a label or a prediction time, has settings that we
            don't know, or has a label that could be read off at the prediction time.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such task file; a task is an ACES YAML file")
    try:
        with quiet_aces():
            aces = TaskExtractorConfig.load(path)
        content = yaml.safe_load(path.read_text("utf-8"))
        settings = TaskSettings(**(content.get("metadata") or {}))
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(TaskSettings.model_fields)
        raise CohortError(
            f"{path}: metadata.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}; "
            f"known settings are {known}"
        ) from None
    except Exception as error:
        raise CohortError(
            f"{path} is not an ACES task: {type(error).__name__}: {error}; it needs predicates, "
            "trigger and windows"
        ) from None
    if aces.label_window is None or aces.index_timestamp_window is None:
        lack = "label" if aces.label_window is None else "index_timestamp"
        raise CohortError(
            f"{path}: no window has `{lack}`; one must carry `label: PREDICATE`, and one "
            "`index_timestamp: start` or `end`, which is the prediction time"
        )
    task = Task(name=path.stem, path=path, settings=settings, aces=aces)
    index = aces.index_timestamp_window
    if task.needs_label(index) or task.looks_ahead(index):
        raise CohortError(
            f"{path}: the window `{index}` carries index_timestamp but reaches beyond it; give the "
            "prediction time to a window that is over by then, such as the history before it"
        )
    _refuse_no_end(task)
    _refuse_hindsight(task)
    unknown = sorted(set(settings.steps) - {"trigger", *aces.windows})
    if unknown:
        raise CohortError(
            f"{path}: metadata.steps names {', '.join(unknown)}; it may name trigger and "
            f"{', '.join(aces.windows)}"
        )
    if settings.horizon_days is None and task.label_length is not None:
        days = task.label_length / _DAY
        settings = settings.model_copy(update={"horizon_days": days})
        task = replace(task, settings=settings)
    return task


def _refuse_no_end(task: Task) -> None:
    window = task.windows[task.label_window]
    if window.end is None:
        raise CohortError(
            f"{task.path}: the label's window `{task.label_window}` has no end, so no negative "
            "could be told from one who was not followed up; end it after a length "
            "(`start + 365d`) or at an event (`start -> discharge`)"
        )
    length, stated = task.label_length, task.settings.horizon_days
    if length is not None and stated is not None and abs(length / _DAY - stated) > 1e-6:
        raise CohortError(
            f"{task.path}: metadata.horizon_days is {stated:g}, but the label's window is "
            f"{length / _DAY:g} days long; they must agree"
        )


def _refuse_hindsight(task: Task) -> None:
    if task.settings.concurrent:
        return
    name = task.label_window
    index = f"{task.aces.index_timestamp_window}.{task._index_window.index_timestamp}"
    start = f"{name}.start"
    window = task.windows[name]
    if not task._not_after(start, index):
        return
    if task._not_after(index, start) and not window.start_inclusive:
        return
    where = "at" if task._not_after(index, start) else "before"
    raise CohortError(
        f"{task.path}: the label's window `{name}` begins {where} the prediction time, when its "
        "event may be known already; begin it there with `start_inclusive: False`, or say "
        "`concurrent: true` under metadata if it is no forecast"
    )


def _refers_to(window: WindowConfig) -> list[str]:
    return [window.referenced_event[0]] if window.referenced_event[0] != "trigger" else []


@contextmanager
def quiet_aces() -> Iterator[None]:
    """Keep ACES's log to errors: it logs each step, and warns of what we report in the flow."""
    log = logging.getLogger("aces")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
