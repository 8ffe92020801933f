"""Name the codes of the simulated records, and put codes and values into FHIR's form."""

from datetime import datetime
from typing import Any

import numpy as np

from ingest.world import Measurement

__all__ = [
    "CONDITIONS",
    "CVX",
    "HEART_FAILURE",
    "HISTORY_CLASSES",
    "LOINC",
    "MEDICATIONS",
    "PROCEDURES",
    "RXNORM",
    "SMOKING",
    "SNOMED",
    "TERMS",
    "TREATMENTS",
    "VITAL_SIGNS",
    "concept",
    "instant",
    "modality",
    "quantity",
    "series",
    "written_value",
]

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
RXNORM, CVX = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/cvx"
UCUM = "http://unitsofmeasure.org"
TERMS = "http://terminology.hl7.org/CodeSystem"

HEART_FAILURE = ("84114007", "Heart failure")
CONDITIONS = (
    ("396275006", "Osteoarthritis"),
    ("40930008", "Hypothyroidism"),
    ("235595009", "Gastroesophageal reflux disease"),
    ("35489007", "Depressive disorder"),
    ("37796009", "Migraine"),
    ("193462001", "Insomnia"),
    ("161891005", "Backache"),
    ("193570009", "Cataract"),
    ("444814009", "Viral sinusitis"),
    ("10509002", "Acute bronchitis"),
    ("64859006", "Osteoporosis"),
    ("24079001", "Atopic dermatitis"),
    ("23986001", "Glaucoma"),
    ("95570007", "Kidney stone"),
    ("4556007", "Gastritis"),
)
MEDICATIONS = (
    ("313782", "Acetaminophen 325 MG Oral Tablet"),
    ("310965", "Ibuprofen 200 MG Oral Tablet"),
    ("198051", "Omeprazole 20 MG Delayed Release Oral Capsule"),
    ("966222", "Levothyroxine Sodium 0.075 MG Oral Tablet"),
    ("312938", "Sertraline 100 MG Oral Tablet"),
    ("1049630", "diphenhydramine Hydrochloride 25 MG Oral Tablet"),
    ("308182", "Amoxicillin 250 MG Oral Capsule"),
    ("197591", "Diazepam 5 MG Oral Tablet"),
)
# What treats a comorbidity says no more than the comorbidity, which is always recorded.
TREATMENTS = {
    "hypertension": ("314076", "lisinopril 10 MG Oral Tablet"),
    "diabetes": ("860975", "metformin hydrochloride 500 MG Extended Release Oral Tablet"),
    "coronary_disease": ("259255", "atorvastatin 80 MG Oral Tablet"),
    "atrial_fibrillation": ("855332", "warfarin sodium 5 MG Oral Tablet"),
}
PROCEDURES = (
    ("73761001", "Colonoscopy"),
    ("71651007", "Mammography"),
    ("430193006", "Medication reconciliation"),
    ("8411005", "Tooth extraction"),
)
SMOKING = (("266919005", "Never smoker"), ("8517006", "Ex-smoker"), ("77176002", "Smoker"))
HISTORY_CLASSES = (("VR", "virtual"), ("HH", "home health"), ("SS", "short stay"))
VITAL_SIGNS = {"8480-6", "8462-4", "8867-4", "29463-7", "8310-5"}


def concept(system: str, code: str, display: str | None = None) -> dict[str, Any]:
    """Give a CodeableConcept with one coding."""
    coding = {"system": system, "code": code}
    if display:
        coding["display"] = display
    return {"coding": [coding]}


def modality() -> dict[str, str]:
    """Give the Coding of digital radiography."""
    return {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "DX"}


def series(series_uid: str, instance_uid: str) -> dict[str, Any]:
    """Give the series of an ImagingStudy with one chest film."""
    sop_class = {
        "system": "urn:ietf:rfc:3986",
        "code": "urn:oid:1.2.840.10008.5.1.4.1.1.1.1.1",
    }
    return {
        "uid": series_uid,
        "number": 1,
        "modality": modality(),
        "bodySite": {"system": SNOMED, "code": "51185008", "display": "Chest"},
        "instance": [{"uid": instance_uid, "sopClass": sop_class, "number": 1}],
    }


def quantity(m: Measurement, value: float) -> dict[str, Any]:
    """Give a Quantity in UCUM."""
    number = int(value) if m.digits == 0 else value
    return {"value": number, "unit": m.unit, "system": UCUM, "code": m.unit}


def written_value(m: Measurement, z: float) -> float:
    """Give a written value that lies z sd from the mean."""
    raw = m.mean + m.sd * float(z)
    smallest = 10.0**-m.digits
    return max(round(float(np.exp(raw)) if m.log else raw, m.digits), smallest)


def instant(at: datetime) -> str:
    """Give a FHIR instant; the time is UTC."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
