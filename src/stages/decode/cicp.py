"""Turn the color codes of a file (ITU-T H.273) into an ICC profile.

PNG stores them in cICP, AVIF and HEIC in nclx. In HDR images, paper white (203 cd/m2, ITU-R BT.2408) becomes white,
and brighter values are clipped.
"""

import struct
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["profile_of"]

_Floats = NDArray[np.float64]

_D65: Final = (0.3127, 0.3290)
_P3: Final = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
# x and y of red, green, blue; and of white. The other primaries of H.273 are those of old television systems.
_PRIMARIES: Final = {
    1: (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), _D65),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), _D65),
    11: (_P3, (0.314, 0.351)),
    12: (_P3, _D65),
}
_GAMMA_22, _GAMMA_28, _LINEAR, _PQ, _HLG = 4, 5, 8, 16, 18
_AS_SRGB: Final = frozenset({1, 6, 13, 14, 15})  # sRGB, and television's, which are displayed as sRGB
_D50: Final = np.array([0.9642, 1.0, 0.8249])
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_WHITE: Final = 203.0  # cd/m2
_TOE: Final = 0.04045  # the sRGB curve is linear below
_LEVELS: Final = np.linspace(0, 1, 4096)
_KEPT: Final = 16


@lru_cache(_KEPT)
def profile_of(primaries: int, transfer: int) -> bytes | None:
    """Return an ICC profile of these colors; None if they are those of sRGB or unknown.

    Args:
        primaries: ColourPrimaries of H.273: 1 (sRGB), 9 (BT.2020), 11 and 12 (P3).
        transfer: TransferCharacteristics of H.273: gamma 2.2 and 2.8, linear, sRGB and television's, PQ, HLG.
    """
    if primaries not in _PRIMARIES or (primaries == 1 and transfer in _AS_SRGB) or (curve := _light(transfer)) is None:
        return None
    columns = _to_d50(primaries).T
    table = struct.pack(">4s4xI", b"curv", len(curve)) + np.rint(curve * 65_535).astype(">u2").tobytes()
    tags = {b"wtpt": _xyz(_D50)}
    tags |= {name + b"XYZ": _xyz(column) for name, column in zip((b"r", b"g", b"b"), columns, strict=True)}
    return _assembled(tags | {name + b"TRC": table for name in (b"r", b"g", b"b")})


def _light(transfer: int) -> _Floats | None:
    """Return the linear light of 4,096 levels, 1 for white."""
    if transfer in _AS_SRGB:
        return np.where(_LEVELS <= _TOE, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4)
    if transfer == _PQ:  # SMPTE ST 2084
        root = _LEVELS ** (32 / 2523)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (16_384 / 2610)
        return np.minimum(10_000 * light / _WHITE, 1)
    if transfer == _HLG:  # ARIB STD-B67, on a display of 1,000 cd/m2
        dark, bright = _LEVELS**2 / 3, (np.exp((_LEVELS - 0.55991073) / 0.17883277) + 0.28466892) / 12
        scene = np.where(2 * _LEVELS <= 1, dark, bright)
        return np.minimum(1000 * scene**1.2 / _WHITE, 1)
    exponent = {_GAMMA_22: 2.2, _GAMMA_28: 2.8, _LINEAR: 1.0}.get(transfer)
    return None if exponent is None else _LEVELS**exponent


def _to_d50(primaries: int) -> _Floats:
    """Return the matrix from linear RGB to XYZ, adapted to D50, the white point of profiles."""
    corners, white = _PRIMARIES[primaries]
    unscaled = np.array([_of_xy(corner) for corner in corners]).T
    rgb_to_xyz = unscaled * np.linalg.solve(unscaled, _of_xy(white))
    cones = _BRADFORD @ _D50 / (_BRADFORD @ _of_xy(white))
    adapted: _Floats = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ rgb_to_xyz
    return adapted


def _of_xy(point: tuple[float, float]) -> _Floats:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz(values: _Floats) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *np.rint(values * 65_536).astype(int))


def _assembled(tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC version 2 display profile."""
    start = 128 + 4 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        directory += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(body), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    white = struct.pack(">3i", *np.rint(_D50 * 65_536).astype(int))
    return (head.ljust(68, b"\0") + white).ljust(128, b"\0") + directory + body
