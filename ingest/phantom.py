"""Draw frontal chest X-ray phantoms and write them as DICOM.

A phantom is a sum of soft-edged shapes in a frame where x runs from -1 (the patient's right, shown
on the left) to 1 and y from -1 (top) to 1: body, lungs, mediastinum, heart, diaphragm, ribs,
clavicles, spine, vessels. Two things in it carry meaning, and both can be read off it:

- the heart's transverse diameter over the inner width of the thorax (cardiothoracic ratio), times
  the view's magnification;
- the amount of haze around the hila and at the bases (opacity).

Everything else varies and means nothing: build, position, rotation, inspiration, exposure,
contrast, noise, texture, view, photometric interpretation, marker.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float64, UInt16
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scipy.ndimage import gaussian_filter, zoom
from scipy.special import expit

from ingest.world import World

__all__ = ["Film", "cardiothoracic_ratio", "derive_uid", "draw_phantom", "write_film"]

_BITS = 12
_WHITE = 2**_BITS - 1
_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.1.1.1"  # Digital X-Ray Image Storage - For Presentation


@dataclass(frozen=True, kw_only=True)
class Film:
    """Say what a DICOM file says of its film, besides the pixels."""

    patient_id: str
    sex: str
    """M or F."""
    view: str
    """PA or AP."""
    inverted: bool
    """Stored as MONOCHROME1."""
    taken: datetime
    """UTC."""
    study_uid: str
    series_uid: str
    instance_uid: str
    accession: str


def derive_uid(*parts: object) -> str:
    """Derive a DICOM UID under 2.25 (PS3.5 B.2) from anything; the same from the same.

    >>> derive_uid(7, "study", 1) == derive_uid(7, "study", 1) != derive_uid(7, "study", 2)
    True
    """
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16])}"


def cardiothoracic_ratio(world: World, heart: float, view: str) -> float:
    """Give the ratio that is drawn for a heart size in sd, for a view."""
    images = world.images
    ratio = images.ratio_mean + images.ratio_sd * heart
    # Four sd stay inside: these bounds only keep a fifth from leaving the thorax.
    return float(np.clip(ratio * (images.ap_magnification if view == "AP" else 1.0), 0.25, 0.85))


def draw_phantom(
    world: World, heart: float, opacity: float, view: str, rng: np.random.Generator
) -> UInt16[np.ndarray, "h w"]:
    """Draw a film with bone bright and air dark, 0 to 4095.

    Args:
        world: size, noise and nuisance.
        heart: drawn heart size in sd from the mean; the view's magnification comes on top.
        opacity: drawn opacity in sd; 0 is a medium haze.
        view: PA or AP.
        rng: decides everything that means nothing.
    """
    images = world.images
    body = _Body(images.size, images.shift, rng)
    ratio = cardiothoracic_ratio(world, heart, view)
    lung, inner = body.lungs()
    medial = body.mediastinum()
    organ = body.heart(ratio)
    outline = body.outline()
    attenuation = outline * (0.58 + 0.06 * rng.standard_normal())
    attenuation *= 1 - (0.72 + 0.04 * rng.standard_normal()) * lung * (
        1 - np.maximum(medial, organ)
    )
    haze = 0.44 * expit(1.2 * opacity) * body.haze() * lung
    attenuation += haze * (1 - 0.6 * organ)
    attenuation += lung * (1 - organ) * body.vessels()
    attenuation += 0.07 * organ * inner + body.spine() * (0.07 + 0.05 * (1 - organ))
    attenuation += inner * body.ribs() + outline * body.clavicles(view)
    if view == "AP":  # the arms hang down, and the shoulder blades lie over the lungs
        attenuation += 0.1 * outline * body.scapulae()
    return _expose(attenuation, world, body, rng)


def write_film(path: Path, pixels: UInt16[np.ndarray, "h w"], film: Film) -> None:
    """Write a film as a DX DICOM file, 12 bits in 16, uncompressed; the bytes repeat."""
    stored = _WHITE - pixels if film.inverted else pixels
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SOP_CLASS
    meta.MediaStorageSOPInstanceUID = film.instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = derive_uid("medweave", "simulated hospital")
    meta.ImplementationVersionName = "MEDWEAVE"
    d = pydicom.Dataset()
    d.file_meta = meta
    d.SpecificCharacterSet = "ISO_IR 192"
    d.ImageType = ["DERIVED", "PRIMARY"]
    d.SOPClassUID, d.SOPInstanceUID = _SOP_CLASS, film.instance_uid
    d.StudyDate = d.SeriesDate = d.ContentDate = d.AcquisitionDate = f"{film.taken:%Y%m%d}"
    d.StudyTime = d.SeriesTime = d.ContentTime = d.AcquisitionTime = f"{film.taken:%H%M%S}"
    d.TimezoneOffsetFromUTC = "+0000"
    d.AccessionNumber = film.accession
    d.Modality, d.PresentationIntentType = "DX", "FOR PRESENTATION"
    d.Manufacturer, d.StationName = "Medweave simulator", "PHANTOM"
    d.ReferringPhysicianName, d.PatientName = "", "Simulated^Patient"
    d.PatientID, d.PatientSex, d.PatientBirthDate = film.patient_id, film.sex, ""
    d.BodyPartExamined, d.ViewPosition = "CHEST", film.view
    d.StudyInstanceUID, d.SeriesInstanceUID = film.study_uid, film.series_uid
    d.StudyID, d.SeriesNumber, d.InstanceNumber = "1", "1", "1"
    d.PatientOrientation, d.ImageLaterality = ["L", "F"], "U"
    d.BurnedInAnnotation, d.LossyImageCompression = "NO", "00"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, f"MONOCHROME{1 if film.inverted else 2}"
    d.Rows, d.Columns = stored.shape
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, _BITS, _BITS - 1, 0
    d.ImagerPixelSpacing = [round(360 / side, 6) for side in stored.shape]
    d.PixelIntensityRelationship = "LOG"
    d.PixelIntensityRelationshipSign = 1 if film.inverted else -1
    d.RescaleIntercept, d.RescaleSlope, d.RescaleType = "0", "1", "US"
    d.PresentationLUTShape = "INVERSE" if film.inverted else "IDENTITY"
    d.WindowCenter, d.WindowWidth = "2048", "4096"
    d.PixelData = stored.astype("<u2").tobytes()
    d.save_as(path, enforce_file_format=True)


class _Body:
    """Draw the parts of one body, each between 0 and 1, on its own slightly moved grid."""

    def __init__(self, size: int, shift: float, rng: np.random.Generator) -> None:
        self.rng, self.size = rng, size
        # Single precision throughout: twice as fast, and 12 bits come out.
        line = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
        x, y = np.meshgrid(line, line)
        angle = math.radians(2.0 * rng.standard_normal())
        scale = math.exp(0.03 * rng.standard_normal())
        dx, dy = (2 * shift * rng.standard_normal(2)).tolist()
        x, y = (x - dx) / scale, (y - dy) / scale
        self.x = math.cos(angle) * x + math.sin(angle) * y
        self.y = math.cos(angle) * y - math.sin(angle) * x
        self.width = 0.68 * math.exp(0.02 * rng.standard_normal())
        self.top = -0.76 + 0.02 * rng.standard_normal()
        self.dome = 0.44 + 0.03 * rng.standard_normal()
        self.neck = 0.12 + 0.012 * rng.standard_normal()
        self.edge = 0.012

    def _soft(self, distance: np.ndarray, edge: float = 1.0) -> np.ndarray:
        return expit(distance / (self.edge * edge))

    def outline(self) -> np.ndarray:
        slope = expit((self.y + 0.72) / 0.05)
        half = 0.28 + (0.64 - 0.06 * self.y) * slope
        return self._soft(half - np.abs(self.x), 1.5)

    def lungs(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the lungs, and the inside of the thorax down to the last ribs."""
        depth = np.clip(np.abs((self.y - 0.25) / (0.25 - self.top)), 0, 1.2)
        wall = self.width * np.clip(1 - depth**2.6, 0, 1) ** (1 / 2.6)
        inside = self._soft(wall - np.abs(self.x), 1.2)
        curve = 0.34 * ((np.abs(self.x) - 0.33) / 0.35) ** 2
        floor = self.dome + curve - 0.05 * expit(-self.x / 0.02)
        return inside * self._soft(floor - self.y), inside * expit((0.75 - self.y) / 0.05)

    def mediastinum(self) -> np.ndarray:
        half = self.neck + 0.05 * np.exp(-(((self.y + 0.02) / 0.2) ** 2))
        knob = 0.85 * self._soft(0.085 - np.hypot(self.x - 0.12, self.y + 0.27), 2.5)
        return np.maximum(self._soft(half - np.abs(self.x), 1.5), knob)

    def heart(self, ratio: float) -> np.ndarray:
        """Draw a tilted ellipse whose transverse diameter over the thorax's is the ratio."""
        across = ratio * self.width  # half of the transverse diameter
        tilt, flat = math.radians(32), 0.74
        a = across / math.hypot(math.cos(tilt), flat * math.sin(tilt))
        x, y = self.x - 0.34 * across, self.y - (self.dome + 0.06 - 0.62 * across)
        along = math.cos(tilt) * x + math.sin(tilt) * y
        aside = math.cos(tilt) * y - math.sin(tilt) * x
        radius = np.hypot(along / a, aside / (flat * a))
        return self._soft((1 - radius) * across, 1.2)

    def haze(self) -> np.ndarray:
        x, y = np.abs(self.x), self.y
        hila = np.exp(-(((x - 0.28) / 0.2) ** 2) - ((y - 0.02) / 0.3) ** 2)
        bases = np.exp(-(((x - 0.42) / 0.32) ** 2) - ((y - 0.45) / 0.26) ** 2)
        mottle = 1 + 0.2 * self._cloud(14) + 0.1 * self._cloud(40)
        return np.clip((0.95 * hila + 0.85 * bases) * mottle, 0, 1.6)

    def vessels(self) -> np.ndarray:
        total = np.zeros_like(self.x)
        for side in (-1, 1):
            dx, dy = self.x - side * 0.17, self.y - 0.02
            radius, angle = np.hypot(dx, dy), np.arctan2(dy, side * dx)
            wave = sum(
                np.cos(
                    k * angle + 2.5 * radius * self.rng.standard_normal() + self.rng.random() * 6
                )
                for k in (5, 9, 14)
            )
            total += np.clip(wave, 0, None) * np.exp(-radius / 0.22)
        return 0.055 * total

    def ribs(self) -> np.ndarray:
        x, y = np.abs(self.x), self.y
        start = self.rng.random()
        back = (y - 0.22 * x - 0.25 * x**2) / 0.155 + start
        front = (y + 0.1 - 0.75 * x) / 0.19 + self.rng.random()
        pattern = 0.075 * _bands(back, 0.45) * expit((x - 0.1) / 0.02)
        pattern += 0.04 * _bands(front, 0.35) * expit((x - 0.3) / 0.05)
        return pattern

    def spine(self) -> np.ndarray:
        column = self._soft(0.085 - np.abs(self.x), 1.5)
        trachea = self._soft(0.035 - np.abs(self.x), 1.0) * expit((-0.2 - self.y) / 0.05)
        return column * (0.75 + 0.25 * _bands(self.y / 0.13, 0.65)) - 1.1 * trachea

    def clavicles(self, view: str) -> np.ndarray:
        x = np.abs(self.x)
        height = (-0.66 if view == "AP" else -0.58) + 0.02 * self.rng.standard_normal()
        middle = height - 0.16 * np.clip(x - 0.08, 0, None) + 0.03 * np.sin(x * 8)
        bone = expit((0.034 - np.abs(self.y - middle)) / 0.008)
        return 0.14 * bone * expit((x - 0.07) / 0.015) * expit((0.72 - x) / 0.03)

    def scapulae(self) -> np.ndarray:
        x, y = np.abs(self.x), self.y
        blade = self._soft(0.13 - np.abs(x - 0.62 + 0.18 * (y + 0.2)), 2.0)
        return blade * expit((y + 0.62) / 0.04) * expit((0.18 - y) / 0.06)

    def _cloud(self, cells: int) -> np.ndarray:
        """Draw smooth noise of about unit sd with so many cells a side."""
        coarse = self.rng.standard_normal((cells, cells), np.float32)
        fine = zoom(coarse, self.size / cells, order=1, mode="nearest", grid_mode=True)
        return 1.4 * fine[: self.size, : self.size]


def _bands(phase: np.ndarray, share: float) -> np.ndarray:
    """Give soft bands, one a unit of phase, that fill about this share of it."""
    return expit((np.cos(2 * math.pi * phase) - math.cos(math.pi * share)) * 5)


def _expose(
    attenuation: Float64[np.ndarray, "h w"], world: World, body: _Body, rng: np.random.Generator
) -> UInt16[np.ndarray, "h w"]:
    images = world.images
    size = images.size
    brightness, contrast = np.exp(images.exposure * rng.standard_normal(2)).tolist()
    film = np.maximum(attenuation, 0) ** np.float32(contrast) * np.float32(brightness)
    film = 0.03 + 0.95 * np.tanh(1.2 * film)  # the film's shoulder: bright parts do not clip
    heel = 0.05 * rng.standard_normal() * np.linspace(-1, 1, size, dtype=np.float32)
    film = film * (1 + heel[:, None])
    # White noise, and the coarser noise that a grid and scatter leave.
    grain = rng.standard_normal((size, size), np.float32)
    film = gaussian_filter(film, size / 400) + images.pixel_noise * (
        grain + 1.5 * gaussian_filter(grain, 1.2)
    )
    top, bottom, left, right = rng.integers(0, max(size // 40, 1) + 1, 4)
    film[:top], film[size - bottom :], film[:, :left], film[:, size - right :] = 0, 0, 0, 0
    if rng.random() < 0.7:  # the side marker, an L in lead
        unit, row, column = size // 64, size // 16, size - size // 9
        film[row : row + 4 * unit, column : column + unit] = 1
        film[row + 3 * unit : row + 4 * unit, column : column + 3 * unit] = 1
    return np.clip(film * _WHITE, 0, _WHITE).astype(np.uint16)
