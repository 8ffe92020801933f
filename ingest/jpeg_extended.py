"""Decode 12-bit JPEG Extended (Process 4) with GDCM, which pydicom leaves out.

pydicom hands GDCM 8-bit JPEG Extended alone. GDCM carries libjpeg built for 12 bits, too: on
pydicom's JPGExtended.dcm its values differ by at most 1, in 1.4 % of pixels, from those of
libjpeg-turbo 3 and of ISO's libjpeg, which is the rounding that the standard leaves open.
"""

from typing import Any

import gdcm
from pydicom.pixels.decoders import JPEGExtended12BitDecoder
from pydicom.uid import JPEGExtended12Bit

__all__ = ["DECODER_DEPENDENCIES", "add_decoder", "decode_frame", "is_available"]

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("gdcm>=3.0.10",)}
_NAME = "gdcm-12-bit"


def add_decoder() -> None:
    """Let pydicom use it where its own decoders give up; safe to call again."""
    if _NAME not in JPEGExtended12BitDecoder.available_plugins:
        JPEGExtended12BitDecoder.add_plugin(_NAME, (__name__, "decode_frame"))


def is_available(uid: str) -> bool:
    """Say whether a transfer syntax is this one; pydicom asks."""
    return uid == JPEGExtended12Bit


def decode_frame(content: bytes, runner: Any) -> bytes:
    """Decode one frame of grey 9- to 12-bit values to 16 bits each; pydicom calls it."""
    if runner.samples_per_pixel != 1 or not 8 < runner.bits_stored <= 12:
        raise NotImplementedError("only grey values of 9 to 12 bits")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(content)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    syntax = gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = runner.bits_stored
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits, bits - 1, runner.pixel_representation))
    runner.set_option("bits_allocated", 16)
    # GDCM gives char* as text: made bytes again.
    return image.GetBuffer().encode("utf-8", "surrogateescape")
