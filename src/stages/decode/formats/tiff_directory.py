"""TIFF: the directories of a file and their entries."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from PIL.ExifTags import Base as Tag

__all__ = ["COUNTS", "OFFSETS", "Directory", "File"]

_BIG: Final = 43
_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
OFFSETS: Final = (Tag.StripOffsets, Tag.TileOffsets)
COUNTS: Final = (Tag.StripByteCounts, Tag.TileByteCounts)
_PIECES: Final = OFFSETS + COUNTS
_SHORTEST_OFFSET: Final = 4  # bytes
_MOST_ENTRIES: Final = 4_096
_MOST_VALUES: Final = 200_000  # of an entry that is not text or bytes: three curves of 65,536 fit
_MOST_PIECES: Final = 65_536  # strips or tiles; Pillow takes 10 microseconds per piece


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    at: int


class File:
    """The bytes of a TIFF or BigTIFF file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = ">" if data.startswith(b"MM") else "<"
        self.big = data[2 if self.order == "<" else 3] == _BIG
        self._first_at = 8 if self.big else 4

    def first(self) -> "Directory":
        """Return the first directory."""
        return self.directory(self.number(self._first_at, self._bytes_of_offset))

    def directory(self, offset: int) -> "Directory":
        """Return the directory at ``offset``; the first of several entries with the same tag counts, as in Pillow.

        Raises:
            ValueError: There are more entries or values than any writer makes.
        """
        number = self.number(offset, self._bytes_of_number)
        if number > _MOST_ENTRIES:
            raise ValueError(f"a directory has more than {_MOST_ENTRIES} entries")
        entries: dict[int, _Entry] = {}
        for tag, entry in self._entries(offset + self._bytes_of_number, number):
            if entry.count > (_MOST_PIECES if tag in _PIECES else _MOST_VALUES) and _BYTES[entry.kind] > 1:
                raise ValueError(f"the tag {tag} has {entry.count} values")
            entries.setdefault(tag, entry)
        end = offset + self._bytes_of_number + number * self._bytes_of_entry
        return Directory(self, offset, entries, self.number(end, self._bytes_of_offset))

    def beginning_with(self, directory: "Directory") -> bytes:
        """Return the file with ``directory`` as its first."""
        return self._with_offset(self._first_at, directory.offset)

    def with_empty_directory(self, entry: _Entry) -> "File":
        """Return the file with the offset of an empty directory as the value of ``entry``.

        Raises:
            ValueError: It has no room for one offset.
        """
        if entry.count != 1 or _BYTES[entry.kind] < _SHORTEST_OFFSET:
            raise ValueError("an offset of its metadata is damaged")
        return File(self._with_offset(entry.at, len(self.data)) + bytes(2 * self._bytes_of_offset))

    def _with_offset(self, at: int, offset: int) -> bytes:
        written = offset.to_bytes(self._bytes_of_offset, "big" if self.order == ">" else "little")
        return self.data[:at] + written + self.data[at + len(written) :]

    def number(self, at: int, size: int) -> int:
        """Return the unsigned number of ``size`` bytes; 0 beyond the end of the file."""
        return int.from_bytes(self.data[at : at + size], "big" if self.order == ">" else "little")

    @property
    def _bytes_of_offset(self) -> int:
        return 8 if self.big else 4

    @property
    def _bytes_of_number(self) -> int:
        return 8 if self.big else 2

    @property
    def _bytes_of_entry(self) -> int:
        return 20 if self.big else 12

    def _entries(self, start: int, number: int) -> Iterator[tuple[int, _Entry]]:
        size, form, inline = self._bytes_of_entry, "HHQ" if self.big else "HHI", self._bytes_of_offset
        for at in range(start, min(start + number * size, len(self.data) - size + 1), size):
            tag, kind, count = struct.unpack_from(self.order + form, self.data, at)
            if kind in _BYTES:
                value = at + size - inline
                outside = count * _BYTES[kind] > inline
                yield tag, _Entry(kind, count, self.number(value, inline) if outside else value)


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory at ``offset`` of ``file``; ``following`` is the offset of the next one, 0 for none."""

    file: File
    offset: int
    entries: dict[int, _Entry]
    following: int

    def values(self, tag: int) -> tuple[int, ...]:
        """Return the integers of an entry; none if it has other values, or lies outside the file."""
        entry, data = self.entries.get(tag), self.file.data
        if entry is None or entry.kind not in _WHOLE or len(data) < entry.at + entry.count * _BYTES[entry.kind]:
            return ()
        return struct.unpack_from(f"{self.file.order}{entry.count}{_WHOLE[entry.kind]}", data, entry.at)

    def bytes_of(self, tag: int) -> bytes:
        """Return the value of an entry of bytes; empty if there is no such entry."""
        entry = self.entries.get(tag)
        return self.file.data[entry.at : entry.at + entry.count] if entry and _BYTES[entry.kind] == 1 else b""

    def value(self, tag: int, default: int) -> int:
        """Return the first integer of an entry, or ``default``."""
        return next(iter(self.values(tag)), default)

    def others(self, tag: int, most: int) -> Iterator["Directory"]:
        """Yield the directories whose offsets are the values of ``tag``, at most ``most``."""
        for offset in islice(self.values(tag), most):
            yield self.file.directory(offset)
