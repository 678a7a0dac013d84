"""GIF: the blocks before the first picture."""

import re
from typing import Final

__all__ = ["check"]

_FLAGS: Final = 10  # where they stand in the file
_HEADER_BYTES: Final = 13
_BLOCK: Final = re.compile(rb"[!,;]")
_EXTENSION: Final = b"!"
_MOST_JUNK: Final = 65_536  # bytes between two blocks; Pillow skips them one by one
_MOST_BLOCKS: Final = 100_000  # of up to 255 bytes: comments and metadata of up to 25 MB


def check(data: bytes) -> float:
    """Return 0.0: the decoder holds no more than the picture.

    Raises:
        ValueError: There are more blocks, or more junk, before the first picture than any encoder writes.
    """
    flags = data[_FLAGS] if len(data) > _FLAGS else 0
    position = _HEADER_BYTES + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    extension = False
    for _ in range(_MOST_BLOCKS):
        if extension:
            length = data[position] if position < len(data) else 0
            position, extension = position + 1 + length, length > 0
            continue
        match = _BLOCK.search(data, position, position + _MOST_JUNK)
        if match is None:
            raise ValueError("there is no picture where one must be")
        if match[0] != _EXTENSION:
            return 0.0
        position, extension = match.end() + 1, True
    raise ValueError(f"it has more than {_MOST_BLOCKS} blocks before its picture")
