"""Contract 3: the names of subsets are part of metrics.json."""

from fusion.scoring import ALL_MODALITIES, subset_name, subsets


def test_seven_subsets_of_three_modalities_end_with_all() -> None:
    found = subsets()
    assert len(found) == len(set(found)) == 7
    assert found[-1] == ALL_MODALITIES
    assert [subset_name(s) for s in found[:3]] == ["events", "notes", "images"]
    assert subset_name(ALL_MODALITIES) == "events+notes+images"
