"""Every transfer syntax, depth and colour space, on values that the test made itself."""

import base64
import io
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from ingest.brightness import read_values
from ingest.limits import Caps
from ingest.objects import open_object
from ingest.pixels import PictureError, read_picture
from tests.ingest.films import film_dataset, write_film

PYDICOM = Path(pydicom.__path__[0]) / "data/test_files"
RAMP = (np.arange(4096) % 4096).astype("<u2").reshape(64, 64)
SMOOTH = np.add.outer(np.arange(64), np.arange(64)).astype("<u2") * 32
TWELVE = {"BitsStored": 12, "HighBit": 11}

HT = base64.b64decode(
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB"
    "/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFoAAf+TwAAmUfYFB3QA"
    "AADAABNAABMAIv4CB3QAGvEDh3QAwAATQAATgAwMAYJ0AG7ohgDDVADAACogABVgtm3bqnCCdQC++/bt+8BCAey2AP/Z"
)
"""60 n + 7 for n from 0 to 63, eight a row, encoded by OpenJPH."""


def values_of(path: Path) -> np.ndarray:
    [values] = read_values(open_object(path.read_bytes(), Caps()), [0])
    return values


def recode(source: Path, syntax: str) -> Path:
    """Encode a plain film with GDCM."""
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(source))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    target = source.with_name(f"{syntax}.dcm")
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
    ],
    ids=lambda syntax: UID(syntax).name,
)
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<i2", "<u4"])
def test_plain_values_are_read_in_every_order(tmp_path: Path, syntax: UID, dtype: str) -> None:
    values = (np.arange(64).reshape(8, 8) - (32 if "i" in dtype else 0)).astype(dtype)
    film = film_dataset(values)
    film.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        film.PixelData = values.astype(np.dtype(dtype).newbyteorder(">")).tobytes()
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (values_of(tmp_path / "a.dcm") == values).all()
    picture = read_picture(tmp_path / "a.dcm").pixels
    assert picture[0, 0] == 0
    assert picture[-1, -1] == 255


@pytest.mark.parametrize(
    "syntax",
    [
        "JPEGLosslessProcess14",
        "JPEGLosslessProcess14_1",
        "JPEGLSLossless",
        "JPEG2000Lossless",
        "RLELossless",
    ],
)
@pytest.mark.parametrize("kind", ["8 bits", "12 bits", "16 bits", "signed"])
def test_lossless_encodings_give_each_value_back(tmp_path: Path, syntax: str, kind: str) -> None:
    values, tags = {
        "8 bits": ((RAMP % 256).astype("u1"), {}),
        "12 bits": (RAMP, TWELVE),
        "16 bits": (RAMP * 15, {}),
        "signed": ((RAMP.astype(int) - 2048).astype("<i2"), {}),
    }[kind]
    film = recode(write_film(tmp_path / "a.dcm", values, **tags), syntax)
    assert pydicom.dcmread(film).file_meta.TransferSyntaxUID.is_compressed
    assert (values_of(film) == values).all()


@pytest.mark.parametrize(
    ("syntax", "most"),
    [("JPEGBaselineProcess1", 4), ("JPEGLSNearLossless", 3), ("JPEG2000", 3)],
)
def test_lossy_encodings_give_values_close_by(tmp_path: Path, syntax: str, most: int) -> None:
    values = (SMOOTH // 16).astype("u1")
    film = recode(write_film(tmp_path / "a.dcm", values), syntax)
    assert np.abs(values_of(film) - values.astype(int)).max() <= most


def test_twelve_bit_jpeg_is_read(tmp_path: Path) -> None:
    film = recode(write_film(tmp_path / "a.dcm", SMOOTH, **TWELVE), "JPEGExtendedProcess2_4")
    assert pydicom.dcmread(film).file_meta.TransferSyntaxUID == JPEGExtended12Bit
    assert np.abs(values_of(film) - SMOOTH.astype(int)).max() <= 16  # of 4095


def test_real_twelve_bit_jpeg_has_the_values_that_two_other_decoders_give() -> None:
    """Counts of a bone scan; as libjpeg-turbo 3 and ISO's libjpeg read them, to rounding."""
    values = values_of(PYDICOM / "JPGExtended.dcm")
    assert values.shape == (1024, 256)
    assert (values.min(), values.max()) == (0, 264)
    assert values.mean() == pytest.approx(14.383, abs=0.02)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
def test_high_throughput_jpeg_2000_is_read(tmp_path: Path, syntax: UID) -> None:
    values = (60 * np.arange(64) + 7).astype("<u2").reshape(8, 8)
    film = film_dataset(values)
    film.PixelData = encapsulate([HT])
    film["PixelData"].is_undefined_length = True
    film.file_meta.TransferSyntaxUID = syntax
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (values_of(tmp_path / "a.dcm") == values).all()


def test_a_bit_a_pixel_is_black_and_white(tmp_path: Path) -> None:
    bits = np.tile([0, 1, 1, 0, 1, 0, 0, 1], (8, 1)).astype("u1")
    film = film_dataset(bits)
    film.BitsAllocated = film.BitsStored = 1
    film.HighBit = 0
    film.PixelData = np.packbits(bits, bitorder="little").tobytes()
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert (read_picture(tmp_path / "a.dcm").pixels == bits * 255).all()


@pytest.mark.parametrize(
    ("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")]
)
def test_float_pixels_are_read(tmp_path: Path, keyword: str, dtype: str) -> None:
    values = np.linspace(-3.5, 9.25, 64).astype(dtype).reshape(8, 8)
    film = film_dataset(values.astype("<u2"))
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(film, name)
    film.BitsAllocated = 8 * values.itemsize
    setattr(film, keyword, values.tobytes())
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert values_of(tmp_path / "a.dcm") == pytest.approx(values)
    picture = read_picture(tmp_path / "a.dcm").pixels.ravel().astype(int)
    assert (np.diff(picture) >= 0).all()
    assert picture[-1] == 255


COLOURS = (
    np.array(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128]], "u1"
    )
    .repeat(6, 0)
    .reshape(6, 6, 3)
)
GREY = np.array([76, 150, 29, 255, 0, 128]).repeat(6).reshape(6, 6)
"""0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""


def coloured(values: np.ndarray, space: str, planar: int = 0) -> Dataset:
    film = film_dataset(np.zeros(values.shape[:2], "u1"))
    film.SamplesPerPixel, film.PhotometricInterpretation = 3, space
    film.PlanarConfiguration = planar
    film.PixelData = (values.transpose(2, 0, 1) if planar else values).tobytes()
    return film


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("space", ["RGB", "YBR_FULL"])
def test_colours_become_their_brightness(tmp_path: Path, space: str, planar: int) -> None:
    values = COLOURS
    if space == "YBR_FULL":
        values = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    coloured(values, space, planar).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    grey = read_picture(tmp_path / "a.dcm").pixels.astype(int)
    assert np.abs(grey - GREY).max() <= 2


def test_colours_of_half_the_columns_become_their_brightness(tmp_path: Path) -> None:
    ybr = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    film = coloured(ybr, "YBR_FULL_422")
    pairs = ybr.reshape(-1, 2, 3)  # two pixels alike: Y Y Cb Cr
    film.PixelData = np.stack(
        [pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], 1
    ).tobytes()
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.abs(read_picture(tmp_path / "a.dcm").pixels.astype(int) - GREY).max() <= 2


@pytest.mark.parametrize("space", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_colours_in_jpeg_2000_become_their_brightness(tmp_path: Path, space: str) -> None:
    big = COLOURS.repeat(8, 0).repeat(8, 1)
    film = coloured(big, space)
    use = {"j2k_cr": [2]} if space == "YBR_ICT" else {}
    syntax = JPEG2000 if space == "YBR_ICT" else JPEG2000Lossless
    film.compress(syntax, arr=big, generate_instance_uid=False, **use)
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert pydicom.dcmread(tmp_path / "a.dcm").PhotometricInterpretation == space
    grey = read_picture(tmp_path / "a.dcm").pixels.astype(int)[4::8, 4::8]
    assert np.abs(grey - GREY).max() <= 2


def test_colours_in_jpeg_become_their_brightness(tmp_path: Path) -> None:
    big = COLOURS.repeat(8, 0).repeat(8, 1)
    out = io.BytesIO()
    Image.fromarray(big).save(out, "JPEG", quality=95, subsampling=0)
    film = coloured(big, "YBR_FULL_422")
    film.PixelData = encapsulate([out.getvalue()])
    film["PixelData"].is_undefined_length = True
    film.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    grey = read_picture(tmp_path / "a.dcm").pixels.astype(int)[4::8, 4::8]
    assert np.abs(grey - GREY).max() <= 4


def test_frames_of_rle_are_each_found(tmp_path: Path) -> None:
    frames = np.stack([np.full((8, 8), 10 * number, "<u2") for number in range(6)])
    film = film_dataset(frames)
    film.compress(RLELossless, generate_instance_uid=False)
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    source = open_object((tmp_path / "a.dcm").read_bytes(), Caps())
    found = [int(values[0, 0]) for values in read_values(source, [5, 0, 3])]
    assert found == [50, 0, 30]


def lut(values: list[int], first: int = 0, bits: int = 16, **tags: Any) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", "US", values)
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return item


def test_a_modality_lut_comes_before_the_window(tmp_path: Path) -> None:
    values = np.arange(64, dtype="<u2").reshape(8, 8)
    film = write_film(
        tmp_path / "a.dcm",
        values,
        ModalityLUTSequence=[lut([1000 - 10 * n for n in range(64)], ModalityLUTType="US")],
        WindowCenter=685.5,
        WindowWidth=631,
    )
    assert (values_of(film).ravel() == 1000 - 10 * np.arange(64)).all()
    grey = read_picture(film).pixels.ravel()
    assert grey[0] == 255
    assert grey[-1] == 0


def test_a_voi_lut_is_preferred_to_a_window(tmp_path: Path) -> None:
    values = np.arange(64, dtype="<u2").reshape(8, 8)
    tags = {"VOILUTSequence": [lut([(n % 2) * 4095 for n in range(64)], bits=12)]}
    film = write_film(tmp_path / "a.dcm", values, WindowCenter=32, WindowWidth=64, **tags)
    assert (read_picture(film).pixels == np.where(values % 2, 255, 0)).all()


def test_of_several_windows_the_first_is_used(tmp_path: Path) -> None:
    several = {"WindowCenter": [2048, 100], "WindowWidth": [4096, 50]}
    first = {"WindowCenter": 2048, "WindowWidth": 4096}
    found = [
        read_picture(write_film(tmp_path / f"{n}.dcm", RAMP, **tags, **TWELVE)).pixels
        for n, tags in enumerate((several, first))
    ]
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR", 128), ("LINEAR_EXACT", 128), ("SIGMOID", 128)],
)
def test_each_function_shows_the_centre_in_the_middle(
    tmp_path: Path, function: str, expected: int
) -> None:
    tags = {"WindowCenter": 2048, "WindowWidth": 1000, "VOILUTFunction": function}
    grey = read_picture(write_film(tmp_path / "a.dcm", RAMP, **tags, **TWELVE)).pixels.ravel()
    assert abs(int(grey[2048]) - expected) <= 1
    # At the window's lower end, a quarter of a sigmoid's range is not yet black: 1 / (1 + e^2).
    assert abs(int(grey[1548]) - (30 if function == "SIGMOID" else 0)) <= 1


def test_signed_padding_in_an_implicit_file_is_black(tmp_path: Path) -> None:
    values = np.linspace(-1000, 1000, 64).astype("<i2").reshape(8, 8)
    values[0] = -2000
    film = film_dataset(values, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    film.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    film["PixelPaddingValue"].VR = "SS"
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    grey = read_picture(tmp_path / "a.dcm").pixels
    assert (grey[0] == 0).all()
    assert grey[1, 0] == 255


def code(value: str, scheme: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, scheme
    return item


@pytest.mark.parametrize("modality", ["DX", "CR", "CT", "MR", "US", "MG"])
def test_modality_view_and_side_are_read(tmp_path: Path, modality: str) -> None:
    film = write_film(
        tmp_path / "a.dcm", Modality=modality, ViewPosition="MLO", ImageLaterality="R"
    )
    header = read_picture(film).header
    assert (header.modality, header.view, header.laterality) == (modality, "MLO", "R")


@pytest.mark.parametrize(
    ("value", "scheme", "view"),
    [
        ("399162004", "SCT", "CC"),
        ("R-10226", "SRT", "MLO"),
        ("272479007", "SCT", "PA"),
        ("399061009", "SCT", ""),
    ],
)
def test_a_view_is_read_from_its_code_where_it_is_not_stated(
    tmp_path: Path, value: str, scheme: str, view: str
) -> None:
    film = write_film(tmp_path / "a.dcm", ViewCodeSequence=[code(value, scheme)])
    assert read_picture(film).header.view == view
    stated = {"ViewPosition": "LL", "ViewCodeSequence": [code(value, scheme)]}
    assert read_picture(write_film(tmp_path / "b.dcm", **stated)).header.view == "LL"


def test_the_side_of_the_image_comes_before_that_of_the_series(tmp_path: Path) -> None:
    cases = {("L", "R"): "L", ("", "R"): "R", ("U", "R"): "", ("B", ""): "B"}
    for (image, series), side in cases.items():
        film = write_film(tmp_path / "a.dcm", ImageLaterality=image, Laterality=series)
        assert read_picture(film).header.laterality == side


def test_the_side_of_an_enhanced_object_is_read(tmp_path: Path) -> None:
    anatomy, group = Dataset(), Dataset()
    anatomy.FrameLaterality = "L"
    group.FrameAnatomySequence = [anatomy]
    film = write_film(tmp_path / "a.dcm", SharedFunctionalGroupsSequence=[group])
    assert read_picture(film).header.laterality == "L"


def test_how_a_picture_lies_does_not_make_a_view(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.dcm", PatientOrientation=["L", "F"])
    assert read_picture(film).header.view == ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("test_files/dicomdirtests/DICOMDIR", "DIRECTORY"),
        ("test_files/dicomdirtests/DICOMDIR-bigEnd", "DIRECTORY"),
        ("palettes/hotiron.dcm", "PALETTE"),
        ("test_files/waveform_ecg.dcm", "ECG"),
    ],
)
def test_a_list_of_files_a_palette_and_a_waveform_are_no_pictures(name: str, kind: str) -> None:
    with pytest.raises(PictureError, match=f"DICOM {kind}") as caught:
        read_picture(PYDICOM.parent / name)
    assert caught.value.skipped
