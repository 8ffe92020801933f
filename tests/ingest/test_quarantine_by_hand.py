"""What is quarantined of the public sets, each looked at by hand once (November 2026).

The finding stands beside each reason; whatever is quarantined beyond these, or for another reason,
fails here and has to be looked at. Film files without a FHIR patient among the sources rightly join
nobody; of `dicom` the others are listed.
"""

from pathlib import Path

import duckdb
import pytest

from tests.ingest.exports import ingested

NO_TYPE = "not a FHIR resource: no resourceType"
JOINS_NOBODY = "image joins no patient"

LOOKED_AT: dict[str, dict[tuple[str, str], int]] = {
    # split.json is a table of contents, by the set's makers.
    "mimic_iv_demo_fhir": {("split.json", NO_TYPE): 1},
    # log.ndjson is the export's own log: four lines, none a resource.
    "synthea_bulk_ndjson": {("log.ndjson", NO_TYPE): 4},
    "synthea_r4_bundles": {("INDEX.json", NO_TYPE): 1},
    "pathling_ndjson": {},
    "hl7_r4_examples": {
        # Thirteen Observations without `subject`; whose they are, only the report that cites them
        # says. Not guessed: an Observation's subject may be a place or a device.
        ("Bundle-report.json", "no subject"): 13,
        ("Observation-decimal.json", "no subject"): 1,  # has none
        ("Observation-vp-oyster.json", "no subject"): 1,  # {"display": "Sonoma oyster farm"}
        # {"display": "Jane Doe"} or "Paula Patient": a name is no reference.
        ("Procedure-education.json", "no subject"): 1,
        ("Procedure-ob.json", "no subject"): 1,
        ("ServiceRequest-appendectomy-narrative.json", "no subject"): 1,
        ("ServiceRequest-education.json", "no subject"): 1,
        ("ServiceRequest-ob.json", "no subject"): 1,
    },
    "dicom": {
        # One to three elements, none of them pixels.
        ("pydicom/UN_sequence.dcm", "no pixel data"): 1,
        ("pydicom/empty_charset_LEI.dcm", "no pixel data"): 1,
        ("pydicom/no_meta_group_length.dcm", "no pixel data"): 1,
        ("pydicom/priv_SQ.dcm", "no pixel data"): 1,
        ("pydicom/no_meta.dcm", "not an image"): 1,  # one private element
        # Pixels, but nothing that says how many.
        ("pydicom/nested_priv_SQ.dcm", "pixel data without rows and columns"): 1,
        ("pydicom/meta_missing_tsyntax.dcm", "pixel data without rows and columns"): 1,
        ("pydicom/MR_truncated.dcm", "pixel data cut short (8130 of 8192 bytes)"): 1,
        (  # four bytes of its codestream are overwritten, on purpose
            "pydicom/JPEG2000-embedded-sequence-delimiter.dcm",
            "pixels that cannot be decoded (JPEG 2000 Image Compression, 16 bits, RuntimeError)",
        ): 1,
    },
}


@pytest.mark.parametrize("name", LOOKED_AT)
def test_nothing_is_quarantined_but_what_was_looked_at(
    name: str, shared_data: Path, tmp_path: Path
) -> None:
    if not (shared_data / name).is_dir():
        pytest.skip(f"../shared/data/{name} is not there")
    report = ingested(tmp_path, shared_data / name)
    rows = duckdb.sql(
        "SELECT name, reason, count(*) FROM read_parquet(?) GROUP BY ALL",
        params=[str(tmp_path / "store.raw" / "quarantine.parquet")],
    ).fetchall()
    found = {(file, reason): n for file, reason, n in rows if reason != JOINS_NOBODY}
    assert found == LOOKED_AT[name]
    assert sum(sum(f["quarantined"].values()) for f in report["files"].values()) == sum(
        n for *_, n in rows
    )


def test_of_the_conformance_suites_only_the_patient_is_a_resource(
    shared_data: Path, tmp_path: Path
) -> None:
    """The suites' own files: tests about FHIR, which are no FHIR."""
    report = ingested(tmp_path, shared_data / "conformance")
    for name, told in report["files"].items():
        reasons = set(told["quarantined"])
        assert reasons <= {NO_TYPE, "not FHIR: another namespace"}, name
        assert not reasons or name.startswith(("sql-on-fhir-v2/", "fhirpath/tests-fhir-")), name
    assert report["subjects"] == 1
