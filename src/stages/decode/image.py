"""Bytes -> upright RGB image."""

import re
import warnings
from dataclasses import replace
from io import BytesIO
from math import prod
from typing import Final

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from src.errors import BrokenImage, RequestError
from src.stages.decode.cicp import profile_of
from src.stages.decode.formats import png, scan, tiff
from src.stages.decode.formats.scan import Canvas, Scan, unsupported
from src.stages.decode.icc import to_srgb
from src.stages.decode.jpeg_pixels import check_jpeg, decode_jpeg
from src.stages.decode.kinds import recognize
from src.stages.decode.limits import LARGE, DecodeLimits, Enough, check_memory, check_size, reduce, with_tiles
from src.stages.decode.orientation import forget_xmp, turn_of
from src.stages.decode.rgb import as_rgb, gray_to_8_bits, mend_color_key
from src.stages.decode.strips import ON_ITS_SIDE, by_bands
from src.stages.decoded_image import Conversion, DecodedImage

__all__ = ["decode_image"]

# The limits judge every image by its header, where Pillow would only warn of most, once per process.
Image.MAX_IMAGE_PIXELS = None
# What Pillow says of damaged metadata would be logged, and remembered for ever: each message is another one.
warnings.filterwarnings("ignore", module=r"PIL\.")
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000  # bytes of compressed texts, which nobody reads

_PIXELS_FAILED: Final = re.compile(r"decoder error -?\d+")  # what Pillow makes of the messages of libtiff
_PNG_HEADER: Final = re.compile(rb"\x89PNG.{8}IHDR(.{4})(.{4})", re.DOTALL)
# Formats whose decoders tell what they do not know from what is damaged.
_NAMING: Final = {"AVIF": "an AVIF file", "HEIF": "a HEIC file"}
_COLORED: Final = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "YCbCr"})  # modes that profiles of RGB are for


def decode_image(data: bytes, limits: DecodeLimits, enough: Enough | None = None) -> DecodedImage:
    """Return the (first) image in ``data``, upright and RGB, composited onto white, in the colors of its profile.

    A JPEG file of which half, a quarter or an eighth of the size is ``enough`` is decoded at that size: its decoder
    leaves out the high frequencies then, which is both faster and better than decoding them to throw them away.

    Raises:
        UnsupportedImage: The bytes are none of the accepted formats, or intact but of a kind that is not decoded.
        ImageTooLarge: The header announces more pixels than ``limits`` allow; nothing was decoded.
        BrokenImage: The bytes claim to be an accepted format, but pixels are missing or damaged.
    """
    name = recognize(data)
    try:
        return _decoded(name, data, limits, enough)
    except RequestError:
        raise
    except Exception as exc:
        if name in _NAMING and "unsupported" in str(exc).lower():
            kind = f"{_NAMING[name]} of a kind that its decoder does not know ({_reason(exc)})"
            raise unsupported(kind, "a JPEG or PNG file") from exc
        raise BrokenImage(f"The image is a damaged {name} file ({_reason(exc)}): send an intact one.") from exc


def _decoded(name: str, data: bytes, limits: DecodeLimits, enough: Enough | None) -> DecodedImage:
    if size := _PNG_HEADER.match(data):  # too large comes before cut off
        check_size(int.from_bytes(size[1], "big"), int.from_bytes(size[2], "big"), limits)
    found = scan(name, data)
    if found.canvas:
        check_size(found.canvas.width, found.canvas.height, limits)
    with Image.open(BytesIO(found.data), formats=[name]) as image:
        forget_xmp(image)
        announced = image.size
        check_size(*with_tiles(image), limits)
        reduced = enough is not None and found.scalable and reduce(image, enough)
        check_memory(image, announced, found.held, limits)
        pixels = _pixels(image, found.data)
        turn = turn_of(image)  # none is left of a TIFF, which was turned when it was loaded
        conversion = _conversion(image, found) if pixels.mode in _COLORED else None
        decoded = _upright(pixels, turn, announced if reduced else pixels.size, found.canvas)
    return replace(decoded, conversion=conversion)


def _pixels(image: Image.Image, data: bytes) -> Image.Image:
    """Return the decoded ``image``, opened from ``data``, in the mode that it is stored in."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return decode_jpeg(image, data)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tiff.in_native_order(image)
        for piece, most_pixels in tiff.jpeg_pieces(data):
            check_jpeg(piece, most_pixels)
    image.load()
    if image.format == "PNG":
        _check_pixels(image, data)
        mend_color_key(image, data)
    return image


def _conversion(image: Image.Image, found: Scan) -> Conversion | None:
    """Return what makes sRGB of ``image``; None if it is sRGB, or nothing is known of its colors."""
    profile = profile_of(*found.colors) if found.colors else image.info.get("icc_profile")
    return to_srgb(profile)


def _check_pixels(image: Image.Image, data: bytes) -> None:
    """Refuse a PNG whose pixels end too early: Pillow says nothing and leaves the rest black, which is cheap to see."""
    last = np.asarray(image.crop((0, image.height - 1, image.width, image.height)))
    if (image.info.get("interlace") or not last.any()) and not png.has_all_pixels(data):
        raise ValueError("its pixels end too early")


def _upright(
    image: Image.Image, turn: Image.Transpose | None, size: tuple[int, int], canvas: Canvas | None
) -> DecodedImage:
    """Return the decoded ``image``, of a file with images of ``size``, on its canvas, upright and RGB."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        gray = gray_to_8_bits(image)
        image.close()
        image = gray
    if canvas:
        image, size = _on_canvas(as_rgb(image), canvas), (canvas.width, canvas.height)
    width, height = reversed(size) if turn in ON_ITS_SIDE else size
    as_it_is = image.mode == "RGB" and turn is None and not image.has_transparency_data
    if prod(image.size) > LARGE and not as_it_is:
        return DecodedImage(by_bands(image, as_rgb, turn), width, height)
    rgb = as_rgb(image)
    return DecodedImage(rgb if turn is None else rgb.transpose(turn), width, height)


def _on_canvas(image: Image.Image, canvas: Canvas) -> Image.Image:
    """Return the first frame of an animation where it belongs: around it there is nothing, so white."""
    white = Image.new("RGB", (canvas.width, canvas.height), "white")
    white.paste(image, (canvas.left, canvas.top))
    return white


def _reason(exc: BaseException) -> str:
    if _PIXELS_FAILED.match(str(exc)):
        return "its pixels are missing or damaged"
    return re.sub(r" <_io\.BytesIO[^>]*>", "", str(exc)).strip().rstrip(".")[:120] or type(exc).__name__
