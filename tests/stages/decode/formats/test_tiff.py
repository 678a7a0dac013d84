"""TIFF: every way to store samples is decoded like in another decoder, or refused by name; which image is decoded."""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from skimage.color import rgb2lab

from src.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from src.stages.decode import DecodeLimits, decode_image
from tests.hostile import tiff

Samples: TypeAlias = npt.NDArray[Any]
Tags: TypeAlias = dict[int, tuple[int, Iterable[int]]]

LIMITS: Final = DecodeLimits()
ORDERS: Final[tuple[Literal["<", ">"], ...]] = ("<", ">")
LOSSY: Final = ("jpeg", "webp", "jpeg2000", "jpegxl")
LOSSLESS: Final = ("none", "lzw", "deflate", "packbits", "zstd", "lzma")
TOLERANCE: Final = {"assocalpha": 4, "cielab": 4}
QUICK: Final = {"lzma": {"level": 0}, "jpegxl": {"effort": 1}}  # otherwise they take longer than all others together
DEPTHS: Final = (*(f"u{bits}" for bits in (1, 2, 4, 8, 10, 12, 14, 16, 32)), "i8", "i16", "i32", "f16", "f32", "f64")


@dataclass(frozen=True)
class Kind:
    """A way to store an image in a TIFF file."""

    samples: int
    depth: str
    photometric: str
    planar: str = "contig"
    order: Literal["<", ">"] = "<"
    compression: str = "none"
    tiled: bool = False
    predictor: bool = False
    extra: str | None = None
    big: bool = False

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return int(self.depth[1:])


def photometrics(samples: int) -> tuple[tuple[str, str | None], ...]:
    """Return what this number of samples can mean, and the meaning of the last one if it is not a color."""
    return {
        1: (("minisblack", None), ("miniswhite", None)),
        2: (("minisblack", "unassalpha"), ("minisblack", "assocalpha"), ("minisblack", "unspecified")),
        3: (("rgb", None), ("cielab", None)),
        4: (("rgb", "unassalpha"), ("rgb", "assocalpha"), ("rgb", "unspecified"), ("separated", None)),
        5: (("rgb", "unspecified"), ("separated", "unspecified")),
    }[samples]


def kinds(depth: str) -> Iterator[Kind]:
    """List every kind of samples of ``depth``."""
    compressions = (*LOSSLESS, *LOSSY, "lerc", "png")
    for samples in range(1, 6):
        for (photometric, extra), order, compression, tiled in product(
            photometrics(samples), ORDERS, compressions, (False, True)
        ):
            for planar, predictor in product(
                ("contig", "separate") if samples > 1 else ("contig",),
                (False, True) if compression in {"lzw", "deflate", "zstd"} else (False,),
            ):
                yield Kind(samples, depth, photometric, planar, order, compression, tiled, predictor, extra)


@cache
def pixels(kind: Kind) -> Samples:
    """Return soft shades (40, 56, samples) as ``kind`` stores them."""
    coarse = np.random.default_rng(kind.samples).integers(0, 256, (5, 7, 5), np.uint8)
    bands = [Image.fromarray(coarse[..., band]).resize((56, 40), Image.Resampling.BICUBIC) for band in range(5)]
    shades = np.stack([np.asarray(band) / 255 for band in bands[: kind.samples]], axis=2)
    if kind.extra == "assocalpha":
        shades[..., :-1] *= shades[..., -1:]
    if kind.photometric == "cielab" and kind.depth == "u8":
        muted = 0.3 + 0.4 * shades  # colors that sRGB has
        return np.asarray(np.rint(rgb2lab(muted) * (2.55, 1, 1)), np.int16).astype(np.uint8)
    if kind.depth.startswith("f"):
        return np.asarray(shades, f"f{kind.bits // 8}")
    size = next(size for size in (8, 16, 32) if size >= kind.bits)
    most = 2**kind.bits - 1 if kind.depth.startswith("u") else 2 ** (kind.bits - 1) - 1
    return np.asarray(np.rint(shades * most), f"{kind.depth[0]}{size // 8}")


def encoded(kind: Kind) -> bytes | None:
    """Return a TIFF file; None where tifffile does not write the kind."""
    samples = pixels(Kind(kind.samples, kind.depth, kind.photometric, extra=kind.extra))
    samples = samples[..., 0] if kind.samples == 1 else samples
    samples = np.moveaxis(samples, -1, 0).copy() if kind.planar == "separate" else samples
    options: dict[str, Any] = {
        "bitspersample": None if kind.bits in {8, 16, 32, 64} else kind.bits,
        "compression": None if kind.compression == "none" else kind.compression,
        "compressionargs": QUICK.get(kind.compression),
        "extrasamples": kind.extra and [kind.extra],
        "planarconfig": kind.planar if kind.samples > 1 else None,
        "predictor": kind.predictor,
        "tile": (16, 32) if kind.tiled else None,
        "rowsperstrip": None if kind.tiled else 16,
    }
    file = io.BytesIO()
    try:
        with tifffile.TiffWriter(file, byteorder=kind.order, bigtiff=kind.big) as writer:
            writer.write(samples, photometric=kind.photometric, metadata=None, **options)
    except Exception:  # noqa: BLE001 - what its codecs raise for a kind that they do not know
        return None
    return file.getvalue()


def expected(kind: Kind, stored: Samples) -> npt.NDArray[np.float64]:
    """Return the image on white, (40, 56, 3), of ``stored`` samples (40, 56, samples)."""
    values = stored.astype(np.float64)
    if not kind.depth.startswith("f"):  # signed integers get the white level of unsigned ones
        values = np.maximum(values, 0) / (2.0**kind.bits - 1)
    opacity = values[..., -1:] if kind.extra in {"unassalpha", "assocalpha"} else np.ones((40, 56, 1))
    if kind.photometric == "cielab":
        lightness, color = stored[..., :1] / 2.55, stored[..., 1:].view(np.int8)
        return 255 * from_lab(np.concatenate([lightness, color], axis=2))
    if kind.photometric == "separated":
        values = (1 - values[..., :3]) * (1 - values[..., 3:4])
    else:
        values = values[..., : 3 if kind.photometric == "rgb" else 1]
        values = 1 - values if kind.photometric == "miniswhite" else values
        values = values if kind.extra == "assocalpha" else values * opacity
    result: npt.NDArray[np.float64] = np.broadcast_to(values + 1 - opacity, (40, 56, 3)) * 255
    return result


def from_lab(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return sRGB in [0, 1] of CIELab with the white point D50, by its definition and Bradford's adaptation to D65."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=2)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.9642, 1, 0.8249)
    to_rgb = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.033454],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.clip(xyz @ np.array(to_rgb).T, 0, 1)
    shown: npt.NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return shown


def read_back(kind: Kind, data: bytes) -> Samples:
    """Return the samples (40, 56, samples) that tifffile finds in a file."""
    stored = tifffile.imread(io.BytesIO(data))
    stored = np.moveaxis(stored, 0, -1) if kind.planar == "separate" and kind.samples > 1 else stored
    return stored.reshape(40, 56, kind.samples)


def judged(kind: Kind, data: bytes) -> str:
    """Decode ``data``; return "equal" or "refused", or what is wrong."""
    try:
        image = np.asarray(decode_image(data, LIMITS).raster).astype(np.float64)
    except UnsupportedImage as exc:
        return "refused" if "TIFF file" in exc.message else exc.message
    except BrokenImage as exc:
        return exc.message
    most = np.abs(image - expected(kind, read_back(kind, data))).max()
    return "equal" if most <= TOLERANCE.get(kind.extra or kind.photometric, 1) else f"differs by {most:.0f}"


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_kind_of_samples_is_decoded_correctly_or_refused_by_name(depth: str) -> None:
    """For all depths, planes, byte orders, compressions and meanings, the pixels equal tifffile's, or it is 415."""
    outcomes = {kind: judged(kind, data) for kind in kinds(depth) if (data := encoded(kind)) is not None}
    assert len(outcomes) > 40
    assert {kind: outcome for kind, outcome in outcomes.items() if outcome not in {"equal", "refused"}} == {}
    if depth in {"u8", "u16"}:
        decoded = [kind for kind, outcome in outcomes.items() if outcome == "equal"]
        assert {(kind.order, kind.compression, kind.tiled, kind.planar) for kind in decoded} >= set(
            product(ORDERS, LOSSLESS, (False, True), ("contig", "separate"))
        )


@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("depth", ["u8", "u16", "f32"])
def test_bigtiff_is_decoded_like_tiff(depth: str, compression: str) -> None:
    """The 64-bit form of the format has the same images, but Pillow does not know it in big-endian order."""
    for order, samples in product(ORDERS, (1, 3)):
        kind = Kind(samples, depth, photometrics(samples)[0][0], "contig", order, compression, big=True)
        data = encoded(kind)
        assert data is not None
        refused = order == ">" or (samples == 3 and depth == "f32")
        assert judged(kind, data) == ("refused" if refused else "equal")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fill", [1, 2])
@pytest.mark.parametrize("photometric", [0, 1, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("compression", [1, 8])
def test_packed_samples(compression: int, bits: int, photometric: int, fill: int, order: str) -> None:
    """Samples of less than a byte are unpacked in either bit order, compressed or not, palette or gray."""
    rng = np.random.default_rng(bits)
    samples = rng.integers(0, 2**bits, (5, 13), np.uint8)
    rows = np.packbits((samples[..., np.newaxis] >> np.arange(bits - 1, -1, -1) & 1).reshape(5, -1), axis=1).tobytes()
    data = zlib.compress(rows) if compression == 8 else rows
    if fill == 2:
        data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    colors = rng.integers(0, 256, (3, 2**bits))
    tags: Tags = {256: (4, [13]), 257: (4, [5]), 258: (3, [bits]), 259: (3, [compression]), 262: (3, [photometric])}
    tags |= {266: (3, [fill]), 273: (4, [8]), 277: (3, [1]), 278: (4, [5]), 279: (4, [len(data)])}
    if photometric == 3:
        tags[320] = (3, (colors * 257).ravel().tolist())
    try:
        image = np.asarray(decode_image(tiff(tags, data, order=order), LIMITS).raster)
    except UnsupportedImage as exc:
        assert fill == 2, exc.message  # noqa: PT017 - only these may be refused
        return
    shades = samples / (2**bits - 1) * 255
    wanted = colors.T[samples] if photometric == 3 else np.repeat(shades[..., np.newaxis], 3, axis=2)
    wanted = 255 - wanted if photometric == 0 else wanted
    assert np.abs(image - wanted).max() <= 1


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_jpeg_in_tiff(subsampling: tuple[int, int]) -> None:
    """Photos stored as YCbCr JPEG with subsampled colors are decoded."""
    stored = np.rint(pixels(Kind(3, "u8", "rgb"))).astype(np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(file, stored, photometric="ycbcr", compression="jpeg", subsampling=subsampling, metadata=None)
    result = np.asarray(decode_image(file.getvalue(), LIMITS).raster).astype(int)
    assert np.abs(result - tifffile.imread(io.BytesIO(file.getvalue()))).max() <= 3


@pytest.mark.parametrize("tiled", [False, True])
def test_damaged_jpeg_in_tiff_is_broken(tiled: bool) -> None:  # noqa: FBT001
    """Corrupt pixels are detected in the strips and tiles of a TIFF file as in a JPEG file."""
    stored = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(
        file, stored, photometric="ycbcr", compression="jpeg", metadata=None, tile=(32, 32) if tiled else None
    )
    data = file.getvalue()
    decode_image(data, LIMITS)
    at = data.rindex(b"\xff\xd9") - 400
    for damaged in (data[:at] + bytes(200) + data[at + 200 :], data[:at] + data[at:].replace(b"\x00", b"\xff\xd9")):
        with pytest.raises(BrokenImage):
            decode_image(damaged, LIMITS)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "metadata",
    [{34665: (4, [8])}, {34853: (4, [20])}, {34665: (4, [8]), 34853: (4, [8]), 40965: (4, [9])}, {34675: (3, [7])}],
    ids=["EXIF", "GPS", "all", "profile"],
)
def test_damaged_metadata_is_ignored(metadata: Tags, order: Literal["<", ">"]) -> None:
    """Programs that do not know EXIF copy its offset from one file to another, where anything may be."""
    row = bytes(range(100, 250))
    image: Tags = {256: (3, [50]), 257: (3, [1]), 258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3])}
    data = tiff(image | {273: (4, [8]), 279: (4, [150])} | metadata, row, order=order)
    assert np.asarray(decode_image(data, LIMITS).raster).tobytes() == row


@pytest.mark.parametrize("offset", [(3, [8]), (4, [8, 8])])
def test_metadata_at_no_offset_is_damage(offset: tuple[int, list[int]]) -> None:
    """An offset that cannot be replaced by another is not followed."""
    image: Tags = {256: (3, [50]), 257: (3, [1]), 258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3])}
    data = tiff(image | {273: (4, [8]), 279: (4, [150]), 34665: offset}, bytes(range(100, 250)))
    with pytest.raises(BrokenImage, match="metadata is damaged"):
        decode_image(data, LIMITS)


# Which image counts


def pages(*written: tuple[tuple[int, int], dict[str, Any]]) -> bytes:
    """Return a TIFF file with an image of each size, the brighter the later it comes."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for number, ((width, height), options) in enumerate(written):
            image = np.full((height, width, 3), 40 * number, np.uint8)
            writer.write(image, photometric="rgb", metadata=None, **options)
    return file.getvalue()


THUMBNAIL: Final[dict[str, Any]] = {"subfiletype": 1}


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        ([((30, 20), {}), ((60, 40), {})], 0),
        ([((30, 20), {}), ((6, 4), THUMBNAIL)], 0),
        ([((6, 4), THUMBNAIL), ((30, 20), {})], 1),
        ([((6, 4), THUMBNAIL), ((30, 20), {}), ((60, 40), {}), ((90, 60), THUMBNAIL)], 2),
        ([((6, 4), THUMBNAIL | {"subifds": 1}), ((30, 20), {})], 1),
        ([((6, 4), {"subifds": 1}), ((30, 20), {})], 1),
        ([((30, 20), {"subifds": 2}), ((15, 10), THUMBNAIL), ((6, 4), THUMBNAIL)], 0),
    ],
)
def test_a_thumbnail_is_not_the_image(written: list[tuple[tuple[int, int], dict[str, Any]]], counts: int) -> None:
    """The first image is decoded, or if it is a thumbnail the largest full one, wherever it is in the file."""
    image = decode_image(pages(*written), LIMITS)
    assert (image.width, image.height) == written[counts][0]
    assert image.raster.getpixel((0, 0)) == (40 * counts,) * 3


def test_a_thumbnail_alone_is_refused() -> None:
    """A file with only a thumbnail is refused with that reason."""
    with pytest.raises(UnsupportedImage, match="only a thumbnail"):
        decode_image(pages(((6, 4), THUMBNAIL)), LIMITS)


def test_the_limits_apply_to_the_decoded_image() -> None:
    """A small thumbnail at the start does not hide an image that is too large."""
    data = pages(((6, 4), THUMBNAIL), ((300, 200), {}))
    with pytest.raises(ImageTooLarge, match="300 x 200"):
        decode_image(data, DecodeLimits(pixels=50_000))


# What is refused, by name


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind(1, "f16", "minisblack"), "16-bit float gray"),
        (Kind(3, "f32", "rgb"), "32-bit float RGB"),
        (Kind(1, "u10", "minisblack"), "10-bit integer gray"),
        (Kind(2, "u8", "minisblack", "separate", extra="unassalpha"), "in separate planes"),
        (Kind(3, "u8", "rgb", compression="webp"), "compressed by WebP"),
        (Kind(3, "u8", "rgb", compression="jpeg2000"), "compressed by JPEG 2000"),
        (Kind(1, "u8", "minisblack", compression="lerc"), "compressed by LERC"),
    ],
    ids=str,
)
def test_a_refusal_names_the_kind(kind: Kind, name: str) -> None:
    """A refusal names what the file contains, and what to send instead."""
    data = encoded(kind)
    assert data is not None
    with pytest.raises(UnsupportedImage, match=name) as caught:
        decode_image(data, LIMITS)
    assert "send a TIFF file of 8-bit RGB" in caught.value.message


@pytest.mark.parametrize("tags", [{262: (3, [32_803])}, {262: (3, [34_892])}, {50_706: (1, [1, 4, 0, 0])}])
def test_camera_raw_is_named(tags: Tags) -> None:
    """Raw files of cameras are TIFF files inside, but are not called damaged."""
    raw: Tags = {256: (4, [4]), 257: (4, [4]), 258: (3, [16]), 262: (3, [1]), 273: (4, [8]), 279: (4, [32])}
    thumbnail: Tags = {254: (4, [1]), 256: (4, [2]), 257: (4, [2])}
    for data in (tiff(raw | tags, bytes(32)), _behind_thumbnail(thumbnail, raw | tags)):
        with pytest.raises(UnsupportedImage, match="camera raw"):
            decode_image(data, LIMITS)


def _behind_thumbnail(thumbnail: Tags, full: Tags) -> bytes:
    """Return a file whose first directory is ``thumbnail``, and whose second is ``full``."""
    inner = tiff(full, bytes(32))
    start = struct.unpack_from("<I", inner, 4)[0]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, *values) for tag, (kind, values) in thumbnail.items())
    first = struct.pack("<H", len(thumbnail)) + entries + struct.pack("<I", start)
    return inner[:4] + struct.pack("<I", len(inner)) + inner[8:] + first


@pytest.mark.parametrize("tag", [256, 257, 273])
def test_without_size_or_pixels_a_file_is_damaged(tag: int) -> None:
    """A file without the size or the position of its image is broken, not just of another kind."""
    tags: Tags = {256: (4, [4]), 257: (4, [4]), 258: (3, [8]), 262: (3, [1]), 273: (4, [8]), 279: (4, [16])}
    assert decode_image(tiff(tags, bytes(16)), LIMITS).width == 4
    with pytest.raises(BrokenImage):
        decode_image(tiff({key: value for key, value in tags.items() if key != tag}, bytes(16)), LIMITS)
