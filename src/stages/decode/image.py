"""Decode the bytes of an image file into an upright RGB image."""

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
from src.stages.decode.formats.scan import Canvas, unsupported
from src.stages.decode.icc import to_srgb
from src.stages.decode.jpeg_pixels import check_jpeg, decode_jpeg
from src.stages.decode.kinds import recognize
from src.stages.decode.limits import LARGE, DecodeLimits, Enough, check_memory, check_size, reduce, with_tiles
from src.stages.decode.orientation import forget_xmp, turn_of
from src.stages.decode.rgb import as_rgb, gray_to_8_bits, mend_color_key, mend_opacity
from src.stages.decode.strips import ON_ITS_SIDE, by_bands
from src.stages.decoded_image import DecodedImage

__all__ = ["decode_image"]

# Our limits check the header of every image; Pillow would only warn about most, once per process.
Image.MAX_IMAGE_PIXELS = None
# Pillow's warnings about damaged metadata would be logged, and kept forever, as each message is different.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Bytes of compressed texts, which are not used, in total and each; also of a profile.
PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK = 8_000_000

_PIXELS_FAILED: Final = re.compile(r"decoder error -?\d+")  # Pillow's form of libtiff's messages
_PNG_HEADER: Final = re.compile(rb"\x89PNG.{8}IHDR(.{4})(.{4})", re.DOTALL)
# Formats whose decoders distinguish unsupported files from damaged ones.
_NAMING: Final = {"AVIF": "an AVIF file", "BMP": "a BMP file", "HEIF": "a HEIC file"}
_COLORED: Final = frozenset({"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "YCbCr"})  # modes that RGB profiles apply to


def decode_image(data: bytes, limits: DecodeLimits, enough: Enough | None = None) -> DecodedImage:
    """Return the (first) image in ``data``, upright and RGB, composited onto white, in the colors of its profile.

    A JPEG file is decoded at half, a quarter or an eighth of its size if that is ``enough``: the decoder then omits
    the high frequencies, which is both faster and better than resizing afterwards.

    Raises:
        UnsupportedImage: The bytes are not of an accepted format, or are intact but of a kind that is not decoded.
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
            kind = f"{_NAMING[name]} of a kind that the decoder does not know ({_reason(exc)})"
            raise unsupported(kind, "a JPEG or PNG file") from exc
        raise BrokenImage(f"The image is a damaged {name} file ({_reason(exc)}): send an intact one.") from exc


def _decoded(name: str, data: bytes, limits: DecodeLimits, enough: Enough | None) -> DecodedImage:
    if size := _PNG_HEADER.match(data):  # report a truncated file that is also too large as too large
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
        turn = turn_of(image)  # None for a TIFF, which was turned on loading
        profile = profile_of(*found.colors) if found.colors else image.info.get("icc_profile")
        conversion = to_srgb(profile) if pixels.mode in _COLORED else None
        decoded = _upright(pixels, turn, announced if reduced else pixels.size, found.canvas)
    return replace(decoded, conversion=conversion)


def _pixels(image: Image.Image, data: bytes) -> Image.Image:
    """Return the decoded ``image``, opened from ``data``, in its stored mode."""
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
    mend_opacity(image)
    return image


def _check_pixels(image: Image.Image, data: bytes) -> None:
    """Refuse a PNG whose pixels end too early: Pillow silently leaves the rest black, which is cheap to detect."""
    last = np.asarray(image.crop((0, image.height - 1, image.width, image.height)))
    if (image.info.get("interlace") or not last.any()) and not png.has_all_pixels(data):
        raise ValueError("its pixels end too early")


def _upright(
    image: Image.Image, turn: Image.Transpose | None, size: tuple[int, int], canvas: Canvas | None
) -> DecodedImage:
    """Return the decoded ``image``, whose full size is ``size``, on its canvas, upright and RGB."""
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        gray = gray_to_8_bits(image)
        image.close()
        image = gray
    if canvas:  # the first frame of an animation
        size = (canvas.width, canvas.height)
        white = Image.new("RGB", size, "white")
        white.paste(as_rgb(image), (canvas.left, canvas.top))
        image = white
    width, height = reversed(size) if turn in ON_ITS_SIDE else size
    as_it_is = image.mode == "RGB" and turn is None and not image.has_transparency_data
    if prod(image.size) > LARGE and not as_it_is:
        return DecodedImage(by_bands(image, as_rgb, turn), width, height)
    rgb = as_rgb(image)
    return DecodedImage(rgb if turn is None else rgb.transpose(turn), width, height)


def _reason(exc: BaseException) -> str:
    if _PIXELS_FAILED.match(str(exc)):
        return "its pixels are missing or damaged"
    return re.sub(r" <_io\.BytesIO[^>]*>", "", str(exc)).strip().rstrip(".")[:120] or type(exc).__name__
