"""TIFF: the kinds of samples and compression that are decoded correctly, and names of the others."""

from typing import Final

from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import OPEN_INFO

from src.stages.decode.formats.scan import unsupported
from src.stages.decode.formats.tiff_directory import OFFSETS, Directory

__all__ = ["bits_of", "check"]

_SEPARATE: Final = 2
_SIGNED: Final = 2
_OLD_JPEG: Final = 6
_JPEG_BITS: Final = {6: {8}, 7: {8, 12}}
_YCBCR: Final = 6
_CIELAB: Final = 8
_MOST_SAMPLES: Final = 64  # more than Pillow decodes
_DECODED: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32_773, 32_946, 34_925, 50_000})
_COMPRESSIONS: Final = {
    **dict.fromkeys((9, 10, 34_661), "JBIG"),
    32_767: "Sony's raw compression",
    32_809: "ThunderScan",
    **dict.fromkeys((33_003, 33_004, 33_005, 33_007, 34_712), "JPEG 2000"),
    **dict.fromkeys((34_676, 34_677), "SGI LogLuv"),
    34_713: "Nikon's raw compression",
    34_887: "LERC",
    34_892: "lossy JPEG of a raw image",
    34_926: "Zstandard",
    **dict.fromkeys((34_927, 50_001), "WebP"),
    34_933: "PNG",
    34_934: "JPEG XR",
    **dict.fromkeys((50_002, 52_546), "JPEG XL"),
}
_COLORS: Final = {
    0: "gray",
    1: "gray",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32_844: "LogL",
    32_845: "LogLuv",
}
_RAW: Final = (32_803, 34_892)  # color filter array, linear raw
_FORMATS: Final = {1: "integer", 2: "signed integer", 3: "float", 4: "untyped", 5: "complex integer", 6: "complex"}
_COLOR_SAMPLES: Final = {2: 3, 5: 4, 6: 3, 8: 3}
_INSTEAD: Final = "a TIFF file of 8-bit RGB, or a PNG or JPEG file"


def check(directory: Directory) -> None:
    """Refuse an image that Pillow and libtiff do not decode, or decode incorrectly, as a sweep over all kinds found.

    Raises:
        ValueError: The entries that say how the image is stored are missing or damaged.
        UnsupportedImage: They are intact, but the kind is not decoded.
    """
    if not any(directory.values(tag) for tag in OFFSETS):
        raise ValueError("it has no strips or tiles")
    photometric, compression = directory.value(Tag.PhotometricInterpretation, 0), directory.value(Tag.Compression, 1)
    if photometric in _RAW or Tag.DNGVersion in directory.entries:
        raise unsupported("a camera raw file (DNG, NEF, ARW, ...)", "a JPEG or TIFF file developed from it")
    if compression not in _DECODED:
        name = _COMPRESSIONS.get(compression, f"the method {compression}")
        raise unsupported(f"a TIFF file compressed by {name}", f"{_INSTEAD}, compressed by LZW or Deflate")
    if not _is_known(directory, photometric, compression):
        raise unsupported(f"a TIFF file of {_described(directory, photometric)}", _INSTEAD)


def bits_of(directory: Directory) -> tuple[int, ...]:
    """Return the bits of each sample of a pixel."""
    bits = directory.values(Tag.BitsPerSample) or (1,)
    color = directory.value(Tag.PhotometricInterpretation, 0) in {2, _YCBCR}
    usual = 3 if color and directory.value(Tag.Compression, 1) == _OLD_JPEG else len(bits)
    samples = min(directory.value(Tag.SamplesPerPixel, usual), _MOST_SAMPLES)
    return bits * samples if len(bits) == 1 else bits[: max(samples, 1)]


def _is_known(directory: Directory, photometric: int, compression: int) -> bool:
    bits, extra = bits_of(directory), directory.values(Tag.ExtraSamples)
    separate = directory.value(Tag.PlanarConfiguration, 1) == _SEPARATE
    if separate and extra and not max(extra):  # planes of unknown meaning are skipped
        bits, extra = bits[: -len(extra)], ()
    with_opacity = _COLOR_SAMPLES.get(photometric, 1) == 1 and len(bits) > 1
    if separate and (with_opacity or photometric == _CIELAB):
        return False
    if compression in _JPEG_BITS and (photometric == _CIELAB or not set(bits) <= _JPEG_BITS[compression]):
        return False
    formats = directory.values(Tag.SampleFormat) or (1,)
    if _SIGNED in formats and 8 in bits:  # noqa: PLR2004 - Pillow takes negative values for the brightest
        return False
    key = (
        b"MM" if directory.file.order == ">" else b"II",
        _YCBCR if compression == _OLD_JPEG else photometric,
        formats[:1] if len(set(formats)) == 1 else formats,
        directory.value(Tag.FillOrder, 1),
        bits,
        extra,
    )
    return key in OPEN_INFO


def _described(directory: Directory, photometric: int) -> str:
    bits, extra = bits_of(directory), directory.values(Tag.ExtraSamples)
    color = _COLORS.get(photometric, f"photometric {photometric}")
    depth = "/".join(str(bit) for bit in sorted(set(bits)))
    form = _FORMATS.get(directory.value(Tag.SampleFormat, 1), "unknown")
    more = " with extra channels" if extra or len(bits) > _COLOR_SAMPLES.get(photometric, 1) else ""
    planes = " in separate planes" if directory.value(Tag.PlanarConfiguration, 1) == _SEPARATE and len(bits) > 1 else ""
    return f"{depth}-bit {form} {color} samples{more}{planes}"
