"""Small valid files of every accepted format, in the modes and with the metadata that they support."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import imagecodecs
import numpy as np
from PIL import Image

from src.stages.decode import accepted_formats
from tests.files import saved
from tests.hostile import bmp, chunk, png

__all__ = ["Seeds", "make_seeds"]

Seeds = dict[str, tuple[bytes, ...]]

_MODES: Final[dict[str, tuple[tuple[str, dict[str, Any]], ...]]] = {
    "JPEG": (
        ("RGB", {}),
        ("RGB", {"progressive": True, "subsampling": 0}),
        ("L", {"restart_marker_blocks": 2, "comment": b"a comment"}),
        ("CMYK", {"progressive": True}),
        ("RGB", {"subsampling": 1, "icc_profile": bytes(500), "optimize": True}),
    ),
    "PNG": (
        *((mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        ("RGB", {"icc_profile": bytes(500), "dpi": (72, 72)}),
        ("P", {"transparency": 3, "bits": 4}),
    ),
    "WEBP": (
        ("RGB", {}),
        ("RGBA", {}),
        ("RGB", {"lossless": True, "icc_profile": bytes(100)}),
        ("RGBA", {"lossless": True}),
    ),
    "GIF": (("P", {}), ("L", {"comment": b"a comment"}), ("P", {"transparency": 5, "interlace": 0})),
    "BMP": tuple((mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
    "TIFF": (
        *((mode, {}) for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I", "F")),
        *(("RGB", {"compression": f"tiff_{name}"}) for name in ("lzw", "adobe_deflate", "deflate")),
        *(("RGB", {"compression": name}) for name in ("jpeg", "packbits", "zstd", "lzma")),
        *(("1", {"compression": name}) for name in ("group4", "group3", "tiff_ccitt")),
        ("RGB", {"big_tiff": True}),
        ("F", {"compression": "tiff_lzw"}),
        ("YCbCr", {"compression": "tiff_lzw"}),
    ),
    "AVIF": (("RGB", {}), ("L", {}), ("RGBA", {"subsampling": "4:4:4"})),
    "HEIF": (("RGB", {}), ("L", {}), ("RGBA", {})),
}
_ANIMATED: Final = ("PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF")


@cache
def make_seeds() -> Seeds:
    """Return the valid files of each format."""
    return {name: tuple(_files(name)) for name in accepted_formats()}


def _files(name: str) -> Iterator[bytes]:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    for mode, options in _MODES[name]:
        yield saved(_image(mode), name, **options)
    if name not in {"GIF", "BMP"}:
        yield saved(_image("RGB"), name, exif=exif.tobytes())
    if name in _ANIMATED:
        frames = [_image("RGB"), _image("RGB").rotate(90)]
        yield saved(_image("RGB"), name, save_all=True, append_images=frames)
    if name == "JPEG":
        yield bytes(imagecodecs.jpeg8_encode(np.asarray(_image("RGB")), lossless=True))
    if name == "BMP":
        rows = b"\x08\x07\0\0", b"\x02\x01\x00\x03\x01\x02\x03\0\x03\x05\0\0", b"\x02\x02\0\2\2\0\x04\x09\0\1"
        yield bmp(8, 3, b"".join(rows))
        yield bmp(8, 2, b"\x08\x17\0\0\x04\x21\x00\x04\x12\x34\0\1", 4, 2)
    if name == "PNG":
        text = chunk(b"tEXt", b"key\0value") + chunk(b"zTXt", b"key\0\0x\x9c\x03\0\0\0\0\1")
        yield png(20, 12, b"\4" + bytes(5000), interlace=1, before=text + chunk(b"tRNS", bytes(6)))
        yield png(20, 12, bytes(5000), bits=16, color=6)


def _image(mode: str) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
    image = Image.fromarray(pixels).resize((40, 30), Image.Resampling.BICUBIC)
    if mode in {"I;16", "I", "F"}:
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        return Image.fromarray((np.asarray(image.convert("L")) * 257.0).astype(dtype))
    return image.convert("P").convert(mode) if mode == "PA" else image.convert("RGB").convert(mode)
