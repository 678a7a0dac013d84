"""Base64 text -> bytes -> upright RGB picture."""

import binascii
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pybase64
from PIL import Image, PngImagePlugin

from src.errors import BrokenImage, ImageTooLarge, InvalidBase64, UnsupportedImage
from src.formats import check_container, png
from src.geometry import Picture
from src.strips import by_bands, strips

_HAS_HEIF: Final = find_spec("pillow_heif") is not None  # an optional extra
if _HAS_HEIF:
    from pillow_heif import register_heif_opener

    register_heif_opener()

__all__ = ["DecodeLimits", "Enough", "accepted_formats", "decode_base64", "decode_image"]

# The limits below judge every picture by its header, where Pillow would only warn of most, once per process.
Image.MAX_IMAGE_PIXELS = None
# What Pillow says of damaged metadata would be logged, and remembered for ever: each message is another one.
warnings.filterwarnings("ignore", module=r"PIL\.")
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000  # bytes of compressed texts, which nobody reads

_DATA_URL: Final = re.compile(r"\s*data:[^,]{0,256};base64,", re.IGNORECASE)
_TO_STANDARD: Final = str.maketrans("-_", "+/", " \t\r\n\f\v")
_ORIENTATION_TAG: Final = 0x0112
_BITS_TAG: Final = 0x0102
_WHITE_IS_ZERO_TAG: Final = 0x0106
_TILE_WIDTH_TAG: Final = 0x0142
_TILE_HEIGHT_TAG: Final = 0x0143
_SAMPLE_FORMAT_TAG: Final = 0x0153
_PNG_HEADER: Final = re.compile(rb"\x89PNG.{8}IHDR(.{4})(.{4})", re.DOTALL)
_PNG_BIT_DEPTH: Final = 24  # where it stands in the file
_BYTES_OF_RGB: Final = 4  # Pillow pads them
_BYTES_PER_PIXEL: Final = 7  # of a decoded picture, and of the three bands that it becomes
_LARGE: Final = 16_000_000  # pixels; converting more at once would hold too much memory
_EXIF_BYTES: Final = 1_000_000  # more is no EXIF block
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE: Final = (5, 6, 7, 8)
_SIGNATURES: Final = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "AVIF": re.compile(rb".{4}ftyp(?:avif|avis|.{8,64}avif)", re.DOTALL),
    "HEIF": re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
}
# The white level of a picture in integers or floats is not written down anywhere: it is taken as the
# first customary one that no value exceeds.
_WHITE_LEVELS: Final = (1.0, 255.0, 65_535.0, 4_294_967_295.0)


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a picture may measure at most, in pixels."""

    pixels: int = 64_000_000
    side: int = 20_000


@dataclass(frozen=True, slots=True)
class Enough:
    """How many pixels the sides of a decoded picture must have at least, where the file has more."""

    shorter: int
    longer: int


def accepted_formats() -> tuple[str, ...]:
    """Return the names of the formats that are decoded, as Pillow calls them."""
    return tuple(name for name in _SIGNATURES if name != "HEIF" or _HAS_HEIF)


def decode_base64(text: str) -> bytes:
    """Return the bytes that ``text`` stands for: base64 or a data: URL of it.

    Standard or URL-safe, padded or not; white space is ignored.

    Raises:
        InvalidBase64: The text is empty, a web address, or has characters that are not base64.
    """
    if prefix := _DATA_URL.match(text):
        text = text[prefix.end() :]
    try:
        data = pybase64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error included
        data = _decode_loosely_written(text)
    if not data:
        raise InvalidBase64("The picture is empty: send the bytes of a picture file, encoded as base64.")
    return data


def decode_image(data: bytes, limits: DecodeLimits, enough: Enough | None = None) -> Picture:
    """Return the (first) picture in ``data``, upright and RGB; transparency is laid on white.

    A JPEG file of which half, a quarter or an eighth of the size is ``enough`` is decoded at that size: its decoder
    leaves out the high frequencies then, which is both faster and better than decoding them to throw them away.

    Raises:
        UnsupportedImage: The bytes are none of the accepted formats.
        ImageTooLarge: The header announces more pixels than ``limits`` allow; nothing was decoded.
        BrokenImage: The bytes claim to be an accepted format but do not decode.
    """
    name = _recognise(data)
    try:
        if size := _PNG_HEADER.match(data):  # too large comes before cut off
            _check_size(int.from_bytes(size[1], "big"), int.from_bytes(size[2], "big"), limits)
        held = check_container(name, data)
        with Image.open(BytesIO(data), formats=[name]) as image:
            announced = image.size
            _check_size(*_with_tiles(image), limits)
            reduced = enough is not None and _reduce(image, enough)
            _check_memory(image, announced, held, limits)
            image.load()  # turns TIFF upright, and then no orientation is left
            _check_pixels(image, data)
            _mend_colour_key(image, data)
            return _picture(image, announced if reduced else image.size)
    except ImageTooLarge:
        raise
    except Exception as exc:
        raise BrokenImage(f"The picture is a damaged {name} file ({_reason(exc)}): send an intact one.") from exc


def _decode_loosely_written(text: str) -> bytes:
    compact = text.translate(_TO_STANDARD).rstrip("=")
    try:
        return binascii.a2b_base64(compact + "=" * (-len(compact) % 4), strict_mode=True)
    except ValueError as exc:
        if text.lstrip()[:8].lower().startswith(("http://", "https://")):
            message = (
                "The picture is a web address, and those are never fetched: send the file itself, encoded as base64."
            )
        else:
            message = f"The picture is not base64 ({_reason(exc)}): encode the bytes of the picture file as base64."
        raise InvalidBase64(message) from exc


def _recognise(data: bytes) -> str:
    for name in accepted_formats():
        if _SIGNATURES[name].match(data):
            return name
    accepted = ", ".join(accepted_formats()).replace("HEIF", "HEIC")
    raise UnsupportedImage(f"The picture is none of the accepted formats: send one of {accepted}.")


def _check_size(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise ImageTooLarge(
            f"The picture has {width} x {height} pixels: at most {limits.pixels} pixels in all"
            f" and {limits.side} a side are accepted, so send a smaller copy."
        )


def _with_tiles(image: Image.Image) -> tuple[int, int]:
    """Return the size of ``image``, or of a tile: one of a TIFF is decoded whole, however little of it is shown."""
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    return max(image.width, tags.get(_TILE_WIDTH_TAG, 0)), max(image.height, tags.get(_TILE_HEIGHT_TAG, 0))


def _check_memory(image: Image.Image, announced: tuple[int, int], held: float, limits: DecodeLimits) -> None:
    """Refuse a picture whose decoder would hold more bytes, ``held`` per ``announced`` pixel, than any other's."""
    most = _BYTES_PER_PIXEL * max(limits.pixels, _LARGE)
    if held * prod(announced) + _BYTES_OF_RGB * prod(image.size) > most:
        raise ImageTooLarge(
            f"The picture has {announced[0]} x {announced[1]} pixels: of a {image.format} file of this kind at most"
            f" {most / (held + _BYTES_OF_RGB):.0f} are accepted, so send a smaller copy, or a baseline JPEG file."
        )


def _check_pixels(image: Image.Image, data: bytes) -> None:
    """Refuse a PNG whose pixels end too early: Pillow says nothing and leaves the rest black, which is cheap to see."""
    if image.format != "PNG":
        return
    last = np.asarray(image.crop((0, image.height - 1, image.width, image.height)))
    if (image.info.get("interlace") or not last.any()) and not png.has_all_pixels(data):
        raise ValueError("its pixels end too early")


def _reduce(image: Image.Image, enough: Enough) -> bool:
    """Have a JPEG decoded at half, a quarter or an eighth of its size, if that is ``enough``; tell whether it will."""
    announced = image.size
    scale = min(min(announced) // enough.shorter, max(announced) // enough.longer)
    if scale > 1:  # other formats than JPEG take no notice
        image.draft(image.mode, (image.width // scale, image.height // scale))
    return image.size != announced


def _picture(image: Image.Image, size: tuple[int, int]) -> Picture:
    """Return the decoded ``image``, of a file with pictures of ``size``, upright and RGB."""
    orientation = _orientation(image)
    width, height = reversed(size) if orientation in _ON_ITS_SIDE else size
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        grey = _grey_to_8_bits(image)
        image.close()
        image = grey
    as_it_is = image.mode == "RGB" and orientation not in _UPRIGHT and not image.has_transparency_data
    if prod(image.size) > _LARGE and not as_it_is:
        return Picture(by_bands(image, _as_rgb, _UPRIGHT.get(orientation)), width, height)
    return Picture(_upright(_as_rgb(image), orientation), width, height)


def _mend_colour_key(image: Image.Image, data: bytes) -> None:
    """Bring the transparent colour of a PNG from the file's bit depth to the 8 bits of the decoded pixels."""
    key = image.info.get("transparency")
    if image.format != "PNG" or key is None:
        return
    bits = data[_PNG_BIT_DEPTH]
    if image.mode == "L":
        image.info["transparency"] = key * 255 // (2**bits - 1)
    elif image.mode == "RGB":
        image.info["transparency"] = tuple(value >> (bits - 8) for value in key)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        plain = image.convert("LA") if image.mode == "La" else image
        rgba = plain if plain.mode == "RGBA" else plain.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    grey = Image.new("L", image.size)
    if image.mode.startswith("I;16"):
        shades = _shades_of_16_bits(image, tags)
        for top, strip in strips(image):
            grey.paste(Image.fromarray(np.take(shades, np.asarray(strip), mode="clip")), (0, top))
        return grey
    unsigned = image.mode == "I" and image.format == "TIFF" and tags.get(_SAMPLE_FORMAT_TAG, (1,))[0] == 1
    peak = max((float(_values(strip, unsigned).max(initial=0.0)) for _, strip in strips(image)), default=0.0)
    white = next((level for level in _WHITE_LEVELS if peak <= level), peak)
    for top, strip in strips(image):
        values = np.clip(_values(strip, unsigned) / white, 0.0, 1.0) * 255.0
        grey.paste(Image.fromarray(np.rint(values).astype(np.uint8)), (0, top))
    return grey


def _values(strip: Image.Image, unsigned: bool) -> npt.NDArray[np.float64]:  # noqa: FBT001
    """Return the values of a grey picture, 0 where there is no number."""
    stored = np.asarray(strip)
    values = (stored.view(np.uint32) if unsigned else stored).astype(np.float64)  # Pillow reads them as signed ones
    return np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _shades_of_16_bits(image: Image.Image, tags: Mapping[int, Any]) -> npt.NDArray[np.uint8]:
    """Return the 8-bit shade of each 16-bit value of ``image``."""
    bits = tags.get(_BITS_TAG, (16,))[0]
    shades: npt.NDArray[np.uint8] = np.rint(np.minimum(np.arange(2**16) / (2**bits - 1), 1.0) * 255.0).astype(np.uint8)
    if tags.get(_WHITE_IS_ZERO_TAG) == 0:
        shades = 255 - shades
    if "transparency" in image.info:
        shades[image.info["transparency"]] = 255
    return shades


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or the EXIF block is damaged."""
    if len(image.info.get("exif") or b"") > _EXIF_BYTES:
        return 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - damaged metadata must not cost the picture, whatever its parser raises
        return 1
    return value if isinstance(value, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _reason(exc: BaseException) -> str:
    return re.sub(r" <_io\.BytesIO[^>]*>", "", str(exc)).strip().rstrip(".")[:120] or type(exc).__name__
