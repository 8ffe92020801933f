"""What is said of why a risk is what it is: an explanation, and what it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from serve.pictures import heat_pictures
from serve.prediction import DAYS_A_YEAR
from serve.texts import Language, say

__all__ = ["Explained", "Explainer"]

_BIRTH = "MEDS_BIRTH"  # it is the age that a model reads


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

    pictures: Mapping[int, tuple[bytes, bytes]] = field(default_factory=dict)
    """By the number of an explained image: it and it with its heat, as PNG."""

    what_if: tuple[tuple[Edit, float], ...] = ()
    """Changes, each made alone, and the risk of such a record."""

    @property
    def base_risk(self) -> float:
        """What the model says of somebody of whom nothing is known."""
        return float(expit(self.explanation.base))

    def has(self, modality: Modality) -> bool:
        """Say whether the record has anything of a modality."""
        return bool(self.timeline.has(modality)[0])

    def name(self, code: str, language: Language = "en") -> str:
        """Name a code, and say where the record lacks it."""
        if code == "UNK" or code.endswith("//UNK"):
            system = code.removesuffix("UNK").removesuffix("//")
            key = "rare_codes_of" if system else "rare_codes"
            return say(language, key, system=system)
        named = (
            say(language, "age") if code == _BIRTH else name_of(code, self.descriptions, language)
        )
        there = bool((self.timeline.events["code"] == code).any())
        return named if there else say(language, "why_lacking", name=named)

    def value(self, code: str) -> str:
        """Give the latest value of a code with its unit, or the age; empty where there is none."""
        events = self.timeline.events
        born = events.loc[events["code"] == code, "days_before"]
        if code == _BIRTH and born.notna().any():
            return f"{int(born.iloc[-1] / DAYS_A_YEAR)}"
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


class Explainer:
    """Explain rows of one run; what reads the words is loaded once, when it is first needed."""

    def __init__(self, served: ServedRun):
        self._served = served
        self._words: WordReader | None = None

    def explain(
        self,
        timeline: Timelines,
        tasks: Sequence[str],
        descriptions: Mapping[str, str],
        *,
        model: str | None = None,
        edits: Sequence[Edit] = (),
    ) -> tuple[Explained, ...]:
        """Explain one row's risk of each task, and give the risk with each change made alone.

        Args:
            timeline: one row.
            tasks: of the run's.
            descriptions: human names of codes.
            model: one of the run's; each task's champion by default.
            edits: changes of the record.

        Raises:
            UsageError: a change that cannot be made.
            ValueError: a task or a model that there isn't.
        """
        from encoders.words import Words  # torch is imported when it is needed

        served, timeline = self._served, self._served.seen(timeline)
        changed = [(edit, edit_timelines(timeline, [edit])) for edit in edits]
        for edit, row in changed:
            if edit.kind != "without" and not (served.seen(row).events["code"] == edit.code).any():
                raise UsageError(
                    f"no model of the run sees {edit.code}, so it cannot change a risk"
                )
        self._words = self._words or Words(getattr(served.encoders, "text_config", None))
        return tuple(
            self._of(timeline, task, changed, model or served.champion(task), descriptions)
            for task in tasks
        )

    def _of(
        self,
        timeline: Timelines,
        task: str,
        changed: Sequence[tuple[Edit, Timelines]],
        model: str,
        descriptions: Mapping[str, str],
    ) -> Explained:
        served = self._served
        scorer, number = served.scorer(model), served.tasks.index(task)
        found = explain(served, timeline, task, model=model, words=self._words)
        return Explained(
            explanation=found,
            subject_id=int(timeline.index["subject_id"].iloc[0]),
            time=pd.Timestamp(timeline.index["prediction_time"].iloc[0]),
            timeline=timeline,
            descriptions=descriptions,
            pictures=heat_pictures(found.images),
            what_if=tuple((edit, float(scorer.score(row)[0, number])) for edit, row in changed),
        )
