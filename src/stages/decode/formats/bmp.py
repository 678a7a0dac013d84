"""BMP: the size of run-length coded images, the kinds that are not decoded, and palettes of black and white."""

import struct
from typing import Final

from src.errors import ImageTooLarge
from src.stages.decode.damage import AS_TEXT, check_continued, was_text
from src.stages.decode.formats.scan import Scan, unsupported

__all__ = ["scan"]

_CORE_HEADER_BYTES: Final = 12
_FIELDS: Final = struct.Struct("<IiiHHI")  # size of the header, width, height, planes, bits, compression
_FILE_BYTES: Final = slice(2, 6)  # the size of the file
_HEADER: Final = 14  # its offset in the file
_COLORS: Final = 46  # offset of the number of colors in the file
_HEADER_BYTES: Final = (40, 52, 56, 108, 124)
_HEADER_SIZES: Final = (12, *range(16, 125))  # OS/2's may lack its last fields
_OTHER_BITS: Final = (2, 64)
_OTHER_COMPRESSIONS: Final = {4: "with a JPEG file inside", 5: "with a PNG file inside"}
_RUN_LENGTH_CODED: Final = (1, 2)
_WIDE_INDICES: Final = (4, 8)  # bits
# Pillow decodes them in Python: up to 0.1 microseconds per pixel and 0.2 per byte. Large ones do not occur.
_MOST_PIXELS: Final = 1 << 21
_MOST_BYTES: Final = 2 * _MOST_PIXELS + 4_096


def scan(data: bytes) -> Scan:
    """Return ``data``, with a third color if it has two; the decoder holds no more than the image.

    Raises:
        ImageTooLarge: The image is run-length coded and has more than two megapixels.
        ValueError: It is damaged, or it is run-length coded and has more codes than two megapixels need.
        UnsupportedImage: It contains a file of another format, or has samples of 2 or 64 bits.
    """
    if len(data) < _HEADER + _FIELDS.size:
        return Scan(data)  # too short: Pillow reports it
    size, width, height, _, bits, compression = _FIELDS.unpack_from(data, _HEADER)
    if size not in _HEADER_SIZES:
        raise ValueError(f"its header has {size} bytes")
    announced = int.from_bytes(data[_FILE_BYTES], "little")
    if 0 < announced < len(data):
        _check_excess(data, announced)
    if size in _HEADER_BYTES and (bits in _OTHER_BITS or compression in _OTHER_COMPRESSIONS):
        kind = _OTHER_COMPRESSIONS.get(compression, f"of {bits} bits per pixel")
        raise unsupported(f"a BMP file {kind}", "one of 24 bits per pixel")
    run_length_coded = size > _CORE_HEADER_BYTES and compression in _RUN_LENGTH_CODED
    if run_length_coded and abs(width * height) > _MOST_PIXELS:
        raise ImageTooLarge(
            f"The image has {width} x {abs(height)} pixels: a run-length coded BMP file may have at most"
            f" {_MOST_PIXELS}, so send a smaller copy, or a PNG file."
        )
    if run_length_coded and len(data) > _MOST_BYTES:
        raise ValueError("it has more run-length codes than its pixels need")
    if size > _CORE_HEADER_BYTES and bits in _WIDE_INDICES and data[_COLORS : _COLORS + 4] == b"\2\0\0\0":
        # Pillow takes the pixels for bits if the two are black and white. A third does no harm: no pixel has it.
        data = data[:_COLORS] + b"\3" + data[_COLORS + 1 :]
    return Scan(data)


def _check_excess(data: bytes, announced: int) -> None:
    """Refuse a file whose pixels were moved by what was inserted; it has more than the ``announced`` bytes."""
    if was_text(data):
        raise ValueError(AS_TEXT)
    check_continued(data, _HEADER, announced)
