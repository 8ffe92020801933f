"""The risks: a number and a bar against the base rate, and what each modality contributed."""

import math

from serve.page_codes import esc, signed
from serve.prediction import Contribution, TaskInfo, TaskRisk
from serve.texts import TASKS, TEXTS, Language, say

__all__ = ["percent", "risk_card", "scale_top", "task_words"]

_TOPS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_METRICS = ("auroc", "auprc", "brier", "ece")


def risk_card(risk: TaskRisk, language: Language) -> str:
    """Show one task's risk as HTML."""
    task = risk.task
    title, description = task_words(task, language)
    top = scale_top(risk.risk, task.base_rate)
    horizon = (
        f'<span class="mw-chip">{esc(say(language, "within_days", days=f"{task.horizon_days:g}"))}'
        "</span>"
        if task.horizon_days
        else ""
    )
    concurrent = (
        f'<p class="mw-remark">{esc(say(language, "concurrent"))}</p>' if task.concurrent else ""
    )
    not_asked = "" if risk.asked else f'<p class="mw-remark">{esc(say(language, "not_asked"))}</p>'
    return f"""
<article class="mw-card mw-risk">
  <div class="mw-risk-head">
    <h2>{esc(title)} {horizon}</h2>
    {f'<p class="mw-soft">{esc(description)}</p>' if description else ""}
    {concurrent}{not_asked}
  </div>
  <div class="mw-risk-number">
    <div class="mw-big" data-risk="{risk.risk:.6f}">{esc(percent(risk.risk))}</div>
    {_interval(risk, language)}
    <div class="mw-soft">{esc(_times_base(risk, language))}</div>
    {_bar(risk, top, language)}
    {_label_set(risk, language)}
  </div>
  <div class="mw-parts">
    <h3>{esc(say(language, "contributions"))}</h3>
    {_contributions(risk, language)}
  </div>
  <footer class="mw-model">{_model(risk, language)}</footer>
</article>"""


def task_words(task: TaskInfo, language: Language) -> tuple[str, str]:
    """Give a task's title and description, as its author wrote them where they are not ours."""
    if language == "zh" and task.name in TASKS:
        return TASKS[task.name]
    return task.title, task.description


def percent(risk: float) -> str:
    """Write a risk as a percentage, never as 0% or 100%.

    >>> percent(0.2346), percent(0.00004), percent(0.99996), percent(0.9994)
    ('23.5%', '<0.1%', '>99.9%', '99.9%')
    """
    if risk < 0.0005:
        return "<0.1%"
    if risk > 0.9995:
        return ">99.9%"
    return f"{100 * risk:.1f}%"


def scale_top(*risks: float) -> float:
    """Choose where the bar ends, so that small risks can be told apart.

    >>> scale_top(0.012, 0.004), scale_top(0.2, 0.14), scale_top(0.8, 0.1)
    (0.02, 0.25, 1.0)
    """
    return next((top for top in _TOPS if max(risks) <= 0.9 * top), 1.0)


def _interval(risk: TaskRisk, language: Language) -> str:
    if risk.interval is None:
        return ""
    low, high = map(percent, risk.interval)
    return (
        f'<div class="mw-range" title="{esc(say(language, "risk_interval_hint"))}">'
        f"{esc(say(language, 'risk_interval', low=low, high=high))}</div>"
    )


def _label_set(risk: TaskRisk, language: Language) -> str:
    if risk.label_set is None:
        return ""
    return f'<p class="mw-soft mw-small">{esc(say(language, f"set_{risk.label_set}"))}</p>'


def _times_base(risk: TaskRisk, language: Language) -> str:
    if risk.task.base_rate <= 0:
        return ""
    times = risk.risk / risk.task.base_rate
    if 0.95 < times < 1.05:
        return say(language, "about_base")
    return say(language, "times_base", times=f"{times:.1f}" if times < 10 else f"{times:.0f}")


def _bar(risk: TaskRisk, top: float, language: Language) -> str:
    base = risk.task.base_rate
    words = say(
        language,
        "risk_bar",
        risk=percent(risk.risk),
        base=percent(base),
        top=f"{100 * top:g}%",
    )
    return f"""
<div class="mw-bar" role="img" aria-label="{esc(words)}">
  <div class="mw-bar-fill" style="width:{_share(risk.risk, top)}%"></div>
  <div class="mw-bar-base" style="left:{_share(base, top)}%"></div>
</div>
<div class="mw-bar-ends mw-soft" aria-hidden="true">
  <span>0</span><span>{100 * top:g}%</span>
</div>
<p class="mw-base"><i></i>{esc(say(language, "base_rate"))} {esc(percent(base))}</p>"""


def _contributions(risk: TaskRisk, language: Language) -> str:
    largest = max((abs(c.risk) for c in risk.contributions), default=0.0)
    reach = max(largest, 0.01)  # under a point of risk, a bar must not look like much
    rows = "".join(_contribution(c, reach, language) for c in risk.contributions)
    hint = say(
        language,
        "contributions_hint",
        start=percent(risk.nothing_known),
        end=percent(risk.risk),
    )
    return f'<dl class="mw-shares">{rows}</dl><p class="mw-soft mw-small">{esc(hint)}</p>'


def _contribution(part: Contribution, reach: float, language: Language) -> str:
    name = say(language, f"modality_{part.modality}")
    if not part.present:
        value, bar, title = say(language, "none_on_record"), "", ""
    elif math.isclose(part.risk, 0, abs_tol=1e-9):
        value, bar, title = say(language, "no_difference"), "", ""
    else:
        value = say(language, "points", value=signed(100 * part.risk, 1))
        title = say(language, "log_odds", value=signed(part.log_odds))
        side = "up" if part.risk > 0 else "down"
        bar = f'<i class="mw-{side}" style="width:{50 * abs(part.risk) / reach:.1f}%"></i>'
    soft = "" if bar else " mw-soft"
    return (
        f'<div class="mw-share" data-modality="{esc(part.modality)}" title="{esc(title)}">'
        f'<dt>{esc(name)}</dt><dd class="mw-share-bar" aria-hidden="true">{bar}</dd>'
        f'<dd class="mw-share-value{soft}">{esc(value)}</dd></div>'
    )


def _model(risk: TaskRisk, language: Language) -> str:
    task = risk.task
    words = (
        f"<strong>{esc(say(language, 'model'))}:</strong> "
        f'<span class="mw-name">{esc(_model_name(task.champion, language))}</span> '
        f'<span class="mw-soft">({esc(_why_it_serves(task, language))})</span>'
    )
    if task.evaluation is None:
        return f'<p>{words}</p><p class="mw-soft">{esc(say(language, "not_evaluated"))}</p>'
    shown = []
    for name in _METRICS:
        metric = task.evaluation["metrics"].get(name)
        if metric and metric.get("value") is not None:
            numbers = say(
                language,
                "interval",
                value=f"{metric['value']:.2f}",
                low=f"{metric['low']:.2f}" if metric.get("low") is not None else "?",
                high=f"{metric['high']:.2f}" if metric.get("high") is not None else "?",
            )
            shown.append(f"{say(language, name)} {numbers}")
    rows = say(language, "held_out", n=task.evaluation["n"], positives=task.evaluation["positives"])
    return f'<p>{words}</p><p class="mw-soft">{esc(rows)} {esc("; ".join(shown))}</p>'


def _why_it_serves(task: TaskInfo, language: Language) -> str:
    """Say by which numbers the model was chosen, as `fusion.champion` does for a terminal."""
    compared = task.compared
    if task.champion not in compared:
        return say(language, "serves_asked" if task.asked_for else "serves_too_few")
    mine = compared[task.champion]
    loss = say(language, "serves_loss", loss=f"{mine['logloss']:.3f}") + "; "
    others = sorted(set(compared) - {task.champion}, key=lambda name: compared[name]["logloss"])
    if task.asked_for or not others:
        return loss + say(language, "serves_asked" if task.asked_for else "serves_only")
    return loss + say(
        language,
        "serves_best" if mine["behind"] == 0 else "serves_simpler",
        other=_model_name(others[0], language),
        loss=f"{compared[others[0]]['logloss']:.3f}",
        behind=f"{mine['behind']:.3f}",
        error=f"{mine['standard_error']:.3f}",
    )


def _model_name(name: str, language: Language) -> str:
    return say(language, f"model_{name}") if f"model_{name}" in TEXTS else name.replace("_", " ")


def _share(value: float, top: float) -> str:
    return f"{100 * min(max(value / top, 0), 1):.2f}"
