import numpy as np
import pytest

from fusion.what_if import Edit, edit_timelines
from ingest.errors import UsageError
from ingest.timeline import Timelines
from tests.fusion.clinic import clinic_timelines

PRESSURE = "LOINC//8480-6"


@pytest.fixture(scope="module")
def timelines(tmp_path_factory: pytest.TempPathFactory) -> Timelines:
    return clinic_timelines(tmp_path_factory.mktemp("clinic"), 30, 4)[0]


def edited(timelines: Timelines, *edits: str) -> Timelines:
    return edit_timelines(timelines, [Edit.parse(edit) for edit in edits])


def values(timelines: Timelines, row: int) -> list[float]:
    events = timelines.events
    return events.loc[
        (events["row"] == row) & (events["code"] == PRESSURE), "numeric_value"
    ].tolist()


def test_a_value_that_is_set_takes_the_place_of_the_latest(timelines: Timelines) -> None:
    after = edited(timelines, f"{PRESSURE}=95.5")
    for row in range(len(timelines)):
        before = values(timelines, row)
        assert values(after, row) == [*before[:-1], 95.5]


def test_what_was_never_measured_is_known_at_the_prediction_time(timelines: Timelines) -> None:
    after = edited(timelines, "LOINC//2951-2=140")
    new = after.events[after.events["code"] == "LOINC//2951-2"]
    assert new["row"].tolist() == list(range(len(timelines)))
    assert (new["numeric_value"] == 140).all()
    assert (new["days_before"] == 0).all()
    assert after.events.dtypes.equals(timelines.events.dtypes)
    rest = after.events.drop(index=new.index).reset_index(drop=True)
    assert rest.equals(timelines.events)


def test_a_code_is_added_and_left_out_again(timelines: Timelines) -> None:
    code = "SNOMED//73211009"
    after = edited(timelines, f"+{code}")
    assert (after.events["code"] == code).sum() == len(timelines)
    assert edited(after, f"-{code}").events.equals(timelines.events)


def test_a_modality_is_left_out(timelines: Timelines) -> None:
    after = edited(timelines, "-notes")
    assert set(after.events["modality"]) == {"events", "images"}


def test_the_record_itself_is_left_as_it_is(timelines: Timelines) -> None:
    before = timelines.events.copy()
    edited(timelines, f"{PRESSURE}=1", "+SNOMED//1", "-images")
    assert timelines.events.equals(before)


@pytest.mark.parametrize("text", ["", "-", "=3", "LOINC//2951-2", "LOINC//2951-2=high", "X=nan"])
def test_what_is_no_change_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be CODE=VALUE, \\+CODE or -CODE; got"):
        Edit.parse(text)


def test_what_is_not_there_cannot_be_left_out(timelines: Timelines) -> None:
    with pytest.raises(UsageError, match="SNOMED//1 is not in the record"):
        edited(timelines, "-SNOMED//1")


def test_a_note_cannot_be_made_up(timelines: Timelines) -> None:
    with pytest.raises(UsageError, match="cannot be made up; got NOTE//LOINC//11488-4"):
        edited(timelines, "+NOTE//LOINC//11488-4")


@pytest.mark.parametrize("text", ["A//b=1.5", "+A//b", "-A//b", "A=b//c=-2e3"])
def test_a_change_is_written_as_it_is_read(text: str) -> None:
    assert Edit.parse(str(Edit.parse(text))) == Edit.parse(text)


def test_a_value_belongs_to_set_alone() -> None:
    with pytest.raises(ValueError, match="a value belongs to set alone; got add with 3"):
        Edit(kind="add", code="A", value=3.0)
    assert np.isnan(Edit(kind="set", code="A", value=np.nan).value or 0)
