"""Base64 text -> bytes -> upright RGB image."""

import binascii
import re
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image

from src.errors import BrokenImage, ImageTooLarge, InvalidBase64, UnsupportedImage

_HAS_HEIF: Final = find_spec("pillow_heif") is not None  # an optional extra
if _HAS_HEIF:
    from pillow_heif import register_heif_opener

    register_heif_opener()

__all__ = ["DecodeLimits", "accepted_formats", "decode_base64", "decode_image"]

# The limits below judge every picture by its header; Pillow's own would only warn, once per process.
Image.MAX_IMAGE_PIXELS = None

_DATA_URL: Final = re.compile(r"\s*data:[^,]{0,256};base64,", re.IGNORECASE)
_TO_STANDARD: Final = str.maketrans("-_", "+/", " \t\r\n\f\v")
_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
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
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error included; non-ASCII text raises a plain ValueError
        data = _decode_loosely_written(text)
    if not data:
        raise InvalidBase64("The picture is empty: send the bytes of a picture file, encoded as base64.")
    return data


def decode_image(data: bytes, limits: DecodeLimits) -> Image.Image:
    """Return the (first) picture in ``data`` as an upright image of mode RGB; transparency is laid on white.

    Raises:
        UnsupportedImage: The bytes are none of the accepted formats.
        ImageTooLarge: The header announces more pixels than ``limits`` allow; nothing was decoded.
        BrokenImage: The bytes claim to be an accepted format but do not decode.
    """
    name = _recognise(data)
    try:
        with Image.open(BytesIO(data), formats=[name]) as image:
            _check_size(image, limits)
            image.load()
            return _upright(_as_rgb(image), _orientation(image))
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
    accepted = ", ".join(accepted_formats())
    raise UnsupportedImage(f"The picture is none of the accepted formats: send one of {accepted}.")


def _check_size(image: Image.Image, limits: DecodeLimits) -> None:
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise ImageTooLarge(
            f"The picture has {width} x {height} pixels: at most {limits.pixels} pixels in all"
            f" and {limits.side} a side are accepted, so send a smaller copy."
        )


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _grey_to_8_bits(image).convert("RGB")
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        rgba = image.convert("RGBA") if image.mode != "La" else image.convert("LA").convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16"):
        white = 65_535.0
    else:
        peak = float(values.max(initial=0.0))
        white = next((level for level in _WHITE_LEVELS if peak <= level), peak)
    return Image.fromarray(np.rint(np.clip(values / white, 0.0, 1.0) * 255.0).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or the EXIF block is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - damaged metadata must not cost the picture, whatever its parser raises
        return 1
    return value if isinstance(value, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _reason(exc: BaseException) -> str:
    return re.sub(r"<_io\.BytesIO[^>]*>", "file", str(exc)).strip().rstrip(".")[:120] or type(exc).__name__
