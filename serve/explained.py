"""What is said of why a risk is what it is: an explanation, and what it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from fusion.explain import Explanation, WordReader, explain
from fusion.served import ServedRun
from fusion.what_if import Edit, edit_timelines
from ingest.errors import UsageError
from ingest.schema import Modality
from ingest.timeline import Timelines
from serve.page_codes import amount, name_of

__all__ = ["Explained", "explain_timeline"]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Hold the explanation of one subject's risk of one task; needs no store to be shown."""

    explanation: Explanation

    subject_id: int

    time: pd.Timestamp
    """The prediction time, UTC."""

    timeline: Timelines
    """The one row that was explained."""

    descriptions: Mapping[str, str]
    """Human names of codes."""

    what_if: tuple[tuple[Edit, float], ...] = ()
    """Changes, each made alone, and the risk of such a record."""

    @property
    def base_risk(self) -> float:
        """What the model says of somebody of whom nothing is known."""
        return float(expit(self.explanation.base))

    def has(self, modality: Modality) -> bool:
        """Say whether the record has anything of a modality."""
        return bool(self.timeline.has(modality)[0])

    def name(self, code: str) -> str:
        """Name a code, and say where the record lacks it."""
        events = self.timeline.events
        there = bool((events["code"] == code).any())
        rare = code == "UNK" or code.endswith("//UNK")
        if rare:
            system = code.removesuffix("UNK").removesuffix("//")
            return f"rare codes{f' of {system}' if system else ''}"
        return name_of(code, self.descriptions, "en") + ("" if there else " (not in the record)")

    def value(self, code: str) -> str:
        """Give the latest value of a code with its unit; empty where there is none."""
        events = self.timeline.events
        valued = events[(events["code"] == code) & events["numeric_value"].notna()]
        if valued.empty:
            return ""
        latest = valued.iloc[-1]
        unit = f" {latest['unit']}" if isinstance(latest["unit"], str) else ""
        return f"{amount(float(latest['numeric_value']))}{unit}"

    def to_json(self) -> dict[str, Any]:
        """Give the numbers, without a word of the notes and without the images."""
        found = self.explanation
        return {
            "subject_id": self.subject_id,
            "prediction_time": self.time.isoformat() + "Z",
            "task": found.task,
            "model": found.model,
            "risk": found.risk,
            "base_log_odds": found.base,
            "modalities": {
                str(m): {"log_odds": found.modalities[m], "being_there": found.being_there[m]}
                for m in Modality
            },
            "events": dict(found.events),
            "notes": [
                {
                    "number": note.number,
                    "log_odds": note.log_odds,
                    "sentences": [[s.start, s.end, s.log_odds] for s in note.sentences],
                    "words": [[w.start, w.end, w.log_odds] for w in note.words],
                }
                for note in found.notes
            ],
            "images": [
                {"number": image.number, "log_odds": np.asarray(image.grid).tolist()}
                for image in found.images
            ],
            "what_if": {str(edit): risk for edit, risk in self.what_if},
        }


def explain_timeline(
    served: ServedRun,
    timeline: Timelines,
    task: str,
    *,
    model: str | None,
    edits: Sequence[Edit],
    words: WordReader | None,
    descriptions: Mapping[str, str],
) -> Explained:
    """Explain one row's risk of one task, and give the risk with each change made alone.

    Raises:
        UsageError: a change that cannot be made.
    """
    timeline = served.seen(timeline)
    scorer, number = served.scorer(model or served.champion(task)), served.tasks.index(task)
    changed = [(edit, edit_timelines(timeline, [edit])) for edit in edits]
    for edit, row in changed:
        if edit.kind != "without" and not (served.seen(row).events["code"] == edit.code).any():
            raise UsageError(f"no model of the run sees {edit.code}, so it cannot change a risk")
    return Explained(
        explanation=explain(served, timeline, task, model=model, words=words),
        subject_id=int(timeline.index["subject_id"].iloc[0]),
        time=pd.Timestamp(timeline.index["prediction_time"].iloc[0]),
        timeline=timeline,
        descriptions=descriptions,
        what_if=tuple((edit, float(scorer.score(row)[0, number])) for edit, row in changed),
    )
