"""None of a thousand planted identifiers survives, and the search for them can find them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ingest import deidentify_known
from ingest.build import ingest
from ingest.deidentify_fold import Folded, tokens_of
from tests.hospital import medweave
from tests.ingest.planted import Planted, plant_hospital
from tests.ingest.surviving import contents, survivors

PATIENTS = 36


def as_typed(text: str) -> Folded:
    return Folded(text=text, plain=text, folded=text.lower(), plain_places=None, folded_places=None)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant_hospital(tmp_path_factory.mktemp("hospital"), patients=PATIENTS)


def key_file(place: Path) -> Path:
    key = place / "key"
    key.write_bytes(b"a key of our own, 32 bytes long.")
    return key


def test_none_of_a_thousand_identifiers_survives_in_store_reports_or_output(
    planted: Planted, tmp_path: Path
) -> None:
    assert len(planted.needles) >= 3500
    assert sum("day" in kind or "date" in kind for kind in planted.needles.values()) >= 2000
    store, key = tmp_path / "store", key_file(tmp_path)
    sources = (planted.place / "fhir", planted.place / "dicom")
    page, films = tmp_path / "page.html", tmp_path / "films"
    runs = [
        medweave("ingest", *sources, "--store", store, "--key", key, "--deidentify"),
        medweave("ingest", *sources, "--store", store, "--key", key),  # it stays what it is
        medweave("store", "verify", store),
        medweave("store", "info", store, "--page", page),
        medweave("store", "dicom", store, "--out", films, "--key", key, "--with-burned-in"),
    ]
    (planted.place / "gone").mkdir()
    lost = planted.place / "gone" / f"{next(iter(planted.needles))}.ndjson"
    lost.write_text('{"resourceType": "Patient", "id": "lost"}\n')
    medweave("ingest", lost, "--store", store, "--key", key)
    lost.unlink()
    runs.append(medweave("ingest", *sources, "--store", store, "--key", key, code=3))
    texts = [*contents(store), *contents(films), ("page", page.read_text("utf-8"))]
    texts += [
        (name, said) for run in runs for name, said in (("out", run.stdout), ("err", run.stderr))
    ]
    assert survivors(planted.needles, texts) == set()
    # The same search finds them in what stands apart from the store.
    assert len({kind for kind, _ in survivors(planted.needles, contents(planted.place))}) >= 30


WEAKENED: dict[str, tuple[str, Callable[..., object] | str]] = {
    "names that nobody looks for": (
        "ingest.deidentify_terms.Terms.add_name",
        lambda self, given=(), family="": None,
    ),
    "names in their own typography alone": ("ingest.deidentify_text.fold", as_typed),
    "broken words": ("ingest.deidentify_fold.Folded.joined_tokens", lambda self: []),
    "numbers": ("ingest.deidentify_terms.Terms.add_id", lambda self, value, own=False: None),
    "contacts": ("ingest.deidentify_terms.Terms.add_contact", lambda self, value: None),
    "patterns of the surest kind": (
        "ingest.deidentify_text.find_sure",
        lambda plain, coded=False: iter(()),
    ),
    "what follows a title": ("ingest.deidentify_text.find_likely", lambda plain: iter(())),
    "codes": (
        "ingest.deidentify_text.Scrubber.scrub_code",
        lambda self, code, display: code,
    ),
    "names without word breaks": (
        "ingest.deidentify_unspaced.Unspaced.find",
        lambda self, text: iter(()),
    ),
    "known numbers of a row": (
        "ingest.deidentify_terms.find_known_numbers",
        lambda plain, known, own: iter(()),
    ),
    "postal codes as the record has them": (
        "ingest.deidentify_terms.spell_postal_code",
        lambda code: iter([tokens_of(code)]),
    ),
    "addresses as the record has them": (
        "ingest.deidentify_terms.spell_line",
        lambda line: iter([(tokens_of(line), True)]),
    ),
    "days that share a month": (
        "ingest.deidentify_text.find_date_lists",
        lambda text, style: iter(()),
    ),
    "days in words": ("ingest.deidentify_text.find_worded_dates", lambda text, style: iter(())),
    "days of other languages": (
        "ingest.deidentify_text.find_foreign_dates",
        lambda text, style: iter(()),
    ),
    "days of any kind": ("ingest.deidentify_text.find_dates", lambda text, style: iter(())),
    "films' headers": ("ingest.deidentify._gather_films", lambda *_, **__: []),
    "file names": ("ingest.build.with_neutral_names", lambda files: files),
    "older versions": (
        "ingest.deidentify_known._LINES",
        deidentify_known._LINES.replace("h.key <> '' THEN", "false THEN"),
    ),
    "reasons": ("ingest.deidentify._clean_reasons", lambda *_: None),
    "numbers in numeric_value": (
        "ingest.deidentify_terms.Terms.__contains__",
        lambda self, number: False,
    ),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A hospital of which nothing survives; where it does, what follows proves nothing."""
    place = tmp_path_factory.mktemp("small")
    hospital = plant_hospital(place / "hospital", patients=8)
    ingest([hospital.place], place / "store", key=key_file(place), deidentify=True)
    assert survivors(hospital.needles, contents(place / "store")) == set()
    return hospital


@pytest.mark.slow
@pytest.mark.parametrize("weakness", WEAKENED)
def test_the_search_finds_what_a_weaker_scrubber_leaves(
    weakness: str, small: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, instead = WEAKENED[weakness]
    monkeypatch.setattr(target, instead)
    store = tmp_path / "store"
    ingest([small.place], store, key=key_file(tmp_path), deidentify=True)
    assert survivors(small.needles, contents(store))
