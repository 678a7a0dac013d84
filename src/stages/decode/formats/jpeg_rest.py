"""JPEG: whether bytes after the last pixel are harmless, or left over because damage shifted the pixels.

The decoder reports how many bytes it did not need, but not why. This module follows the Huffman codes of the last
stretch of a sequential scan, without decoding pixels. If a code is invalid, or if the remaining bytes are exactly a
number of complete blocks, bytes were inserted or lost earlier.
"""

import struct
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeAlias

from src.stages.decode.formats.jpeg import segments

__all__ = ["is_rest_of_pixels"]

_MOST_BYTES: Final = 400_000  # followed in under a second; of longer stretches only the remaining bytes are checked
_MOST_JUNK: Final = 256  # bytes after a longer stretch
_TABLES, _RESTART_INTERVAL = 0xC4, 0xDD
_SEQUENTIAL: Final = (0xC0, 0xC1)
_BLOCK: Final = 64  # coefficients
_BITS_OF_BYTE: Final = 8
_SIXTEEN_ZEROS: Final = 15  # as a run without a coefficient
_MOST_BITS: Final = 11  # of a coefficient of 8-bit samples

_Codes: TypeAlias = list[int]  # by the next 16 bits: length << 8 | symbol; 0 for an invalid code
# For each block of a unit: the codes of its first coefficient, and of the others.
_Blocks: TypeAlias = list[tuple[_Codes, _Codes]]


@dataclass(slots=True)
class _Scan:
    """The coding of a scan: the codes of each block of a unit; the number of units, in total and between restarts."""

    blocks: _Blocks
    units: int
    interval: int
    start: int


def is_rest_of_pixels(data: bytes, start: int, end: int) -> bool:
    """Return whether ``data[start:end]``, which the decoder did not need, continues the pixels before it.

    Always true if this cannot be known: for progressive and arithmetic-coded scans.
    """
    scan = _last_scan(data, start)
    if scan is None:
        return True
    restarts = [bytes((0xFF, marker)) for marker in range(0xD0, 0xD8)]
    begins = max(scan.start, *(data.rfind(marker, scan.start, start) + 2 for marker in restarts))
    passed = sum(data.count(marker, scan.start, start) for marker in restarts)
    if end - begins > _MOST_BYTES:
        return end - start > _MOST_JUNK or _fits_somewhere(data[start - 1 : end], scan.blocks)
    units = scan.units - passed * scan.interval
    bits = _Bits(data[begins:end])
    if units < 1 or not all(bits.passes(scan.blocks) for _ in range(units)) or not bits.byte_is_filled():
        return True
    return bits.ends_with_units(scan.blocks)


def _fits_somewhere(data: bytes, blocks: _Blocks) -> bool:
    """Return whether ``data`` is complete units from any bit of its first byte and any block of a unit on."""
    turned = [blocks[first:] + blocks[:first] for first in range(len(blocks))]
    return any(_Bits(data, bit).ends_with_units(order) for bit in range(_BITS_OF_BYTE) for order in turned)


class _Bits:
    """The coded bits of ``data`` from ``position`` on."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        plain = data.replace(b"\xff\x00", b"\xff")
        self._data = plain + b"\xff\xff\xff\xff"
        self._end = 8 * len(plain)
        self.position = position

    def ends_with_units(self, blocks: _Blocks) -> bool:
        """Return whether the rest is one or more units, and then less than a byte of ones, which must follow them."""
        begins = self.position
        while self._end - self.position >= _BITS_OF_BYTE:
            if not self.passes(blocks):
                return False
        return begins < self.position <= self._end and self.byte_is_filled()

    def byte_is_filled(self) -> bool:
        """Return whether the remaining bits of this byte are ones, as they must be after the last code."""
        filling = (1 << -self.position % _BITS_OF_BYTE) - 1
        return self._data[self.position >> 3] & filling == filling

    def passes(self, blocks: _Blocks) -> bool:
        """Follow the codes of one unit; return whether all of them are valid."""
        data, position = self._data, self.position
        for first, others in blocks:
            codes, index = first, 0
            while index < _BLOCK:
                at = position >> 3
                if at > len(data) - 4:
                    return False
                window = (data[at] << 16 | data[at + 1] << 8 | data[at + 2]) >> (8 - (position & 7)) & 0xFFFF
                code = codes[window]
                size = code & 0x0F
                if not code or size > _MOST_BITS:
                    return False
                position += (code >> 8) + size
                if codes is first:
                    codes, index = others, 1
                    continue
                run = code >> 4 & 0x0F
                if not size and run != _SIXTEEN_ZEROS:
                    break
                index += run + 1
                if index > _BLOCK:
                    return False
        self.position = position
        return True


def _last_scan(data: bytes, before: int) -> _Scan | None:
    """Return the coding of the last scan before ``before``; None if it is not sequential."""
    tables: dict[int, _Codes] = {}
    frame, interval = 0, 0
    last = data.rfind(b"\xff\xda", 0, before)
    for at, marker, length in segments(data):
        if at >= last:
            break
        if marker == _TABLES:
            tables |= _huffman(data[at + 4 : at + 2 + length])
        elif marker == _RESTART_INTERVAL:
            interval = int.from_bytes(data[at + 4 : at + 6], "big")
        elif marker in _SEQUENTIAL:
            frame = at
    return _scan(data, frame, last, tables, interval) if frame else None


def _huffman(data: bytes) -> dict[int, _Codes]:
    tables, at = {}, 0
    while at + 17 <= len(data):
        codes, code, symbols = [0] * 65_536, 0, at + 17
        for length, count in enumerate(data[at + 1 : at + 17], 1):
            for symbol in data[symbols : symbols + count]:
                span = 1 << 16 - length
                codes[code * span : (code + 1) * span] = [length << 8 | symbol] * span
                code += 1
            symbols += count
            code <<= 1
        tables[data[at]] = codes
        at = symbols
    return tables


def _scan(data: bytes, frame: int, at: int, tables: dict[int, _Codes], interval: int) -> _Scan:
    height, width, number = struct.unpack_from(">HHB", data, frame + 5)
    factors = {data[c]: (data[c + 1] >> 4, data[c + 1] & 15) for c in range(frame + 10, frame + 10 + 3 * number, 3)}
    across, down = max(h for h, _ in factors.values()), max(v for _, v in factors.values())
    parts = [(data[c], data[c + 1]) for c in range(at + 5, at + 5 + 2 * data[at + 4], 2)]
    blocks = []
    for component, selected in parts:
        h, v = factors[component] if len(parts) > 1 else (1, 1)
        blocks += [(tables[selected >> 4], tables[0x10 | selected & 15])] * (h * v)
    if len(parts) > 1:
        units = ceil(width / (8 * across)) * ceil(height / (8 * down))
    else:
        h, v = factors[parts[0][0]]
        units = ceil(ceil(width * h / across) / 8) * ceil(ceil(height * v / down) / 8)
    return _Scan(blocks, units, interval, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
