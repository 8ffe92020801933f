"""Deliver small hospitals in random pieces, and hold a store against one that is built anew."""

import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import duckdb

from ingest.build import ingest
from ingest.landing import RawZone
from ingest.verify import verify_store

BASE = "https://fhir.example.org/r4"
UUIDS = [f"{n:x}f3c2b1a-9d4e-4f6a-8b7c-1e2d3c4b5a{n:02x}" for n in range(1, 15)]


class Hospital:
    """Make random resources of few people, so that they meet: versions, merges, late arrivals."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.number = 0
        self.written: list[Path] = []

    def file(self, place: Path) -> Path:
        """Write one random file: lines, a Bundle, or a history, with some broken."""
        self.number += 1
        if self.written and self.rng.random() < 0.06:  # the same again, under another name
            before = self.rng.choice(self.written)
            path = place / f"{self.number}{''.join(before.suffixes)}"
            path.write_bytes(before.read_bytes())
            return path
        path = self.fresh_file(place)
        if path.suffix == ".ndjson" and self.rng.random() < 0.2:
            packed = path.with_suffix(".ndjson.gz")
            packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()
            path = packed
        self.written.append(path)
        return path

    def fresh_file(self, place: Path) -> Path:
        kind = self.rng.choice(["ndjson", "ndjson", "ndjson", "bundle", "lines"])
        resources = [self.resource() for _ in range(self.rng.randint(1, 25))]
        place.mkdir(parents=True, exist_ok=True)
        if kind == "ndjson":
            path = place / f"{self.number}.ndjson"
            lines = [json.dumps(resource) for resource in resources]
            lines = [self.spoil(line) if self.rng.random() < 0.04 else line for line in lines]
            path.write_text("".join(line + "\n" for line in lines), "utf-8")
        else:
            bundle = json.dumps(self.bundle(resources))
            path = place / f"{self.number}.{'json' if kind == 'bundle' else 'ndjson'}"
            path.write_text(bundle + "\n", "utf-8")
        return path

    def spoil(self, line: str) -> str:
        return self.rng.choice([line[:-3], "", "  ", '{"no": 1}', line.replace('"id"', '"nid"')])

    def bundle(self, resources: list[dict[str, Any]]) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        for resource in resources:
            entry: dict[str, Any] = {"resource": resource}
            if self.rng.random() < 0.5:
                entry["fullUrl"] = f"{BASE}/{resource['resourceType']}/{resource.get('id', 'x')}"
            elif self.rng.random() < 0.5:
                entry["fullUrl"] = f"urn:uuid:{self.rng.choice(UUIDS)}"
                if self.rng.random() < 0.5:
                    resource.pop("id", None)
            elif self.rng.random() < 0.3:
                entry["fullUrl"] = f"urn:uuid:{self.rng.randint(1, 3)}"
                resource.pop("id", None)
            if self.rng.random() < 0.12:
                url = f"{resource['resourceType']}/{resource.get('id', 'x')}"
                entry = {"request": {"method": "DELETE", "url": url}}
                if self.rng.random() < 0.5:
                    entry["response"] = {"lastModified": self.when()}
            entries.append(entry)
        kind = self.rng.choice(["transaction", "collection", "history"])
        return {"resourceType": "Bundle", "type": kind, "entry": entries}

    def resource(self) -> dict[str, Any]:
        make = self.rng.choices(
            [
                self.patient,
                self.encounter,
                self.medication,
                self.location,
                self.binary,
                self.observation,
                self.request,
                self.document,
                self.condition,
                self.other,
            ],
            [3, 4, 2, 1, 1, 6, 4, 2, 4, 2],
        )[0]
        resource = {key: value for key, value in make().items() if value is not None}
        if self.rng.random() < 0.5:
            resource["meta"] = {"lastUpdated": self.when()}
            if self.rng.random() < 0.3:
                resource["meta"]["versionId"] = str(self.rng.randint(1, 3))
        return resource

    def when(self) -> str:
        n = self.rng.randint(0, 400)
        text = f"20{10 + n % 10}-{1 + n % 12:02}-{1 + n % 28:02}"
        return text + self.rng.choice(["T08:00:00Z", "T22:15:00+02:00", "T10:00:00"])

    def day(self) -> str:
        return self.rng.choice([self.when(), self.when()[:10], self.when()[:7]])

    def maybe(self, value: Any, chance: float = 0.5) -> Any:
        return value if self.rng.random() < chance else None

    def number_of(self, most: int) -> int:
        return self.rng.randint(0, most)

    def to(self, kind: str, most: int) -> dict[str, Any] | None:
        """Refer to a resource in one of the ways that there are."""
        name = f"{kind[0].lower()}{self.number_of(most)}"
        form = self.rng.random()
        if form < 0.6:
            return {"reference": f"{kind}/{name}"}
        if form < 0.68:
            return {"reference": f"{BASE}/{kind}/{name}"}
        if form < 0.74:
            return {"reference": f"{BASE}/{kind}/{name}/_history/2"}
        if form < 0.86:
            return {"reference": f"urn:uuid:{self.rng.choice(UUIDS)}"}
        if form < 0.9:
            return {"reference": f"urn:uuid:{self.rng.randint(1, 3)}"}
        if form < 0.95:
            return {"reference": f"{kind}?identifier=urn:ids|{name}"}
        return {"identifier": {"system": "urn:ids", "value": name}}

    def identified(self, kind: str, most: int) -> dict[str, Any]:
        name = f"{kind[0].lower()}{self.number_of(most)}"
        value = f"{kind[0].lower()}{self.number_of(most)}"
        return {
            "resourceType": kind,
            "id": name,
            "identifier": self.maybe([{"system": "urn:ids", "value": value}]),
        }

    def patient(self) -> dict[str, Any]:
        kind = self.rng.choice(["replaced-by", "replaces", "seealso"])
        return {
            **self.identified("Patient", 5),
            "gender": self.maybe(self.rng.choice(["male", "female"])),
            "birthDate": self.maybe(self.day()[:10]),
            "deceasedDateTime": self.maybe(self.day(), 0.3),
            "deceasedBoolean": self.maybe(True, 0.2),
            "link": self.maybe([{"type": kind, "other": self.to("Patient", 5)}], 0.25),
        }

    def encounter(self) -> dict[str, Any]:
        died = {"dischargeDisposition": {"coding": [{"code": "exp"}]}}
        return {
            **self.identified("Encounter", 6),
            "status": self.rng.choice(["finished", "finished", "in-progress", "cancelled"]),
            "class": {"code": self.rng.choice(["IMP", "AMB"])},
            "subject": self.to("Patient", 5),
            "period": self.maybe({"start": self.day(), "end": self.day()}, 0.8),
            "hospitalization": self.maybe(died, 0.3),
            "location": self.maybe(
                [{"location": self.to("Location", 2), "period": {"start": self.day()}}]
            ),
        }

    def medication(self) -> dict[str, Any]:
        coded = {"coding": [{"system": "urn:drugs", "code": str(self.number_of(4))}]}
        return {
            **self.identified("Medication", 4),
            "code": self.maybe(coded, 0.6),
            "ingredient": self.maybe([{"itemReference": self.to("Medication", 4)}], 0.4),
        }

    def location(self) -> dict[str, Any]:
        return {**self.identified("Location", 2), "name": f"Ward {self.number_of(3)}"}

    def binary(self) -> dict[str, Any]:
        texts = ["Tm8gZWZmdXNpb24u", "Q2xlYXIgbHVuZ3Mu", "bm90IGJhc2U2NA="]
        return {
            "resourceType": "Binary",
            "id": f"b{self.number_of(2)}",
            "contentType": "text/plain",
            "data": self.rng.choice(texts),
        }

    def about(self, kind: str, most: int) -> dict[str, Any]:
        return {
            "resourceType": kind,
            "id": f"{kind[:2].lower()}{self.number_of(most)}",
            "subject": self.to("Patient", 5),
            "encounter": self.maybe(self.to("Encounter", 6), 0.7),
        }

    def coded(self) -> dict[str, Any]:
        coding = {"system": "http://loinc.org", "code": f"{self.number_of(6)}-1"}
        coding["display"] = self.rng.choice(["Pulse", "Weight", " Pulse ", "Height"])
        more = [{"system": "urn:local", "code": f"L{self.number_of(3)}"}]
        return {"coding": [coding, *(more if self.rng.random() < 0.5 else [])]}

    def observation(self) -> dict[str, Any]:
        quantity = {"value": self.number_of(90), "unit": self.rng.choice(["kg", "lb", "apples"])}
        return {
            **self.about("Observation", 30),
            "status": self.rng.choice(["final", "final", "amended", "entered-in-error"]),
            "code": self.maybe(self.coded(), 0.9),
            "effectiveDateTime": self.maybe(self.day(), 0.7),
            "valueQuantity": self.maybe(quantity, 0.8),
        }

    def condition(self) -> dict[str, Any]:
        made = {
            **self.about("Condition", 20),
            "code": self.maybe(self.coded(), 0.9),
            "recordedDate": self.maybe(self.day(), 0.3),
        }
        if self.rng.random() < 0.15:
            known = {"system": "urn:ids", "value": f"p{self.number_of(5)}"}
            made["contained"] = [{"resourceType": "Patient", "id": "in", "identifier": [known]}]
            made["subject"] = {"reference": "#in"}
        return made

    def request(self) -> dict[str, Any]:
        kinds = ["MedicationRequest", "MedicationAdministration", "MedicationDispense"]
        made = {
            **self.about(self.rng.choice(kinds), 12),
            "status": "active",
            "authoredOn": self.maybe(self.day()),
            "medicationReference": self.to("Medication", 4),
        }
        made["medicationReference"].setdefault("display", "Aspirin")
        if self.rng.random() < 0.2:
            inner = {"resourceType": "Medication", "id": "in"}
            inner["ingredient"] = [{"itemReference": self.to("Medication", 4)}]
            made |= {"contained": [inner], "medicationReference": {"reference": "#in"}}
        return made

    def document(self) -> dict[str, Any]:
        url = self.rng.choice([f"Binary/b{self.number_of(2)}", f"{BASE}/Binary/b1", "#in"])
        attachment = {"contentType": "text/plain", "url": url}
        kind = self.rng.choice(["DocumentReference", "DiagnosticReport"])
        return {
            **self.about(kind, 8),
            "status": "final",
            "code": self.coded() if kind == "DiagnosticReport" else None,
            "type": self.coded() if kind == "DocumentReference" else None,
            "date": self.maybe(self.day()),
            "content": [{"attachment": attachment}] if kind == "DocumentReference" else None,
            "presentedForm": [attachment] if kind == "DiagnosticReport" else None,
        }

    def other(self) -> dict[str, Any]:
        kind = self.rng.choice(["Procedure", "AllergyIntolerance", "Specimen", "Immunization"])
        made = self.about(kind, 6)
        if kind in ("AllergyIntolerance", "Immunization"):
            made["patient"] = made.pop("subject")
        return {**made, "code": self.coded(), "vaccineCode": self.coded(), "status": "completed"}


def content(place: Path) -> dict[str, Any]:
    """Give all that a store says, and what stands beside it, each in a total order."""
    store, raw = place / "store", place / "store.raw"

    def rows(path: str) -> list[tuple]:
        return duckdb.execute(f"SELECT * FROM read_parquet('{path}') ORDER BY ALL").fetchall()

    return {
        "events": rows(f"{store}/data/*.parquet"),
        "codes": rows(f"{store}/metadata/codes.parquet"),
        "splits": rows(f"{store}/metadata/subject_splits.parquet"),
        "dataset": (store / "metadata" / "dataset.json").read_text("utf-8"),
        "report": (store / "ingest_report.json").read_text("utf-8"),
        "conventions": (store / "conventions.json").read_text("utf-8"),
        "quarantine": rows(f"{raw}/quarantine.parquet"),
        "crosswalk": rows(f"{raw}/crosswalk.parquet"),
        "images": [
            (image.name, hashlib.sha256(image.read_bytes()).hexdigest())
            for image in sorted((store / "images").iterdir())
        ],
        "faults": verify_store(store),
    }


def index_content(place: Path) -> dict[str, list[tuple]]:
    """Give what the index holds, without what an addition may leave behind."""
    from ingest.record_index import RecordIndex

    index = place / "store.raw" / "index"
    said = json.loads((index / "index.json").read_text("utf-8"))
    with duckdb.connect() as con:
        RecordIndex(place=index, **said).attach(con)
        ask = {
            "trace": "FROM old.trace ORDER BY ALL",
            "depend": "SELECT DISTINCT * FROM old.depend ORDER BY ALL",
            "provide": "FROM old.provide ORDER BY ALL",
            "state": "SELECT place, status, detail, subject_key FROM old.state ORDER BY ALL",
            "event": "SELECT place, name FROM old.event ORDER BY ALL",
            "undated": "SELECT place, type FROM old.undated ORDER BY ALL",
            "provider": "SELECT * FROM (SELECT key, arg_max(value, segment) AS value"
            " FROM old.every_provider GROUP BY key) WHERE value <> 0 ORDER BY ALL",
            "name": "FROM old.name ORDER BY ALL",
            "merged": "FROM old.merged ORDER BY ALL",
            "subject": "SELECT subject_key, subject_id FROM old.subject ORDER BY ALL",
            "tally": "FROM old.tally ORDER BY ALL",
            "film": "FROM old.film ORDER BY ALL",
            "film_event": "FROM old.film_event ORDER BY ALL",
            "imaging_study": "FROM old.imaging_study ORDER BY ALL",
            "patient_identifier": "FROM old.patient_identifier ORDER BY ALL",
        }
        return {name: con.execute(sql).fetchall() for name, sql in ask.items()}


def last_build(place: Path) -> dict[str, Any]:
    """Give what the index says of the last build: `whole` is false where it only added."""
    text = (place / "store.raw" / "index" / "index.json").read_text("utf-8")
    return json.loads(text)["builds"][-1]


def deliver(place: Path, *sources: Path, **options: Any) -> bool:
    """Ingest; say whether what is new was added rather than everything projected."""
    ingest(list(sources), place / "store", public=True, **options)
    return not last_build(place)["whole"]


def require_as_built_anew(place: Path) -> None:
    """Hold the store against one that is built in full of the same raw zone."""
    found, found_index = content(place), index_content(place)
    one = RawZone(place / "store.raw").files()[0]
    assert not deliver(place, one.path, timezone=one.timezone, rebuild=True)
    wanted, wanted_index = content(place), index_content(place)
    for part in wanted:
        assert found[part] == wanted[part], part
    assert found["faults"] == []
    for table in wanted_index:
        assert found_index[table] == wanted_index[table], table
