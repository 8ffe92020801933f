import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fusion.judged import Judged, measure_task
from fusion.report import describe_metrics, write_report

VOID = {"meta", "img", "br", "hr", "link"}


def judged(n: int = 300, *, oracle: bool = True, label: float | None = None) -> Judged:
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 2, n)
    y = (rng.random(n) < truth).astype(float) if label is None else np.full(n, label)
    noisy = np.clip(truth + 0.1 * rng.standard_normal(n), 0.01, 0.99)
    return Judged(
        task="heart <failure>",
        label=y,
        subjects=np.arange(n),
        champion="stacked",
        models={"prevalence": np.full(n, 0.33), "events_logistic": noisy, "stacked": truth},
        thresholds={"prevalence": 0.3, "events_logistic": 0.35, "stacked": 0.35},
        subsets={"events": noisy, "events+notes+images": truth},
        oracle={"events": truth, "events+notes+images": truth} if oracle else {},
        groups={"female": np.arange(n) % 2 == 0},
    )


def written(place: Path, one: Judged) -> tuple[str, dict]:
    entry = measure_task(one, bootstrap=100, seed=0)
    flow = {
        "tasks": {one.task: [{"step": "adults & others", "rows": 400, "subjects": 390}]},
        "warnings": {one.task: ["few <positives>"]},
        "splits": {"train": {"rows": 100, "subjects": 90}},
    }
    metrics = {"split": "held_out", "bootstrap": 100, "flow": flow, "tasks": {one.task: entry}}
    commands = {"evaluate": "medweave evaluate run --split held_out"}
    write_report(place / "report.html", metrics, [one], run=Path("run"), commands=commands)
    return (place / "report.html").read_text("utf-8"), metrics


def figures(page: str) -> dict[str, ElementTree.Element]:
    found = re.findall(r"<img alt='([^']+)' src='data:image/svg\+xml;base64,([^']+)'", page)
    # Our own output, a moment old.
    return {name: ElementTree.fromstring(base64.b64decode(data)) for name, data in found}  # noqa: S314


class Balance(HTMLParser):
    """Check that every tag that opens is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("oracle", [True, False])
def test_the_report_has_all_figures_as_svg(tmp_path: Path, oracle: bool) -> None:
    page, _ = written(tmp_path, judged(oracle=oracle))
    names = {"ROC", "Precision-recall", "Calibration", "Decision curve", "Confusion matrix"}
    drawn = figures(page)
    assert set(drawn) == names | {"Subsets"}
    for name, svg in drawn.items():
        assert svg.tag.endswith("svg")
        assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) > 10, name


def test_the_report_asks_no_network(tmp_path: Path) -> None:
    page, _ = written(tmp_path, judged())
    assert not re.search(r"(src|href)\s*=\s*['\"](?!data:)", page)
    assert "<script" not in page
    assert "@import" not in page
    assert "url(" not in page


def test_its_tags_are_balanced_and_strange_names_are_escaped(tmp_path: Path) -> None:
    page, _ = written(tmp_path, judged())
    checker = Balance()
    checker.feed(page)
    assert checker.open == []
    assert "heart &lt;failure&gt;" in page
    assert "<failure>" not in page
    assert "adults &amp; others" in page


def test_it_says_what_it_is_not_for_and_how_to_repeat_it(tmp_path: Path) -> None:
    page, _ = written(tmp_path, judged())
    assert "Not for clinical use" in page
    assert "medweave evaluate run --split held_out" in page


def test_every_model_stands_in_the_table_with_its_interval(tmp_path: Path) -> None:
    page, metrics = written(tmp_path, judged())
    for name, found in metrics["tasks"]["heart <failure>"]["models"].items():
        auroc = found["auroc"]
        assert f"<td>{name}</td>" in page
        assert f"{auroc['value']:.3f}<small>{auroc['low']:.3f} to {auroc['high']:.3f}" in page
    assert page.count("class='champion'") == 1


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_is_drawn_without_a_crash(tmp_path: Path, label: float) -> None:
    page, _ = written(tmp_path, judged(label=label))
    assert "What cannot be concluded" in page
    assert len(figures(page)) == 6


def test_three_rows_are_drawn_without_a_crash(tmp_path: Path) -> None:
    assert len(figures(written(tmp_path, judged(n=3))[0])) == 6


def test_the_same_numbers_give_the_same_page(tmp_path: Path) -> None:
    assert written(tmp_path, judged())[0] == written(tmp_path, judged())[0]


def test_the_terminal_gets_every_model_and_the_warnings(tmp_path: Path) -> None:
    _, metrics = written(tmp_path, judged(n=40))
    text = describe_metrics(metrics)
    entry = metrics["tasks"]["heart <failure>"]
    assert f"{entry['positives']} positives" in text
    for name in entry["models"]:
        assert re.search(rf"^[* ] {name} ", text, re.MULTILINE)
    assert re.search(r"^\* stacked ", text, re.MULTILINE)
    assert f"{entry['models']['stacked']['auroc']['value']:.3f}" in text
    assert all(f"! {words}" in text for words in entry["warnings"])


def test_the_difference_to_the_best_single_model_is_on_the_same_resamples() -> None:
    entry = measure_task(judged(), bootstrap=200, seed=0)
    lead = entry["against_best_single"]
    assert lead["model"] == "events_logistic"
    models = entry["models"]
    gap = models["stacked"]["auroc"]["value"] - models["events_logistic"]["auroc"]["value"]
    assert lead["auroc"]["value"] == pytest.approx(gap)
    own = models["stacked"]["auroc"]
    assert lead["auroc"]["high"] - lead["auroc"]["low"] < own["high"] - own["low"]
