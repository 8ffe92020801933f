"""The page: pick a held-out patient or upload a record, and see each risk with its reasons.

Gradio carries the controls and the events; what is said of a patient is one piece of HTML from
`serve.page_result`, made anew when the reader changes the language.
"""

import contextlib
import logging
import secrets
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from ingest.errors import LimitError, MedweaveError, RunError, StoreError, UsageError
from serve.guard import uploaded_files
from serve.page_codes import esc, moment
from serve.page_result import Trouble, person, render
from serve.page_theme import SET_LANGUAGE_JS, TOGGLE_THEME_JS
from serve.prediction import Prediction
from serve.predictor import Predictor
from serve.texts import LANGUAGES, Language, language_of, say
from serve.upload import KINDS, UploadError, UploadLimits

__all__ = ["LISTED", "build_page"]

LISTED = 500
"""Patients in the list; a browser slows down with many more."""

KEEP_SECONDS = 1800
"""How long a session's prediction is kept for a change of language."""

PLAIN: dict[str, Any] = {"padding": False, "apply_default_css": False}
"""For gr.HTML: the page's own style sheet alone."""

_log = logging.getLogger(__name__)

Shown = Prediction | Trouble | None


def build_page(predictor: Predictor, uploads: Path, limits: UploadLimits) -> gr.Blocks:
    """Build the page for one predictor; `uploads` is where Gradio puts what is uploaded."""
    choices = _Choices.of(predictor)
    start: Language = "en"
    with gr.Blocks(
        title="Medweave",
        analytics_enabled=False,
        delete_cache=(600, 3600),
        fill_width=True,
    ) as page:
        shown = gr.State(None, time_to_live=KEEP_SECONDS)
        with gr.Row(elem_id="mw-top"):
            brand = gr.HTML(_brand(start), elem_id="mw-brand", **PLAIN)
            language = gr.Radio(
                choices=list(LANGUAGES),
                value=start,
                label=" / ".join(say(key, "language") for _, key in LANGUAGES),
                show_label=False,
                container=False,
                elem_id="mw-language",
                min_width=0,
            )
            theme = gr.Button(say(start, "theme"), elem_id="mw-theme", size="sm", min_width=0)
        warning = gr.HTML(_warning(start), **PLAIN)
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=300, elem_id="mw-controls"):
                with gr.Tabs():
                    with gr.Tab(say(start, "tab_pick"), id="pick") as pick_tab:
                        patient = gr.Dropdown(
                            choices=choices.labelled(start),
                            value=None,
                            label=say(start, "pick_label"),
                            elem_id="mw-patient",
                            interactive=not choices.rows.empty,
                            filterable=True,
                        )
                        following = gr.Button(
                            say(start, "next"),
                            elem_id="mw-next",
                            interactive=not choices.rows.empty,
                        )
                        pick_hint = gr.HTML(choices.hint(start), **PLAIN)
                    with gr.Tab(say(start, "tab_upload"), id="upload") as upload_tab:
                        upload = gr.UploadButton(
                            say(start, "upload_button"),
                            file_count="multiple",
                            file_types=sorted(KINDS),
                            variant="primary",
                            elem_id="mw-upload",
                        )
                        upload_hint = gr.HTML(_upload_hint(start, limits), **PLAIN)
                detail = gr.Checkbox(
                    value=False,
                    label=say(start, "detail"),
                    info=say(start, "detail_hint"),
                    container=False,
                    elem_id="mw-detail",
                )
            with gr.Column(scale=4, min_width=320):
                result = gr.HTML(render(None, start), elem_id="mw-result", **PLAIN)
        footer = gr.HTML(_footer(start), **PLAIN)

        def in_language(value: str, before: Shown) -> tuple[Any, ...]:
            to: Language = "zh" if value == "zh" else "en"
            return (
                _brand(to),
                gr.update(value=say(to, "theme")),
                _warning(to),
                gr.update(label=say(to, "tab_pick")),
                gr.update(label=say(to, "tab_upload")),
                gr.update(label=say(to, "pick_label"), choices=choices.labelled(to)),
                gr.update(value=say(to, "next")),
                choices.hint(to),
                gr.update(label=say(to, "upload_button")),
                _upload_hint(to, limits),
                gr.update(label=say(to, "detail"), info=say(to, "detail_hint")),
                render(before, to),
                _footer(to),
            )

        def first_language(request: gr.Request) -> str:
            asked = request.query_params.get("lang") if request else None
            return language_of(asked or (request.headers.get("accept-language") if request else ""))

        def picked(value: str | None, to: Language, why: bool) -> tuple[Shown, str]:
            if value is None:
                return None, render(None, to)
            found = _attempt(lambda: predictor.predict(*choices.parse(value), explained=why))
            return found, render(found, to)

        def picked_next(
            value: str | None, to: Language, why: bool
        ) -> tuple[str | None, Shown, str]:
            following_value = choices.after(value)
            return following_value, *picked(following_value, to, why)

        def asked_why(
            value: str | None, to: Language, why: bool, before: Shown
        ) -> tuple[Shown, str]:
            # Of an upload nothing is kept that could be taken apart: the next one will be.
            return picked(value, to, why) if value is not None else (before, render(before, to))

        def uploaded(files: list[str] | None, to: Language, why: bool) -> tuple[Shown, str, None]:
            found = _attempt(lambda: _predict_files(predictor, files or [], uploads, limits, why))
            return found, render(found, to), None

        worded = [
            *(brand, theme, warning, pick_tab, upload_tab, patient, following, pick_hint),
            *(upload, upload_hint, detail, result, footer),
        ]
        hidden = {"api_visibility": "private", "queue": True}
        page.load(first_language, None, language, show_progress="hidden", **hidden)
        language.change(None, language, language, js=SET_LANGUAGE_JS)
        language.change(in_language, [language, shown], worded, show_progress="hidden", **hidden)
        theme.click(None, js=TOGGLE_THEME_JS)
        # What is asked for while an answer is on its way would be dropped unless told otherwise:
        # then the page would go on showing another patient than the list names.
        hidden["trigger_mode"] = "always_last"
        # `input`, not `change`: an upload empties the list's choice, but keeps its own result.
        patient.input(
            picked, [patient, language, detail], [shown, result], show_progress="minimal", **hidden
        )
        detail.input(
            asked_why,
            [patient, language, detail, shown],
            [shown, result],
            show_progress="minimal",
            show_progress_on=result,
            **hidden,
        )
        following.click(
            picked_next,
            [patient, language, detail],
            [patient, shown, result],
            show_progress="minimal",
            show_progress_on=result,
            **hidden,
        )
        upload.upload(
            uploaded,
            [upload, language, detail],
            [shown, result, patient],
            show_progress="full",
            show_progress_on=result,
            **hidden,
        )
    return page


@dataclass(frozen=True, kw_only=True)
class _Choices:
    """Hold the patients that can be picked: held-out rows, the first LISTED of them."""

    rows: pd.DataFrame
    """subject_id, prediction_time and the columns of `Predictor.summarize`."""

    count: int
    """How many held-out rows there are in all."""

    @classmethod
    def of(cls, predictor: Predictor) -> "_Choices":
        index = predictor.patients("held_out")
        listed = index.head(LISTED).reset_index(drop=True)
        rows = listed.join(predictor.summarize(listed)) if len(listed) else listed
        return cls(rows=rows, count=len(index))

    def labelled(self, language: Language) -> list[tuple[str, str]]:
        """Give each choice's label and value."""
        return [(_label(row, language), _value(row)) for row in self.rows.itertuples()]

    def parse(self, value: str) -> tuple[int, pd.Timestamp]:
        """Take a value apart.

        Raises:
            UploadError: it is none of the choices.
        """
        for row in self.rows.itertuples():
            if _value(row) == value:
                return int(row.subject_id), pd.Timestamp(row.prediction_time)
        raise UploadError("error_unknown_subject", "the choice is not in the list")

    def after(self, value: str | None) -> str | None:
        """Give the choice after one, the first after the last."""
        values = [_value(row) for row in self.rows.itertuples()]
        if not values:
            return None
        return values[(values.index(value) + 1) % len(values)] if value in values else values[0]

    def hint(self, language: Language) -> str:
        """Say who can be picked."""
        if self.rows.empty:
            return _hint(say(language, "pick_none"))
        words = say(language, "pick_hint")
        if self.count > len(self.rows):
            words += " " + say(language, "pick_capped", shown=len(self.rows), count=self.count)
        return _hint(words)


def _predict_files(
    predictor: Predictor, files: list[str], uploads: Path, limits: UploadLimits, explained: bool
) -> Prediction:
    paths = uploaded_files(files, uploads)
    try:
        return predictor.predict_upload(paths, limits=limits, explained=explained)
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # named by the content's hash


def _attempt(work: Callable[[], Prediction]) -> Shown:
    """Do the work; of a failure the page gets a fixed sentence, and the log no patient's data.

    An exception's text can carry what was in a file, so the log has its kind and place only.
    """
    try:
        return work()
    except Exception as error:
        trouble = Trouble(key=_sentence(error), log_id=secrets.token_hex(4))
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        places = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
        _log.error("log entry %s: %s at %s", trouble.log_id, type(error).__name__, places)
        return trouble


def _sentence(error: Exception) -> str:
    if isinstance(error, UploadError):
        return error.key
    kinds = {
        LimitError: "error_limit",
        StoreError: "error_store",
        RunError: "error_run",
        UsageError: "error_usage",
        MedweaveError: "error_usage",
    }
    return next((key for kind, key in kinds.items() if isinstance(error, kind)), "error_unknown")


def _label(row: Any, language: Language) -> str:
    parts = [f"#{row.subject_id}", moment(row.prediction_time)[:10]]
    parts.append(person(row.age_years, row.sex, language))
    parts += [say(language, f"no_{kind}") for kind in ("notes", "images") if not getattr(row, kind)]
    return " · ".join(part for part in parts if part)


def _value(row: Any) -> str:
    return f"{row.subject_id}@{pd.Timestamp(row.prediction_time).isoformat()}"


def _brand(language: Language) -> str:
    return f'<div class="mw-brand"><h1>Medweave</h1><p>{esc(say(language, "tagline"))}</p></div>'


def _warning(language: Language) -> str:
    return (
        f'<div class="mw-warning" role="note"><strong>{esc(say(language, "warning_title"))}'
        f"</strong> {esc(say(language, 'warning'))}</div>"
    )


def _footer(language: Language) -> str:
    words = say(language, "footer", version=version("medweave"))
    return f'<div class="mw-foot">{esc(words)}</div>'


def _upload_hint(language: Language, limits: UploadLimits) -> str:
    return _hint(
        say(
            language,
            "upload_hint",
            files=limits.files,
            megabytes=limits.total_bytes // 2**20,
        )
    )


def _hint(words: str) -> str:
    return f'<p class="mw-hint">{esc(words)}</p>'
