"""Damage files at random, with bytes, numbers, and parts of the same or other files; PNG checksums are mostly fixed."""

import random
import struct
import zlib
from typing import Final

from tests.fuzz.seeds import Seeds

__all__ = ["mutant"]

_NUMBERS: Final = (0, 1, 2, 7, 8, 16, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF)
_HEAD: Final = 200  # bytes that contain most of a container's header fields
_MOST_BYTES: Final = 200_000


def mutant(rng: random.Random, name: str, seeds: Seeds) -> bytes:
    """Return a damaged file of the format ``name``."""
    data = bytearray(rng.choice(seeds[name]))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 10))):
        _damage(rng, data, seeds)
        del data[_MOST_BYTES:]
    return _with_right_sums(bytes(data)) if name == "PNG" and rng.random() < 0.8 else bytes(data)


def _damage(rng: random.Random, data: bytearray, seeds: Seeds) -> None:
    at = rng.randrange(min(len(data), _HEAD) if rng.random() < 0.5 else len(data)) if data else 0
    size = rng.choice((1, 2, 4, 8, 16, 64, 256))
    match rng.randrange(9):
        case 0:
            data[at : at + 1] = rng.randbytes(1)
        case 1 if data:
            data[at] ^= 1 << rng.randrange(8)
        case 2:
            form = rng.choice(("<H", ">H", "<I", ">I"))
            number = rng.choice(_NUMBERS) & (0xFFFF if form.endswith("H") else 0xFFFFFFFF)
            data[at : at + struct.calcsize(form)] = struct.pack(form, number)
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[at : at + size] * rng.choice((1, 1, 2, 20, 200))
        case 5:
            del data[at:]
        case 6:
            data[at : at + size] = rng.randbytes(size)
        case 7:
            other = rng.choice(seeds[rng.choice(list(seeds))])
            start = rng.randrange(len(other))
            data[at : at + rng.choice((0, size))] = other[start : start + size]
        case _:
            target = rng.randrange(len(data) + 1)
            data[target : target + size] = data[at : at + size]


def _with_right_sums(data: bytes) -> bytes:
    """Return a PNG file with correct checksums for its chunks; otherwise the decoder would refuse all damage there."""
    mended, position = data[:8], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        body = data[position + 4 : position + 8 + length]
        if position + 12 + length > len(data):
            break
        mended += data[position : position + 4] + body + struct.pack(">I", zlib.crc32(body))
        position += 12 + length
    return mended + data[position:]
