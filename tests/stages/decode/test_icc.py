"""Images with a color profile, or color codes in their container, are converted to sRGB; others are unchanged."""

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.datasets
from PIL import Image, ImageCms

from src.stages.decode import DecodeLimits, Enough, accepted_formats, cicp, decode_image, icc
from tests.cost import cost_of
from tests.files import saved
from tests.hostile import chunk
from tests.places import PACKAGED_PHOTOS

Floats: TypeAlias = npt.NDArray[np.float64]
Corners: TypeAlias = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

LIMITS: Final = DecodeLimits()
D65: Final = (0.3127, 0.3290)
SRGB: Final = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3: Final = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
BT2020: Final = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
ADOBE: Final = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
P3_PROFILE: Final = cicp.profile_of(12, 13) or b""
SKLEARN_PHOTO: Final = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"  # with HP's profile of sRGB
with Image.open(PACKAGED_PHOTOS[2]) as _photo:
    ADOBE_PROFILE: Final[bytes] = _photo.info["icc_profile"]
LOSSLESS: Final[dict[str, dict[str, Any]]] = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}
LOSSY: Final[dict[str, dict[str, Any]]] = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "AVIF": {"quality": 98, "subsampling": "4:4:4"},
    "HEIF": {"quality": 98, "chroma": 444},
}


def photo(width: int = 150) -> npt.NDArray[np.uint8]:
    """Return the pixels of a photo, in sRGB."""
    with Image.open(PACKAGED_PHOTOS[1]) as image:
        return np.asarray(image.convert("RGB").resize((width, width * 2 // 3)))


def to_xyz(corners: Corners) -> Floats:
    """Return the matrix from linear RGB with the white point D65 to XYZ, as in Lindbloom's equations."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in corners]).T
    white = np.array([D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]])
    return np.asarray(columns * np.linalg.solve(columns, white))


def linear(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Return the light of sRGB pixels, IEC 61966-2-1."""
    values = pixels / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_curve(light: Floats) -> Floats:
    """Return the levels of light in [0, 1]."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def in_space(pixels: npt.NDArray[np.uint8], corners: Corners, curve: Any = srgb_curve) -> Image.Image:
    """Return an image whose values mean in the other space what ``pixels`` mean in sRGB."""
    light = linear(pixels) @ (np.linalg.inv(to_xyz(corners)) @ to_xyz(SRGB)).T
    return Image.fromarray(np.rint(curve(np.clip(light, 0, 1)) * 255).astype(np.uint8))


def shown(data: bytes, enough: Enough | None = None) -> npt.NDArray[np.int16]:
    """Decode ``data`` and return its pixels in sRGB."""
    decoded = decode_image(data, LIMITS, enough)
    return np.asarray(decoded.srgb(decoded.raster)).astype(np.int16)


# Converted


@pytest.mark.parametrize("name", [*LOSSLESS, *(name for name in LOSSY if name in accepted_formats())])
@pytest.mark.parametrize(
    ("corners", "curve", "profile"),
    [(P3, srgb_curve, P3_PROFILE), (ADOBE, lambda light: light ** (256 / 563), ADOBE_PROFILE)],
    ids=["Display P3", "Adobe RGB"],
)
def test_the_colors_of_a_profile_are_converted_to_srgb(name: str, corners: Corners, curve: Any, profile: bytes) -> None:
    """A photo in Display P3 or Adobe RGB equals the same photo in sRGB, in every format that has profiles."""
    stored = in_space(photo(), corners, curve)
    result = shown(saved(stored, name, icc_profile=profile, **(LOSSLESS | LOSSY)[name]))
    before = np.abs(np.asarray(stored).astype(int) - photo())
    after = np.abs(result - photo())
    assert before.mean() > 2.5
    assert after.mean() < (0.6 if name in LOSSLESS else 1.6)
    if name in LOSSLESS:
        assert np.quantile(after, 0.999) <= 3  # dark colors have few levels


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_every_mode_with_colors_is_converted(mode: str) -> None:
    """Palettes and images with alpha are also converted; transparent areas are white."""
    colors = np.array([(220, 30, 30), (30, 200, 60), (40, 60, 210), (240, 240, 120)], np.uint8)
    tiles = np.kron(np.arange(4).reshape(2, 2), np.ones((8, 8), int))
    stored = in_space(colors[tiles], P3)
    stored = stored.convert("RGBA") if mode == "RGBA" else stored.quantize(4)
    if mode == "RGBA":
        stored.paste((0, 0, 0, 0), (0, 0, 8, 8))
    result = shown(saved(stored, "PNG", icc_profile=P3_PROFILE))
    expected = colors[tiles].astype(int)
    if mode == "RGBA":
        expected[:8, :8] = 255
    assert np.abs(result - expected).max() <= 2


def test_a_reduced_and_turned_image_is_converted() -> None:
    """The conversion also applies to an image decoded at a reduced size and turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(in_space(photo(900), P3), "JPEG", quality=95, icc_profile=P3_PROFILE, exif=exif)
    decoded = decode_image(data, LIMITS, Enough(300, 300))
    assert decoded.raster.size == (300, 450)
    expected = Image.fromarray(photo(900)).transpose(Image.Transpose.ROTATE_270).reduce(2)
    assert np.abs(np.asarray(decoded.srgb(decoded.raster)).astype(int) - np.asarray(expected)).mean() < 2.5


def test_threads_may_share_a_conversion() -> None:
    """The same profile gives the same pixels in many concurrent images as in sequence."""
    files = [saved(in_space(photo(60 + 3 * n), P3), "PNG", icc_profile=P3_PROFILE) for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(shown, files))
    assert all(np.array_equal(one, shown(data)) for one, data in zip(together, files, strict=True))


# Left as it is


def _damaged(profile: bytes) -> dict[str, bytes]:
    return {
        "cut off": profile[:300],
        "only a head": profile[:128],
        "zeros": bytes(500),
        "noise": profile[:132] + np.random.default_rng(0).integers(0, 256, 2000, np.uint8).tobytes(),
        "another space": profile[:16] + b"Lab " + profile[20:],
        "too large": profile + bytes(1_000_000),
        "with a program": profile + b"mpet",
        "empty": b"",
    }


@pytest.mark.parametrize("damage", _damaged(P3_PROFILE))
def test_a_broken_profile_is_ignored(damage: str) -> None:
    """An image whose profile is damaged, too large or of another kind is treated as one without a profile."""
    assert icc.to_srgb(_damaged(P3_PROFILE)[damage]) is None
    data = saved(Image.fromarray(photo()), "TIFF", icc_profile=_damaged(P3_PROFILE)[damage])
    assert np.array_equal(shown(data), photo())


def test_srgb_images_are_unchanged() -> None:
    """Without a profile, or with anyone's sRGB profile, the image stays bit for bit the same."""
    with Image.open(SKLEARN_PHOTO) as image:
        hewlett_packards = image.info["icc_profile"]
    profiles = (None, hewlett_packards, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for profile in profiles:
        decoded = decode_image(saved(Image.fromarray(photo()), "PNG", icc_profile=profile), LIMITS)
        assert decoded.conversion is None
        assert decoded.srgb(decoded.raster) is decoded.raster
        assert np.array_equal(np.asarray(decoded.raster), photo())


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16", "CMYK"])
def test_gray_and_cmyk_images_are_unchanged(mode: str) -> None:
    """An RGB profile does not apply to gray or CMYK images."""
    base = Image.fromarray(photo())
    deep = Image.fromarray(np.asarray(base.convert("L")) * np.uint16(257))
    stored = deep if mode == "I;16" else base.convert(mode)
    name = "JPEG" if mode == "CMYK" else "PNG"
    with_profile, without = (shown(saved(stored, name, icc_profile=profile)) for profile in (P3_PROFILE, None))
    assert np.array_equal(with_profile, without)


# Bounds


def test_recent_profiles_are_cached() -> None:
    """The same profile is not read twice, and distinct profiles do not fill the memory."""
    assert icc.to_srgb(P3_PROFILE) is not None
    assert icc.to_srgb(bytes(bytearray(P3_PROFILE))) == icc.to_srgb(P3_PROFILE)
    for number in range(40):
        icc.to_srgb(P3_PROFILE + struct.pack(">I", number))
    assert icc._conversion.cache_info().currsize <= 16


@pytest.mark.parametrize("entries", [10, 32_000])
def test_a_profile_costs_little(entries: int) -> None:
    """The largest curves and color tables are read in a fraction of a second and little memory."""
    curve = struct.pack(">4s4xI", b"curv", entries) + np.linspace(0, 65_535, entries).astype(">u2").tobytes()
    grid = 9 if entries < 100 else 41
    table = np.random.default_rng(0).integers(0, 256, grid**3 * 3, np.uint8).tobytes()
    identity = struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
    ramps = bytes(range(256)) * 3
    lut = struct.pack(">4s4xBBBx", b"mft1", 3, 3, grid) + identity + ramps + table + ramps
    primaries = {name: cicp._xyz(np.array([0.3, 0.3, 0.3])) for name in (b"rXYZ", b"gXYZ", b"bXYZ")}
    for tags in (
        primaries | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
        {b"A2B0": lut, b"wtpt": cicp._xyz(np.array([0.9642, 1, 0.8249]))},
    ):
        profile = cicp._assembled(tags)
        assert len(profile) < 1_000_000
        assert icc.to_srgb(profile) is not None
        icc._conversion.cache_clear()
        cost = cost_of(lambda profile=profile: icc.to_srgb(profile))  # type: ignore[misc] # it takes no argument
        assert cost.seconds < 0.3
        assert cost.bytes < 50_000_000


# Named by numbers


def with_colors(data: bytes, primaries: int, transfer: int) -> bytes:
    """Return a PNG file with the chunk cICP."""
    return data[:33] + chunk(b"cICP", bytes([primaries, transfer, 0, 1])) + data[33:]


@pytest.mark.parametrize(("primaries", "corners"), [(12, P3), (9, BT2020)])
def test_the_colors_of_cicp_are_converted_to_srgb(primaries: int, corners: Corners) -> None:
    """A PNG with the codes of Display P3 or BT.2020 is converted, whatever its profile."""
    stored = in_space(photo(), corners)
    for profile in (None, ADOBE_PROFILE):
        result = shown(with_colors(saved(stored, "PNG", icc_profile=profile), primaries, 13))
        assert np.abs(result - photo()).mean() < 0.8


def test_the_codes_of_srgb_override_a_profile() -> None:
    """A PNG with the codes of sRGB, or with unknown codes, is unchanged."""
    for numbers in ((1, 13), (1, 1), (2, 2), (12, 2), (255, 255)):
        data = with_colors(saved(Image.fromarray(photo()), "PNG", icc_profile=P3_PROFILE), *numbers)
        assert np.array_equal(shown(data), photo())


@pytest.mark.parametrize("transfer", [4, 5, 8, 13, 14])
def test_transfer_curves(transfer: int) -> None:
    """Gamma 2.2 and 2.8, linear light, and television's curve, which is treated as sRGB's, are distinguished."""
    exponent = {4: 2.2, 5: 2.8, 8: 1.0}.get(transfer)
    stored = in_space(photo(), P3, srgb_curve if exponent is None else lambda light: light ** (1 / exponent))
    result = shown(with_colors(saved(stored, "PNG"), 12, transfer))
    bright = photo() > 60  # linear light has hardly a level for what is darker
    assert np.abs(result - photo())[bright].mean() < 1


@pytest.mark.parametrize(
    ("transfer", "levels", "expected"),
    [
        # Of 8-bit PQ: 0, 10, 203 and 1,000 cd/m2; ITU-R BT.2408 has 58 % and 75 % of the signal for the last two.
        (16, [0, round(0.3 * 255), 148, 192], [0, 64, 255, 255]),
        # Of 8-bit HLG: black, half of the signal (50 cd/m2), 75 % (203 cd/m2) and its peak.
        (18, [0, 128, 191, 255], [0, 137, 255, 255]),
    ],
)
def test_hdr_images_have_paper_white(transfer: int, levels: list[int], expected: list[int]) -> None:
    """In PQ and HLG 203 cd/m2 becomes white; brighter light is clipped, darker light is unchanged."""
    row = np.repeat(np.array(levels, np.uint8)[np.newaxis, :, np.newaxis], 3, axis=2)
    result = shown(with_colors(saved(Image.fromarray(row), "PNG"), 1, transfer))
    assert np.abs(result[0, :, 1] - expected).max() <= 3


@pytest.mark.parametrize("name", [name for name in ("AVIF", "HEIF") if name in accepted_formats()])
def test_the_color_codes_of_avif_and_heic_apply(name: str) -> None:
    """AVIF and HEIC files without a profile name Display P3 by its codes."""
    data = saved(in_space(photo(), P3), name, **LOSSY[name])
    at = data.index(b"nclx") + 4
    named = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    assert np.abs(shown(named) - photo()).mean() < 1.6
    assert decode_image(data, LIMITS).conversion is None
