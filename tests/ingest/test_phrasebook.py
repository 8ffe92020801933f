"""Notes: many wordings of the same state, and words that mean no state."""

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ingest.errors import MappingError
from ingest.oracle import Draw, draw, evidence, oracle
from ingest.phrasebook import as_html, read_phrasebook, write_note
from ingest.world import FINDINGS, World, read_world


def worded(wording: dict[str, object]) -> World:
    world = read_world()
    notes = world.notes.model_copy(update={"wording": wording})
    return world.model_copy(update={"notes": notes})


@cache
def notes(n: int = 4000) -> tuple[Draw, list[str]]:
    world, rng = read_world(), np.random.default_rng(8)
    book, drawn = read_phrasebook(world), draw(world, n, rng)
    s = drawn.statistics
    return drawn, [write_note(book, world, s.stated[i], s.hedged[i], rng) for i in range(n)]


def pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", ".+?", re.escape(phrase)))


def test_every_finding_has_wordings_enough() -> None:
    book = read_phrasebook(read_world())
    for name in FINDINGS:
        finding = book.findings[name]
        assert len(set(finding.affirmed)) >= 12
        assert len(set(finding.denied)) >= 8
        assert len(set(finding.historical)) >= 4
        assert len(set(finding.hedged)) >= 4
    assert len(set(book.family)) >= 12


def test_no_phrase_stands_for_two_states() -> None:
    book = read_phrasebook(read_world())
    phrases = [
        phrase
        for finding in book.findings.values()
        for group in (finding.affirmed, finding.denied, finding.hedged, finding.historical)
        for phrase in group
    ]
    phrases += [*book.family, *book.no_family, *book.history, *book.examination, *book.past]
    assert [phrase for phrase, count in Counter(phrases).items() if count > 1] == []


def test_a_note_says_what_was_stated_and_nothing_else() -> None:
    """Read single-sentence findings back from the text by their phrases."""
    world = read_world()
    world = world.model_copy(
        update={"notes": world.notes.model_copy(update={"grouped": 0.0, "historical": 0.0})}
    )
    book, rng = read_phrasebook(world), np.random.default_rng(1)
    known = [
        (f, state, pattern(phrase))
        for f, name in enumerate(FINDINGS)
        for state, phrases in (
            (1, book.findings[name].affirmed),
            (-1, book.findings[name].denied),
        )
        for phrase in phrases
    ]
    for _ in range(60):
        stated = rng.integers(-1, 2, len(FINDINGS))
        text = write_note(book, world, stated, np.zeros(len(FINDINGS), bool), rng)
        body = {line.split(": ", 1)[0]: line.split(": ", 1)[1] for line in text.splitlines()}
        here = " ".join(
            body[heading]
            for heading in body
            if heading in book.headings.history + book.headings.examination
        )
        sentences = re.split(r"(?<=\.) ", here)
        read = {(f, state) for f, state, p in known for line in sentences if p.fullmatch(line)}
        assert read == {(f, s) for f, s in enumerate(stated.tolist()) if s}


def test_symptoms_can_share_a_sentence_under_one_negation() -> None:
    world = read_world()
    world = world.model_copy(update={"notes": world.notes.model_copy(update={"grouped": 1.0})})
    book, rng = read_phrasebook(world), np.random.default_rng(1)
    denied = np.array([-1, -1, -1, -1, 0, 0])
    text = write_note(book, world, denied, np.zeros(6, bool), rng)
    assert any(
        sum(any(name in line for name in book.findings[f].names) for f in FINDINGS[:4]) == 4
        and " or " in line
        for line in re.split(r"(?<=\.) |\n", text)
    )


def test_notes_are_of_60_to_150_words() -> None:
    lengths = [len(text.split()) for text in notes()[1]]
    assert min(lengths) >= 60
    assert max(lengths) <= 150


def test_a_bag_of_words_without_negation_is_misled() -> None:
    """Counting a finding's words does much worse than reading whether they are denied."""
    drawn, texts = notes()
    words = r"orthopn|flat|pillow|dysp|breath|SOB|PND|gasp|swell|swollen|edema|JV|neck|crackl|rales"
    counted = [len(re.findall(words, text)) for text in texts]
    world = read_world()
    read = oracle(world, evidence(world, drawn.statistics))["notes"]
    misled = roc_auc_score(drawn.label, counted)
    assert abs(misled - 0.5) < 0.06
    assert roc_auc_score(drawn.label, read) > misled + 0.1


def test_distractors_do_not_depend_on_the_label() -> None:
    drawn, texts = notes()
    for words in ("cardiomyopathy|failing heart|heart failure", "resolved|recovered|cleared"):
        has = np.array([bool(re.search(words, text)) for text in texts])
        yes, no = has[drawn.label].mean(), has[~drawn.label].mean()
        error = np.sqrt(has.var() * (1 / drawn.label.sum() + 1 / (~drawn.label).sum()))
        assert has.mean() > 0.05
        assert abs(yes - no) < 4 * error


def test_html_keeps_the_words() -> None:
    text = "Plan: A < B.\nFH: None.\n"
    assert as_html(text) == (
        "<html><body><h4>Plan</h4><p>A &lt; B.</p><h4>FH</h4><p>None.</p></body></html>"
    )


def test_a_world_can_bring_its_own_wording() -> None:
    world = worded({"findings": {"orthopnoea": {"affirmed": ["Schläft im Sitzen."]}}})
    text = write_note(
        read_phrasebook(world),
        world,
        np.array([0, 1, 0, 0, 0, 0]),
        np.zeros(6, bool),
        np.random.default_rng(0),
    )
    assert "Schläft im Sitzen." in text


@pytest.mark.parametrize(
    ("wording", "said"),
    [
        ({"famly": []}, r"notes\.wording\.famly: Extra inputs"),
        ({"family": []}, r"notes\.wording\.family: .*at least 1"),
        ({"family": ["{uncle} died."]}, "has a slot that is none of"),
        ({"findings": {"orthopnoea": {"place": "feet"}}}, r"findings\.orthopnoea\.place"),
    ],
)
def test_a_bad_wording_is_refused_by_the_name_of_the_field(
    wording: dict[str, object], said: str
) -> None:
    with pytest.raises(MappingError, match=said):
        read_phrasebook(worded(wording))
