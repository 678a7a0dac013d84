"""BMP: palettes, opacity and masks as Windows programs write them."""

import struct
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from src.errors import UnsupportedImage
from src.stages.decode import DecodeLimits, decode_image

LIMITS: Final = DecodeLimits()
BITS: Final = np.random.default_rng(0).integers(0, 2, (6, 16), np.uint8)

MASKS: Final = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def bmp(bits: int, rows: NDArray[np.uint8], *, palette: bytes = b"", masks: tuple[int, ...] = ()) -> bytes:
    """Return a BMP file of 16 x 6 pixels; with ``masks`` its header is that of version 5, which has an opacity."""
    pixels, size = rows[::-1].tobytes(), 124 if masks else 40
    compression, colors = 3 if masks else 0, len(palette) // 4
    head = struct.pack("<IiiHHIIiiII", size, 16, 6, 1, bits, compression, len(pixels), 0, 0, colors, 0)
    head = (head + struct.pack(f"<{len(masks)}I", *masks)).ljust(size, b"\0") + palette
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("shades", [(0, 255), (255, 0), (7, 200)])
def test_two_colors_take_as_many_bits_as_the_header_says(bits: int, shades: tuple[int, int]) -> None:
    """A palette of black and white does not turn pixels of four or eight bits into such of one."""
    rows = {1: np.packbits(BITS, axis=1), 4: BITS[:, ::2] << 4 | BITS[:, 1::2], 8: BITS}[bits]
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    palette = b"".join(bytes([shade, shade, shade, 0]) for shade in shades)
    image = decode_image(bmp(bits, rows, palette=palette), LIMITS).raster
    assert np.array_equal(np.asarray(image)[..., 1], np.array(shades)[BITS])


@pytest.mark.parametrize("opacities", [[0], [0, 255], [0, 128]])
def test_an_opacity_that_is_zero_everywhere_is_not_one(opacities: list[int]) -> None:
    """Writers that leave the fourth byte unset mean an opaque image; one opaque pixel shows that they do not."""
    pixels = np.full((6, 16, 4), (30, 60, 200, 0), np.uint8)
    pixels[0, : len(opacities), 3] = opacities
    image = np.asarray(decode_image(bmp(32, pixels, masks=MASKS), LIMITS).raster)
    assert image[5, 5].tolist() == ([200, 60, 30] if opacities == [0] else [255, 255, 255])


def test_masks_that_are_not_decoded_are_named() -> None:
    """An intact file with ten bits per color is not called damaged."""
    data = bmp(32, np.zeros((6, 64), np.uint8), masks=(0x3FF00000, 0xFFC00, 0x3FF, 0))
    with pytest.raises(UnsupportedImage, match=r"a BMP file .*bitfields.*send a JPEG or PNG file"):
        decode_image(data, LIMITS)
