"""Convert a decoded image of any mode to RGB with 8 bits per channel, composited onto white."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ExifTags import Base as Tag

from src.stages.decode.strips import strips

__all__ = ["as_rgb", "gray_to_8_bits", "mend_color_key", "mend_opacity"]

_PNG_BIT_DEPTH: Final = 24  # its offset in the file
# The white level of an image in integers or floats is not stored anywhere: the first common one that no value exceeds
# is assumed.
_WHITE_LEVELS: Final = (1.0, 255.0, 65_535.0, 4_294_967_295.0)


def mend_color_key(image: Image.Image, data: bytes) -> None:
    """Scale the transparent color of a PNG from the file's bit depth to the 8 bits of the decoded pixels."""
    key = image.info.get("transparency")
    if key is None:
        return
    bits = data[_PNG_BIT_DEPTH]
    if image.mode == "L":
        image.info["transparency"] = key * 255 // (2**bits - 1)
    elif image.mode == "RGB":
        image.info["transparency"] = tuple(value >> (bits - 8) for value in key)


def mend_opacity(image: Image.Image) -> None:
    """Make a BMP opaque if its opacity is zero everywhere: many writers leave it unset, and browsers show the image."""
    if image.format == "BMP" and image.mode == "RGBA" and image.getbbox() is None:
        image.putalpha(255)


def as_rgb(image: Image.Image) -> Image.Image:
    """Return ``image``, of at most 8 bits per channel, as RGB on white."""
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        plain = image.convert("LA") if image.mode == "La" else image
        rgba = plain if plain.mode == "RGBA" else plain.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def gray_to_8_bits(image: Image.Image) -> Image.Image:
    """Return a gray ``image`` of 16 or 32 bits, or of floats, in 8 bits."""
    tags = image.tag_v2 if image.format == "TIFF" else {}  # type: ignore[attr-defined]
    gray = Image.new("L", image.size)
    if image.mode.startswith("I;16"):
        shades = _shades_of_16_bits(image, tags)
        for top, strip in strips(image):
            gray.paste(Image.fromarray(np.take(shades, np.asarray(strip), mode="clip")), (0, top))
        return gray
    unsigned = image.mode == "I" and image.format == "TIFF" and tags.get(Tag.SampleFormat, (1,))[0] == 1
    peak = max((float(_values(strip, unsigned).max(initial=0.0)) for _, strip in strips(image)), default=0.0)
    white = next((level for level in _WHITE_LEVELS if peak <= level), peak)
    inverted = tags.get(Tag.PhotometricInterpretation) == 0
    for top, strip in strips(image):
        values = _values(strip, unsigned)
        values /= white
        np.clip(values, 0.0, 1.0, out=values)
        values *= 255.0
        shade = np.rint(255.0 - values if inverted else values, out=values).astype(np.uint8)
        gray.paste(Image.fromarray(shade), (0, top))
    return gray


def _values(strip: Image.Image, unsigned: bool) -> npt.NDArray[np.float64]:  # noqa: FBT001
    """Return the values of a gray image, 0 for those that are not finite."""
    stored = np.asarray(strip)
    values = (stored.view(np.uint32) if unsigned else stored).astype(np.float64)  # Pillow reads them as signed
    if strip.mode == "F":
        values[~np.isfinite(values)] = 0.0
    return values


def _shades_of_16_bits(image: Image.Image, tags: Mapping[int, Any]) -> npt.NDArray[np.uint8]:
    """Return the 8-bit shade of each 16-bit value of ``image``."""
    bits = tags.get(Tag.BitsPerSample, (16,))[0]
    shades: npt.NDArray[np.uint8] = np.rint(np.minimum(np.arange(2**16) / (2**bits - 1), 1.0) * 255.0).astype(np.uint8)
    if tags.get(Tag.PhotometricInterpretation) == 0:
        shades = 255 - shades
    if "transparency" in image.info:
        shades[image.info["transparency"]] = 255
    return shades
