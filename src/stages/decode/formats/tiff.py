"""TIFF: which image of a file is decoded, how it is stored, and the cost of its strips or tiles."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import Final

from PIL import TiffImagePlugin
from PIL.ExifTags import Base as Tag

from src.stages.decode.formats import tiff_kinds
from src.stages.decode.formats.scan import Scan, unsupported
from src.stages.decode.formats.tiff_directory import COUNTS, OFFSETS, Directory, File

__all__ = ["in_native_order", "jpeg_pieces", "scan"]

# Pillow's own decoder mistakes 16-bit samples in separate planes for 8-bit ones.
TiffImagePlugin.READ_LIBTIFF = True

_REDUCED_OR_MASK: Final = 1 | 4
_OLD_REDUCED: Final = 2
_METADATA: Final = (Tag.ExifOffset, Tag.GPSInfo, Tag.ExifInteroperabilityOffset)
_UNCOMPRESSED: Final = 1
_JPEG: Final = (6, 7)
_NEW_JPEG: Final = 7
_MOST_TABLES: Final = 16_384  # bytes; all tables that JPEG has take 3 kB, and each strip is read with a copy of them
_MOST_METADATA: Final = 16  # directories
_MOST_IMAGES: Final = 64  # directories searched for the full image of a thumbnail
_MOST_SCANNED: Final = 20 * 64_000_000  # as in a JPEG file
_RGBA: Final = 4
# Pillow's raw modes for samples in the file's byte order, and for libtiff's, which are in the machine's.
_NATIVE: Final = {
    name: f"{name.rstrip('BFS')}N{name[-1]}" for name in ("I;16BS", "I;16S", "I;32BS", "I;32S", "F;32BF", "F;32F")
}


def scan(data: bytes) -> Scan:
    """Return ``data`` with its full image first, and with readable metadata.

    The decoder holds a strip or tile, or the image to turn.

    Raises:
        ValueError: There are more entries, values, strips or tiles than any writer makes, or they overlap.
        UnsupportedImage: The full image is stored in a way that is not decoded, or there is only a thumbnail.
    """
    file = File(data)
    if file.big and file.order == ">":  # Pillow mistakes it for another format
        raise unsupported("a big-endian BigTIFF file", "a TIFF file of less than 4 GB, or a little-endian one")
    first = file.first()
    if not (first.value(Tag.ImageWidth, 0) and first.value(Tag.ImageLength, 0)):
        raise ValueError("it has no image")
    full = _full_image(first)
    if full is None:
        raise unsupported("a TIFF file with only a thumbnail", "the full image")
    tiff_kinds.check(full)
    file = _with_readable_metadata(full)
    return Scan(file.data if full.offset == first.offset else file.beginning_with(full), _largest_piece(full))


def _with_readable_metadata(image: Directory) -> File:
    """Return the file of ``image`` with an empty directory in place of each of EXIF, ... that is damaged."""
    file = image.file
    for tag in _METADATA:
        try:
            deque(image.others(tag, _MOST_METADATA), 0)  # reading a directory checks it
        except ValueError:
            file = file.with_empty_directory(image.entries[tag])
    return file


def in_native_order(image: TiffImagePlugin.TiffImageFile) -> None:
    """Read samples of 16 and 32 bits as libtiff returns them: Pillow would swap their bytes a second time."""
    image.tile = [
        tile._replace(args=(_NATIVE.get(tile.args[0], tile.args[0]), *tile.args[1:]))
        if tile.codec_name == "libtiff" and isinstance(tile.args, tuple)
        else tile
        for tile in image.tile
    ]


def jpeg_pieces(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the JPEG streams of the first image, if any, and the maximum number of pixels of each.

    libtiff ignores libjpeg's warnings about them.

    Raises:
        ValueError: Their common tables are larger than any encoder writes.
    """
    first = File(data).first()
    if first.value(Tag.Compression, _UNCOMPRESSED) != _NEW_JPEG:
        return
    tables = first.bytes_of(Tag.JPEGTables)
    if len(tables) > _MOST_TABLES:
        raise ValueError("its JPEG tables are too large")
    across, down = _size_of_piece(first)
    planes = 1 if first.value(Tag.PlanarConfiguration, 1) == 1 else len(tiff_kinds.bits_of(first))
    needed = ceil(first.value(Tag.ImageWidth, 0) / across) * ceil(first.value(Tag.ImageLength, 0) / down) * planes
    most = across * down
    for offsets, counts in zip(OFFSETS, COUNTS, strict=True):
        for offset, count in islice(zip(first.values(offsets), first.values(counts), strict=False), needed):
            piece = data[offset : offset + count]
            yield (tables[:-2] + piece[2:] if tables else piece), most


def _full_image(first: Directory) -> Directory | None:
    """Return the largest of the first image and its subimages; if the first is a thumbnail, the largest full image."""
    if _is_full(first):
        larger = [other for other in first.others(Tag.SubIFDs, _MOST_IMAGES) if _is_full(other)]
        return max((first, *larger), key=_pixels)
    searched = islice(_images(first), _MOST_IMAGES)  # each may have thousands of entries
    return max((other for other in searched if _is_full(other)), key=_pixels, default=None)


def _images(first: Directory) -> Iterator[Directory]:
    """Yield ``first``, the directories that follow it, and their subdirectories, up to a limit."""
    page, seen = first, set[int]()
    while page.offset not in seen and len(seen) < _MOST_IMAGES:
        seen.add(page.offset)
        yield page
        yield from page.others(Tag.SubIFDs, _MOST_IMAGES)
        if not page.following:
            return
        page = page.file.directory(page.following)


def _is_full(directory: Directory) -> bool:
    reduced = directory.value(Tag.NewSubfileType, 0) & _REDUCED_OR_MASK
    return not reduced and directory.value(Tag.SubfileType, 0) != _OLD_REDUCED and _pixels(directory) > 0


def _pixels(directory: Directory) -> int:
    return directory.value(Tag.ImageWidth, 0) * directory.value(Tag.ImageLength, 0)


def _size_of_piece(directory: Directory) -> tuple[int, int]:
    """Return the width and the height of a tile, or else of a strip, in pixels."""
    tile = directory.value(Tag.TileWidth, 0), directory.value(Tag.TileLength, 0)
    if all(tile):
        return tile
    height = directory.value(Tag.ImageLength, 1)
    return directory.value(Tag.ImageWidth, 1), max(1, min(directory.value(Tag.RowsPerStrip, height), height))


def _largest_piece(directory: Directory) -> float:
    """Return how many bytes per pixel the decoder holds."""
    turned = _RGBA if directory.value(Tag.Orientation, 1) != 1 else 0
    compression = directory.value(Tag.Compression, _UNCOMPRESSED)
    counts = [directory.values(tag) for tag in COUNTS]
    if compression == _UNCOMPRESSED and max(map(len, counts)) <= 1:
        return turned  # libtiff reads it in small strips
    if max(map(sum, counts)) > 2 * len(directory.file.data):
        raise ValueError("its strips or tiles overlap")
    across, down = _size_of_piece(directory)
    piece = across * down
    if compression in _JPEG and directory.file.data.count(b"\xff\xda") * piece > _MOST_SCANNED:
        raise ValueError("its pixels are split into too many scans")
    bits = tiff_kinds.bits_of(directory)
    samples = 1 if directory.value(Tag.PlanarConfiguration, 1) != 1 else len(bits)
    held = max(_RGBA if samples > 1 else 0, samples * max(bits) / 8)
    return max(turned, piece * held / _pixels(directory))
