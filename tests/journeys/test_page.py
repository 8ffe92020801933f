"""The page in a real browser: pick a patient, see a risk; upload the same record, see the same."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fusion.train import train
from serve.page_codes import signed
from serve.predictor import Predictor
from serve.texts import say
from tests.hospital import Hospital
from tests.journeys.browser import QUIET, chromium_path, patient_files, serving, with_note

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
expect.set_options(timeout=60_000)  # a prediction takes seconds where other tests share the cores


@pytest.fixture(scope="module")
def run(hospital: Hospital) -> Path:
    """A run whose risks depend on all three modalities: on 60 patients prevalence may well win."""
    place = hospital.place / "run-of-the-page"
    names = ["prevalence", "events_logistic", "notes_tfidf", "images_embedding", "average"]
    train(hospital.store, hospital.cohort, place, candidates=names, champion="average")
    return place


@pytest.fixture(scope="module")
def predictor(run: Path, hospital: Hospital) -> Predictor:
    return Predictor(run, hospital.store)


@pytest.fixture(scope="module")
def patients(predictor: Predictor) -> pd.DataFrame:
    rows = predictor.patients()
    return rows.join(predictor.summarize(rows))


@pytest.fixture(scope="module")
def address(run: Path, hospital: Hospital) -> Iterator[str]:
    with serving(run, hospital.store) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """Open the page in a fresh window; at the end, insist that nothing left the machine."""
    asked: list[str] = []
    contexts = []

    def open_page(width: int = 1280, language: str = "en-US", theme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, locale=language, color_scheme=theme
        )
        contexts.append(context)
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(address)
        page.wait_for_selector("#mw-next")
        return page

    yield open_page
    for context in contexts:
        context.close()
    hosts = {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}


def pick(page: Page, subject: int) -> None:
    page.locator("#mw-patient input").click()
    page.locator("#mw-patient input").fill(str(subject))
    page.get_by_role("option").filter(has_text=f"#{subject} ").click()
    expect(page.locator("h2", has_text=str(subject))).to_be_visible()


def shown_risk(page: Page) -> float:
    return float(page.locator(".mw-big").get_attribute("data-risk") or "nan")


def test_a_picked_patients_risk_is_the_predictors(
    visit: Visit, patients: pd.DataFrame, predictor: Predictor
) -> None:
    page = visit()
    expect(page.locator(".mw-warning")).to_contain_text("Not for clinical use")
    for subject in patients["subject_id"].unique()[:3]:
        pick(page, subject)
        expected = predictor.predict(int(subject)).risks[0]
        assert shown_risk(page) == pytest.approx(expected.risk, abs=1e-5)
        expect(page.locator(".mw-base")).to_contain_text(f"{100 * expected.task.base_rate:.1f}%")
        expect(page.locator(".mw-share")).to_have_count(3)


def test_who_picks_faster_than_answers_come_sees_the_patient_that_the_list_names(
    visit: Visit, patients: pd.DataFrame
) -> None:
    page = visit()
    picks = page.locator("#mw-patient input")
    shown = page.locator("h2").first

    def settled() -> str:
        """Wait until the page shows the patient that its list names, and say who that is."""
        for _ in range(60):
            page.wait_for_timeout(1000)  # whatever is on its way
            named = picks.input_value().split(" ")[0].removeprefix("#")
            if named and shown.inner_text() == f"Subject {named}":
                return named
        raise AssertionError(f"the list names {named}, and the page shows another patient")

    # On a busy machine the list may be slow to filter, and take another name than was typed.
    for subject in patients["subject_id"].unique()[:5]:
        picks.fill(str(subject))  # the keyboard is faster than the mouse
        picks.press("ArrowDown")
        picks.press("Enter")
    picked = settled()
    for _ in range(4):
        page.click("#mw-next")
    expect(shown).not_to_have_text(f"Subject {picked}")
    settled()


def test_a_patient_without_image_or_note_works_and_says_so(
    visit: Visit, patients: pd.DataFrame
) -> None:
    page = visit()
    for kind, words in (("images", "No image was known"), ("notes", "No note was known")):
        lacking = patients.loc[patients[kind] == 0, "subject_id"]
        assert len(lacking), f"no held-out patient of the 60 lacks {kind}; change the seed"
        pick(page, int(lacking.iloc[0]))
        expect(page.locator(f"section.mw-{kind}")).to_contain_text(words)
        expect(page.locator(f'.mw-share[data-modality="{kind}"]')).to_contain_text("none on record")
        assert 0 < shown_risk(page) < 1


def test_the_page_speaks_chinese_to_a_chinese_browser_and_english_on_request(
    visit: Visit,
) -> None:
    page = visit(language="zh-CN")
    expect(page.locator(".mw-warning")).to_contain_text("不得用于临床")
    page.click("#mw-next")
    expect(page.locator(".mw-timeline h2")).to_have_text("时间线")
    before = shown_risk(page)
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.locator("#mw-language label", has_text="English").click()
    expect(page.locator(".mw-timeline h2")).to_have_text("Timeline")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert shown_risk(page) == before


def test_no_text_is_lost_in_either_theme(visit: Visit) -> None:
    backgrounds = []
    for theme in ("light", "dark"):
        page = visit(theme=theme)
        page.click("#mw-next")
        page.wait_for_selector(".mw-big")
        faint = page.evaluate(CONTRAST)
        assert faint == [], theme
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.click("#mw-theme")
        page.wait_for_function(
            "before => getComputedStyle(document.body).backgroundColor !== before",
            arg=backgrounds[-1],
        )
    assert len(set(backgrounds)) == 2


def test_a_narrow_window_needs_no_sideways_scrolling(visit: Visit) -> None:
    page = visit(width=400)
    page.click("#mw-next")
    page.wait_for_selector(".mw-big")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    expect(page.locator(".mw-lanes-narrow")).to_be_visible()
    expect(page.locator(".mw-lanes-wide")).to_be_hidden()


def test_why_in_detail_is_shown_on_request_and_in_the_readers_language(
    visit: Visit, patients: pd.DataFrame, predictor: Predictor
) -> None:
    both = patients[(patients["images"] > 0) & (patients["notes"] > 0)]
    subject = int(both["subject_id"].iloc[0])
    page = visit()
    pick(page, subject)
    expect(page.locator(".mw-why")).to_have_count(0)
    page.get_by_label(say("en", "detail")).check()
    expect(page.locator(".mw-why h2")).to_have_text(say("en", "why_title"))
    (one,) = predictor.explain(subject)
    for note in one.explanation.notes:
        strongest = max(note.words, key=lambda word: abs(word.log_odds))
        title = signed(strongest.log_odds, 3)
        expect(page.locator(f".mw-why-note b[title='{title}']").first).to_be_visible()
    expect(page.locator(".mw-why-films img")).to_have_count(2 * len(one.explanation.images))
    page.get_by_text("简体中文").click()
    expect(page.locator(".mw-why h2")).to_have_text(say("zh", "why_title"))
    page.get_by_label(say("zh", "detail")).uncheck()
    expect(page.locator(".mw-why")).to_have_count(0)


def test_an_uploaded_record_gets_the_same_risk_as_the_store_gives(
    visit: Visit, hospital: Hospital, patients: pd.DataFrame, predictor: Predictor, tmp_path: Path
) -> None:
    both = patients[(patients["images"] > 0) & (patients["notes"] > 0)]
    subject = int(both["subject_id"].iloc[0])
    files = patient_files(hospital.source, key_of(hospital, subject), tmp_path)
    assert len(files) > 1
    page = visit()
    upload(page, files)
    expect(page.locator(".mw-patient")).to_contain_text("Uploaded record")
    expected = predictor.predict(subject)
    assert shown_risk(page) == pytest.approx(expected.risks[0].risk, abs=1e-5)
    assert page.locator(".mw-image img").count() == len(expected.pictures)
    assert page.locator(".mw-remark").count() == 0


def test_a_note_that_is_markup_is_shown_as_text(
    visit: Visit, hospital: Hospital, patients: pd.DataFrame, tmp_path: Path
) -> None:
    subject = int(patients.loc[patients["notes"] > 0, "subject_id"].iloc[0])
    files = patient_files(hospital.source, key_of(hospital, subject), tmp_path)
    page = visit()
    upload(page, [with_note(files[0], HOSTILE + " ${alert(1)} {{7*7}} @children")])
    expect(page.locator(".mw-note-text").first).to_contain_text(
        HOSTILE + " ${alert(1)} {{7*7}} @children"
    )
    assert page.title() == "Medweave"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("jane-roe.json", b'{"resourceType": "Bundle", "entry": [{"resou', "No"),
        ("jane-roe.json", b"[]", "No"),
        ("jane-roe.dcm", b"Jane Roe", "No"),
    ],
)
def test_a_broken_upload_is_told_in_a_fixed_sentence(
    visit: Visit, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    page = visit()
    upload(page, [file])
    error = page.locator(".mw-error")
    expect(error).to_contain_text("That did not work")
    expect(error).to_contain_text("Log entry")
    body = page.locator("body").inner_text()
    for leak in ("Traceback", "Error:", "Jane", "jane", str(tmp_path), "site-packages"):
        assert leak not in body


def upload(page: Page, files: list[Path]) -> None:
    page.get_by_role("tab", name="Upload").click()
    page.locator('input[type="file"]').set_input_files(files)
    page.wait_for_selector(".mw-patient, .mw-error", timeout=150_000)


def key_of(hospital: Hospital, subject: int) -> str:
    crosswalk = pd.read_parquet(Path(f"{hospital.store}.raw") / "crosswalk.parquet")
    return str(crosswalk.loc[crosswalk["subject_id"] == subject, "subject_key"].iloc[0])


CONTRAST = """() => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => { const f = v => { v /= 255;
    return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
    return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const behind = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > .9) return c; } return [255, 255, 255]; };
  const faint = [];
  for (const e of document.querySelectorAll(".gradio-container *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.closest("title, style, script")) continue;
    const style = getComputedStyle(e);
    const ink = parse(e.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(behind(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5)
      faint.push(e.textContent.trim().slice(0, 40) + " " + ((a + .05) / (b + .05)).toFixed(1));
  }
  return faint; }"""
"""WCAG 2.2 AA: text has a contrast of at least 4.5 to what is behind it."""
