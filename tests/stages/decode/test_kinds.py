"""Recognition of formats, and names of those that are not accepted."""

import base64
import struct
from typing import Final

import pytest
from PIL import Image

from src.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from src.stages.decode import DecodeLimits, accepted_formats, decode_image, kinds
from tests.files import saved
from tests.hostile import bmp

LIMITS: Final = DecodeLimits()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff\xd8",
        b"\x89PNG",
        bytes(100),
        b"An image of a cat.",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        b"<svg/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"\xc5\xd0\xd3\xc6\x20\x00\x00\x00",
        b"8BPS\0\1",
        b"\x1f\x8b\x08\0<svg",
        b"gimp xcf v011",
        b"\x0a\x05\x01\x08",
        b"DDS \x7c\0\0\0",
        b"icns\0\0\1\0",
        b"\xd7\xcd\xc6\x9a\0\0",
        b"\x01\0\0\0\x6c\0\0\0",
        b"#define im_width 8\n#define im_height 8\n",
        b"/* XPM */\nstatic char *x[] = {",
        b"\x89HDF\r\n\x1a\n",
        b"GRIB\0\0\0\1",
        b"qoif\0\0\0\x10",
        b"\x01\xda\1\1\0\3",
        b"\x1aE\xdf\xa3",
        b"PK\3\4",
        b"\x80\x04\x95",
        b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00 \x00",
        b"P6\n2 1\n255\nabcdef",
        b"SIMPLE  =                    T / FITS",
        b"\x00\x00\x00\x0cjP  \r\n\x87\n",
        b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
    ],
)
def test_other_kinds_of_file_are_unsupported(data: bytes) -> None:
    """Bytes that do not begin like an accepted format are refused with the list of accepted formats."""
    with pytest.raises(UnsupportedImage) as caught:
        decode_image(data, LIMITS)
    assert all(name.replace("HEIF", "HEIC") in caught.value.message for name in accepted_formats())


def test_heic_is_unsupported_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pillow-heif, HEIC is not listed and is refused as unsupported."""
    monkeypatch.setattr(kinds, "_HAS_HEIF", False)
    assert accepted_formats() == ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    with pytest.raises(UnsupportedImage, match=r"a HEIC file.*AVIF"):
        decode_image(b"\0\0\0\x18ftypheic" + bytes(100), LIMITS)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100), "a video"),
        (b"\0\0\0\x14ftypqt  " + bytes(100), "a video"),
        (b"\0\0\0\x08wide\0\0\0\x08mdat", "a video"),
        (b"\x1aE\xdf\xa3" + bytes(40), "a video"),
        (b"\0\0\0\x18ftyphevc\0\0\0\0hevcmif1" + bytes(20), "a video"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "a camera raw file"),
        (b"\0\0\0\x18ftypcrx " + bytes(100), "a camera raw file"),
        (b"IIU\0\x18\0\0\0" + bytes(100), "a camera raw file"),
        (b"FUJIFILMCCD-RAW 0201", "a camera raw file"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"),
        (b"\xff\x4f\xff\x51\0\x2f", "a JPEG 2000 file"),
        (b"\xff\x0a\xfa\x2b", "a JPEG XL file"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file"),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "a web page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop file"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (b"\0\0\1\0\1\0\x10\x10", "an icon"),
        (b"\0\0\2" + bytes(9) + b"\x40\0\x40\0\x18\0", "a TGA file"),
        (b"PK\3\4\x14\0", "an archive"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "a sound"),
        (b"\x93NUMPY\1\0v\0{'descr': '|u1'", "a NumPy array"),
        (b"\0\x05\x16\x07\0\2\0\0Mac OS X", "metadata that a Mac stores"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        (b'{"img": "/9j/4AAQ"}', "JSON text"),
        (b"[[[255, 0, 0]]]", "JSON text"),
        (bytes(4096), "a file of zeros"),
        (b"https://example.org/cat.jpg", "a URL"),
        (b"blob:https://example.org/1", "a URL"),
        (b'------WebKitFormBoundaryX\r\nContent-Disposition: form-data; name="img"', "a form"),
    ],
)
def test_unsupported_formats_are_named(data: bytes, name: str) -> None:
    """Videos, raw images, documents and pages are named, with what to send instead."""
    with pytest.raises(UnsupportedImage, match=f"The image is {name}.*: send") as caught:
        decode_image(data, LIMITS)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_file_that_was_turned_into_text_is_named(name: str) -> None:
    """Base64 once too often, bytes read as text, and a blank line before a file are common mistakes."""
    data = saved(Image.linear_gradient("L"), name)
    encoded = base64.b64encode(data)
    for text in (encoded, f"data:image/{name.lower()};base64,".encode() + encoded):
        with pytest.raises(UnsupportedImage, match="base64 text instead of"):
            decode_image(text, LIMITS)
    for before in (b"\n", b"\r\n\r\n", b"\xef\xbb\xbf"):
        with pytest.raises(UnsupportedImage, match="with text before it"):
            decode_image(before + data, LIMITS)
    if name in {"JPEG", "PNG"}:  # the others begin with letters
        for read in (data.decode(errors="replace"), data.decode("latin-1")):
            with pytest.raises(UnsupportedImage, match="read as text"):
                decode_image(read.encode(), LIMITS)


@pytest.mark.parametrize(
    ("bits", "compression", "name"),
    [(2, 0, "2 bits per pixel"), (64, 0, "64 bits"), (0, 4, "a JPEG file inside"), (0, 5, "a PNG file inside")],
)
def test_other_kinds_of_bmp_are_named(bits: int, compression: int, name: str) -> None:
    """Rare kinds of BMP files that Windows allows are not called damaged."""
    with pytest.raises(UnsupportedImage, match=name):
        decode_image(bmp(4, 4, bytes(64), bits, compression), LIMITS)


def test_a_large_run_length_coded_bmp_is_not_called_damaged() -> None:
    """An intact file of more than two megapixels is too large, and the message says how many it may have."""
    with pytest.raises(ImageTooLarge, match=r"2000 x 1500 pixels.* at most 2097152"):
        decode_image(bmp(2000, 1500, b"\xff\x12" * 12_000 + b"\0\1"), LIMITS)


def test_a_truncated_still_image_is_not_called_a_video() -> None:
    """A HEIC file that lacks some of its boxes is damaged."""
    with pytest.raises((BrokenImage, UnsupportedImage)) as caught:
        decode_image(struct.pack(">I", 24) + b"ftypheic" + bytes(40), LIMITS)
    assert "video" not in caught.value.message
