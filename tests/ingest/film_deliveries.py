"""Deliver films and slices beside the records of small hospitals, in random pieces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.ingest.deliveries import Hospital
from tests.ingest.films import write_film, write_slice

SR = "1.2.840.10008.5.1.4.1.1.88.11"


class Radiology(Hospital):
    """Make films of few people, studies and series, so that they meet, move and are replaced."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.films: list[Path] = []

    def resource(self) -> dict[str, Any]:
        """Give a resource; more patients and studies than elsewhere."""
        made = self.rng.random()
        if made > 0.4:
            return super().resource()
        resource = self.study() if made < 0.25 else self.patient()
        resource = {key: value for key, value in resource.items() if value is not None}
        if self.rng.random() < 0.5:
            resource["meta"] = {"lastUpdated": self.when()}
        return resource

    def study(self) -> dict[str, Any]:
        uid = self.study_uid()
        named = [{"value": self.rng.choice(["urn:oid:", ""]) + uid}, {"value": self.accession()}]
        statuses = ["available", "available", "available", "registered", "entered-in-error"]
        return {
            "resourceType": "ImagingStudy",
            "id": self.maybe(f"i{self.number_of(5)}", 0.95),
            "status": self.rng.choice(statuses),
            "subject": self.to("Patient", 5),
            "encounter": self.maybe(self.to("Encounter", 6)),
            "started": self.maybe(self.day(), 0.7),
            "identifier": self.maybe([n for n in named if self.rng.random() < 0.7], 0.8),
            "modality": self.maybe([{"code": "CT"}]),
            "series": self.maybe([{"uid": f"{uid}.1", "instance": [{"uid": f"{uid}.1.3"}]}], 0.6),
        }

    def study_uid(self) -> str:
        return f"1.2.840.99.{self.number_of(3)}"

    def accession(self) -> str:
        return f"A{self.number_of(3)}"

    def film(self, place: Path) -> Path:
        """Write one random image: a film, a slice, a picture, one of no use, or one again."""
        self.number += 1
        if self.films and self.rng.random() < 0.1:  # the same again, under another name
            before = self.rng.choice(self.films)
            path = place / f"{self.number}{before.suffix}"
            path.write_bytes(before.read_bytes())
        else:
            make: Callable[[Path], Path] = self.rng.choices(
                [self.dx, self.slice, self.picture, self.report], [4, 7, 3, 1]
            )[0]
            path = make(place)
            if self.rng.random() < 0.06:  # cut off
                path.write_bytes(path.read_bytes()[:-20])
        self.films.append(path)
        return path

    def tags(self) -> dict[str, Any]:
        uid = self.study_uid()
        tags = {
            "PatientID": self.rng.choice([f"p{self.number_of(5)}", f"p{self.number_of(5)}", "n"]),
            "StudyInstanceUID": uid,
            "SeriesInstanceUID": f"{uid}.{self.number_of(1)}",
            "AccessionNumber": self.maybe(self.accession(), 0.4),
            "StudyDate": self.maybe(self.when()[:10].replace("-", ""), 0.9),
            "StudyTime": self.maybe("101500"),
        }
        return {name: value for name, value in tags.items() if value is not None}

    def dx(self, place: Path) -> Path:
        pixels = np.full((8, 8), self.number_of(4000), "<u2")
        tags = {"SOPInstanceUID": f"1.2.840.99.7.{self.number_of(9)}", **self.tags()}
        return write_film(place / f"{self.number}.dcm", pixels, **tags)

    def slice(self, place: Path) -> Path:
        height = self.number_of(4)
        tags = self.tags() | {"StudyDate": "20150301", "StudyInstanceUID": "1.2.840.99.1"}
        tags["SeriesInstanceUID"] = f"1.2.840.99.1.{self.number_of(1)}"
        tags["PatientID"] = self.rng.choice(["p1", "p1", "p1", "p2"])
        tags.pop("AccessionNumber", None)
        if self.rng.random() < 0.7:
            tags["SOPInstanceUID"] = f"{tags['SeriesInstanceUID']}.{height}"
        return write_slice(place / f"{self.number}.dcm", height, self.number_of(3000), **tags)

    def picture(self, place: Path) -> Path:
        names = [f"p{self.number_of(5)}", self.study_uid(), self.accession(), "nobody"]
        path = place / f"f{self.number}" / f"{self.rng.choice(names)}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((9, 7), self.number_of(255), np.uint8)).save(path)
        return path

    def report(self, place: Path) -> Path:
        return write_film(place / f"{self.number}.dcm", Modality="SR", SOPClassUID=SR)
