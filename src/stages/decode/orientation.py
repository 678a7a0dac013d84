"""Turn images upright by EXIF alone, as browsers do."""

from typing import Final

from PIL import Image
from PIL.ExifTags import Base as Tag

__all__ = ["forget_xmp", "turn_of"]

_EXIF_BYTES: Final = 1_000_000  # a valid EXIF block is smaller
_XMP: Final = ("xmp", "XML:com.adobe.xmp")  # where Pillow looks for an orientation if EXIF has none
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def forget_xmp(image: Image.Image) -> None:
    """Remove all metadata except EXIF from which Pillow would take the orientation of the opened ``image``."""
    for key in _XMP:
        image.info.pop(key, None)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that turns ``image`` upright by EXIF; None if there is none or EXIF is damaged."""
    forget_xmp(image)  # a PNG may have it behind its pixels
    if len(image.info.get("exif") or b"") > _EXIF_BYTES:
        return None
    try:
        value = image.getexif().get(Tag.Orientation)
    except Exception:  # noqa: BLE001 - damaged metadata must not cost the image, whatever its parser raises
        return None
    return _UPRIGHT.get(value) if isinstance(value, int) else None
