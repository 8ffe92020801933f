import contextlib
import io
import struct
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ingest.brightness import _window
from ingest.errors import LimitError
from ingest.headers import ImageHeader, acquired_at
from ingest.limits import Caps, LimitedChild
from ingest.pixels import PictureError, read_images, read_picture
from tests.ingest.films import film_dataset, write_film

REAL = Path(__file__).resolve().parents[2] / "../shared/data/dicom"
RAMP = np.linspace(0, 4095, 64).astype("<u2").reshape(8, 8)


def pixels(tmp_path: Path, values: np.ndarray, **tags) -> np.ndarray:
    return read_picture(write_film(tmp_path / "film.dcm", values, **tags)).pixels


def describe(path: Path) -> tuple[dict, bytes]:
    asked = [{"path": str(path), "wanted": "picture"}]
    answer, content = read_images("describe", asked, asdict(Caps()))
    return answer["files"][0], content


def png_header(columns: int, rows: int) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_brightness_follows_the_values(tmp_path: Path) -> None:
    grey = pixels(tmp_path, RAMP).ravel().astype(int)
    assert grey[0] == 0
    assert grey[-1] == 255
    assert (np.diff(grey) >= 0).all()


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = pixels(tmp_path, RAMP, WindowCenter=2048, WindowWidth=4096)
    inverted = pixels(
        tmp_path,
        RAMP,
        WindowCenter=2048,
        WindowWidth=4096,
        PhotometricInterpretation="MONOCHROME1",
    )
    assert np.abs(plain.astype(int) + inverted - 255).max() <= 1


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    rescaled = pixels(
        tmp_path, RAMP, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3996, WindowWidth=8192
    )
    plain = pixels(tmp_path, RAMP, WindowCenter=2048, WindowWidth=4096)
    assert np.abs(rescaled.astype(int) - plain).max() <= 1


def test_negative_values_are_dark(tmp_path: Path) -> None:
    values = np.linspace(-1000, 1000, 64).astype("<i2").reshape(8, 8)
    grey = pixels(tmp_path, values, WindowCenter=0, WindowWidth=2000)
    assert grey[0, 0] == 0
    assert grey[-1, -1] == 255


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    values = RAMP.copy()
    values[0, 0] |= 0xF000  # an overlay in the high bits, as old scanners wrote them
    tags = {"BitsStored": 12, "HighBit": 11, "WindowCenter": 2048, "WindowWidth": 4096}
    assert pixels(tmp_path, values, **tags)[0, 0] == 0


def test_a_dead_pixel_does_not_take_the_range(tmp_path: Path) -> None:
    values = np.full((64, 64), 100, "<u2")
    values[:32] = 200
    values[5, 5] = 65535
    grey = pixels(tmp_path, values)
    assert grey[0, 0] == 255
    assert grey[-1, -1] == 0


def test_a_window_that_shows_nothing_is_not_used(tmp_path: Path) -> None:
    assert np.ptp(pixels(tmp_path, RAMP, WindowCenter=60000, WindowWidth=10)) == 255


def test_padding_is_black_and_outside_the_range(tmp_path: Path) -> None:
    values = RAMP.copy()
    values[:2] = 65535
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 65535}
    grey = pixels(tmp_path, values, **tags)
    assert (grey[:2] == 0).all()
    assert np.ptp(grey[2:]) == 255


def test_of_several_frames_the_middle_one_is_shown(tmp_path: Path) -> None:
    frames = np.zeros((5, 8, 8), "<u2")
    frames[2] = RAMP
    assert np.ptp(pixels(tmp_path, frames)) == 255


def test_an_enhanced_frame_has_its_own_window(tmp_path: Path) -> None:
    groups = []
    for center in (100, 2048, 100):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = center, 4096 if center == 2048 else 1
        group = Dataset()
        group.FrameVOILUTSequence = [window]
        groups.append(group)
    frames = np.stack([RAMP] * 3)
    own = pixels(tmp_path, frames, PerFrameFunctionalGroupsSequence=groups)
    plain = pixels(tmp_path, RAMP, WindowCenter=2048, WindowWidth=4096)
    assert (own == plain).all()


def test_a_palette_gives_the_brightness_of_its_colours(tmp_path: Path) -> None:
    lut = np.array([0, 65535] * 128, "<u2")
    palette = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = lut.tobytes()
    values = np.arange(64, dtype="u1").reshape(8, 8)
    grey = pixels(tmp_path, values, **palette)
    assert (grey == np.where(values % 2, 255, 0)).all()


def test_a_large_film_is_made_small_and_a_small_one_is_left(tmp_path: Path) -> None:
    tall = np.tile(np.linspace(0, 4000, 300).astype("<u2"), (1500, 1))
    assert pixels(tmp_path, tall).shape == (512, 102)
    assert pixels(tmp_path, RAMP).shape == (8, 8)


def test_spacing_laterality_and_view_are_kept(tmp_path: Path) -> None:
    film = write_film(
        tmp_path / "a.dcm",
        np.tile(RAMP, (128, 128)),
        ImagerPixelSpacing=[0.2, 0.1],
        ImageLaterality="L",
        ViewPosition="pa",
    )
    told, png = describe(film)
    assert told["header"]["spacing_mm"] == (0.2, 0.1)
    assert told["header"]["laterality"] == "L"
    assert told["header"]["view"] == "PA"
    # 1024 pixels were made 512: the picture's own pixels are twice as far apart.
    across, down = Image.open(io.BytesIO(png)).info["dpi"]
    assert 25.4 / across == pytest.approx(0.2, rel=0.01)
    assert 25.4 / down == pytest.approx(0.4, rel=0.01)


def test_free_text_as_view_does_not_become_a_code(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.dcm", ViewPosition="Ms O'Neil, PA")
    assert read_picture(film).header.view == ""


@settings(max_examples=50, deadline=None)
@given(
    center=st.floats(-500, 4500),
    width=st.floats(1.5, 5000),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_those_of_pydicom(center: float, width: float, function: str) -> None:
    film = film_dataset(
        RAMP, WindowCenter=center, WindowWidth=width, VOILUTFunction=function, BitsStored=12
    )
    center, width = float(film.WindowCenter), float(film.WindowWidth)
    with np.errstate(over="ignore"):  # far from a narrow window pydicom's exp overflows to inf
        theirs = apply_voi_lut(RAMP, film) / 4095
    ours = _window(RAMP.astype(np.float32), center, width, function)
    assert np.abs(ours - theirs).max() < 2e-3


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "LA"])
def test_pngs_of_every_mode_are_read(tmp_path: Path, mode: str) -> None:
    ramp = Image.fromarray(np.linspace(0, 255, 64).astype("u1").reshape(8, 8))
    if mode == "I;16":
        ramp = Image.fromarray(RAMP)
    ramp.convert(mode).save(tmp_path / "a.png")
    grey = read_picture(tmp_path / "a.png").pixels
    assert grey.shape == (8, 8)
    assert grey[0, 0] < 5
    assert grey[-1, -1] > 250


def test_a_png_that_claims_50000_by_50000_is_refused_unparsed(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(50_000, 50_000))
    with pytest.raises(LimitError, match="over the cap of 89478485 pixels"):
        read_picture(tmp_path / "bomb.png")
    (tmp_path / "bomb.png").write_bytes(png_header(10_000, 10_000))
    with pytest.raises(LimitError, match="10000 x 10000 pixels is over"):
        read_picture(tmp_path / "bomb.png")


def test_a_dicom_that_claims_gigabytes_is_refused_undecoded(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.dcm", Rows=60_000, Columns=60_000)
    with pytest.raises(LimitError, match="60000 x 60000"):
        read_picture(film)
    film = write_film(tmp_path / "a.dcm", Rows=9_000, Columns=9_000, NumberOfFrames=500)
    with pytest.raises(LimitError, match="81000000000 bytes decoded"):
        read_picture(film)


def test_a_deflated_bomb_is_refused_before_it_swells(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.dcm").read_bytes()
    start = film.index(b"\x02\x00\x10\x00UI")
    uid = DeflatedExplicitVRLittleEndian.encode() + b"\0"
    length = struct.unpack("<H", film[start + 6 : start + 8])[0]
    old = film[start + 8 : start + 8 + length]
    meta_end = film.index(b"\x08\x00\x16\x00UI")
    grown = struct.pack("<I", struct.unpack("<I", film[140:144])[0] + len(uid) - len(old))
    meta = film[:140] + grown + film[144 : start + 6] + struct.pack("<H", len(uid)) + uid
    meta += film[start + 8 + length : meta_end]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = b"".join(deflate.compress(bytes(2**24)) for _ in range(16)) + deflate.flush()
    bomb = tmp_path / "bomb.dcm"
    bomb.write_bytes(meta + packed)
    assert bomb.stat().st_size < 300_000  # for 256 MiB
    with pytest.raises(LimitError, match="inflates to more than the cap"):
        read_picture(bomb, Caps(decoded_bytes=2**26))
    # The same wrapping with honest content is an image.
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb.write_bytes(meta + deflate.compress(film[meta_end:]) + deflate.flush())
    assert read_picture(bomb).pixels.shape == (8, 8)


def test_a_truncated_dicom_says_how_much_is_missing(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.dcm")
    film.write_bytes(film.read_bytes()[:-60])
    with pytest.raises(PictureError, match=r"pixel data cut short \(68 of 128 bytes\)"):
        read_picture(film)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"GIF89a" + bytes(300), "not an image"),
        (b"just some text, and not an image at all " * 9, "not an image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not an image that can be read"),
        (b"\xff\xd8\xff" + bytes(50), "not an image that can be read"),
        (bytes(128) + b"DICM" + b"\xff" * 64, "."),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(PictureError, match=reason) as caught:
        read_picture(tmp_path / "a.dcm")
    assert not caught.value.skipped


def test_a_dicom_without_pixels_is_named(tmp_path: Path) -> None:
    film = film_dataset(RAMP)
    del film.PixelData
    film.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(PictureError, match="no pixel data"):
        read_picture(tmp_path / "a.dcm")


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.tile(RAMP.astype("u1"), (30, 30))).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError, match="pixels that cannot be decoded"):
        read_picture(tmp_path / "a.jpg")


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 900), value=st.binary(min_size=1, max_size=8))
def test_no_mutation_of_a_film_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: bytes
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    film = bytearray(write_film(folder / "a.dcm").read_bytes())
    film[place : place + len(value)] = value
    (folder / "a.dcm").write_bytes(film)
    with contextlib.suppress(PictureError, LimitError):
        assert read_picture(folder / "a.dcm").pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("taken", "offset", "expected"),
    [
        (("20240229",), "", "2024-02-29T22:59:59.999999"),
        (("202402",), "", "2024-02-29T22:59:59.999999"),
        (("2024",), "", "2024-12-31T22:59:59.999999"),
        (("2024022910",), "", "2024-02-29T09:59:59.999999"),
        (("20240701120000",), "", "2024-07-01T10:00:00"),
        (("20240701120000.25",), "+0530", "2024-07-01T06:30:00.250000"),
        (("20240701120000-0800",), "+0530", "2024-07-01T20:00:00"),
        (("20241301", "20240701120000"), "", "2024-07-01T10:00:00"),
        (("garbage",), "", None),
        ((), "", None),
    ],
)
def test_times_are_utc_and_partial_ones_stand_at_their_end(
    taken: tuple[str, ...], offset: str, expected: str | None
) -> None:
    moment = acquired_at(ImageHeader(taken=taken, utc_offset=offset), "Europe/Berlin")
    assert (moment.isoformat() if moment else None) == expected


NO_PICTURE = {
    "pydicom/ExplVR_BigEndNoMeta.dcm": "DICOM RTPLAN",
    "pydicom/ExplVR_LitEndNoMeta.dcm": "DICOM RTPLAN",
    "pydicom/rtplan.dcm": "DICOM RTPLAN",
    "pydicom/rtplan_truncated.dcm": "DICOM RTPLAN",
    "pydicom/rtstruct.dcm": "DICOM RTSTRUCT",
    "pydicom/badVR.dcm": "DICOM RTDOSE",
    **{
        f"pydicom/rtdose{kind}.dcm": "DICOM RTDOSE"
        for kind in ("", "_1frame", "_expb", "_expb_1frame", "_rle", "_rle_1frame")
    },
    "pydicom/liver_1frame.dcm": "DICOM SEG",
    "pydicom/liver_expb_1frame.dcm": "DICOM SEG",
    "highdicom/seg_image_cr_binary.dcm": "DICOM SEG",
    "pydicom/reportsi.dcm": "DICOM SR",
    "pydicom/reportsi_with_empty_number_tags.dcm": "DICOM SR",
    "pydicom/test-SR.dcm": "DICOM SR",
    "highdicom/sr_document.dcm": "DICOM SR",
    "highdicom/sr_document_with_multiple_groups.dcm": "DICOM SR",
    "pydicom/UN_sequence.dcm": "no pixel data",
    "pydicom/empty_charset_LEI.dcm": "no pixel data",
    "pydicom/no_meta_group_length.dcm": "no pixel data",
    "pydicom/priv_SQ.dcm": "no pixel data",
    "pydicom/nested_priv_SQ.dcm": "pixel data without rows and columns",
    "pydicom/meta_missing_tsyntax.dcm": "pixel data without rows and columns",
    "pydicom/no_meta.dcm": "not an image",  # a data set of one private element
    "pydicom/MR_truncated.dcm": "pixel data cut short (8130 of 8192 bytes)",
    # Its codestream is damaged.
    "pydicom/JPEG2000-embedded-sequence-delimiter.dcm": "JPEG 2000 Image Compression, 16 bits",
}
"""Files of `../shared/data/dicom` that give no picture; all others do. Looked at one by one."""


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/dicom")
def test_each_real_dicom_file_is_decoded_or_refused_with_its_reason() -> None:
    files = sorted(REAL.resolve().rglob("*.dcm"))
    assert len(files) > 70
    with LimitedChild("ingest.pixels:read_images", Caps()) as child:
        for file in files:
            asked = [{"path": str(file), "wanted": "picture"}]
            answer, png = child.call(task="describe", files=asked, caps=asdict(Caps()))
            [told] = answer["files"]
            name = file.relative_to(REAL.resolve()).as_posix()
            reason = told.get("skipped") or told.get("quarantined")
            if name in NO_PICTURE:
                assert reason is not None, name
                assert NO_PICTURE[name] in reason, name
                assert ("skipped" in told) == reason.startswith("DICOM "), name
            else:
                assert reason is None, (name, reason)
                assert np.ptp(np.asarray(Image.open(io.BytesIO(png)))) > 50, name


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/dicom")
def test_one_picture_in_ten_encodings_is_one_picture() -> None:
    plain = read_picture(REAL / "pydicom/MR_small.dcm").pixels
    kinds = ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded")
    for kind in kinds:
        assert (read_picture(REAL / f"pydicom/MR_small_{kind}.dcm").pixels == plain).all(), kind
    stripes = read_picture(REAL / "pydicom/SC_rgb_rle.dcm").pixels.astype(int)
    for kind in ("rle_16bit", "rle_32bit", "gdcm_KY", "jpeg_gdcm", "dcmtk_+eb+cy+np", "jpeg_dcmtk"):
        lossy = read_picture(REAL / f"pydicom/SC_rgb_{kind}.dcm").pixels
        assert np.abs(lossy - stripes).mean() < 3, kind


@pytest.mark.skipif(not REAL.is_dir(), reason="no ../shared/data/dicom")
def test_a_real_chest_film_has_dark_lungs_and_a_bright_spine() -> None:
    film = next((REAL / "torchxrayvision").glob("rsna*.dcm"))
    grey = read_picture(film).pixels
    assert grey.shape == (512, 512)
    assert grey[150:300, 120:200].mean() < grey[150:300, 240:280].mean()
