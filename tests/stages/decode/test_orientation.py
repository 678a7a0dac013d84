"""Images are turned upright by EXIF only."""

import pytest
from PIL import Image, PngImagePlugin

from src.stages.decode import DecodeLimits, accepted_formats, decode_image
from tests.files import saved
from tests.hostile import chunk, png

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'


# Not HEIF, whose writer turns the pixels by it.
@pytest.mark.parametrize("orientation", [None, 1, 3])
@pytest.mark.parametrize("name", [name for name in accepted_formats() if name not in {"GIF", "BMP", "HEIF"}])
def test_an_orientation_in_xmp_is_ignored(name: str, orientation: int | None) -> None:
    """As in browsers, an image is turned by its EXIF orientation only, never by XMP."""
    image = Image.new("RGB", (32, 16), "white")
    image.paste("black", (0, 0, 16, 16))
    options: dict[str, object] = {"xmp": XMP}
    if name == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options = {"pnginfo": info}
    if name == "TIFF":
        options = {"tiffinfo": {700: XMP}}
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    if name == "TIFF" and orientation is not None:
        options = {"tiffinfo": {700: XMP, 0x0112: orientation}}
    file = saved(image, name, **options)
    result = decode_image(file, DecodeLimits()).raster
    assert b"tiff:Orientation" in file
    assert result.size == (32, 16)
    assert (result.convert("L").getpixel((4, 8)) > 128) == (orientation == 3)  # type: ignore[operator] # of one band


def test_an_orientation_in_xmp_behind_the_pixels_is_ignored() -> None:
    """XMP may follow the pixels of a PNG, and is then read after they are decoded; EXIF in that place counts."""
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(4, 2, bytes(26))
    for late, size in ((text, (4, 2)), (text + chunk(b"eXIf", exif.tobytes()[6:]), (2, 4))):
        assert decode_image(data[:-12] + late + data[-12:], DecodeLimits()).raster.size == size
