"""Name other kinds of files that clients send, by their first bytes."""

import re
from typing import Final

__all__ = ["kind_of"]

_KINDS: Final = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), kind)
    for pattern, kind in (
        (rb".{4}ftypcrx |II\*\0.{4}CR|IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|FOVb|\0MRM", "a camera raw file"),
        (rb".{4}ftyp(?:hei|hev|mif1|msf1)", "a HEIC file"),
        (rb".{4}(?:ftyp|moov|mdat|wide)|\x1aE\xdf\xa3|RIFF.{4}AVI |\x00\x00\x01\xba|FLV", "a video"),
        (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000 file"),
        (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "a JPEG XL file"),
        (rb"II\xbc[\x00\x01]", "a JPEG XR file"),
        (rb"[\x8a\x8b][MJ]NG", "an MNG file"),
        (rb"\s{0,100}<(?:\?xml.{0,2000}<svg|!DOCTYPE svg|!--.{0,2000}<svg|svg)", "an SVG drawing"),
        (rb"\s{0,100}<(?:!DOCTYPE html|html)", "a web page"),
        (rb"%PDF", "a PDF document"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "an EPS drawing"),
        (rb"8BPS", "a Photoshop file"),
        (rb"gimp xcf", "a GIMP file"),
        (rb"\x00\x00[\x02\x03\x0a\x0b]\x00{5}", "a TGA file"),
        (rb"\x00\x00[\x01\x02]\x00.{4}", "an icon"),
        (rb".{128}DICM", "a DICOM file"),
        (rb"\x76\x2f\x31\x01", "an OpenEXR file"),
        (rb"#\?R", "a Radiance HDR file"),
        (rb"DDS ", "a DDS texture"),
        (rb"P[1-7][\s#]", "a PNM file"),
        (rb"qoif", "a QOI file"),
        (rb"SIMPLE  =", "a FITS file"),
        (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!", "an archive"),
        (rb"icns", "an icon"),
        (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile"),
        (rb"RIFF.{4}WAVE|ID3|fLaC|OggS", "a sound"),
        (rb"\x93NUMPY", "a NumPy array"),
        (rb"\x89HDF", "an HDF5 file"),
        (rb"\0\x05\x16[\0\x07]", "metadata that a Mac stores beside a file (AppleDouble)"),
        (rb"version https://git-lfs", "a Git LFS pointer"),
        (rb"(?:\xef\xbb\xbf|\s){1,100}(?:\xff\xd8\xff|\x89PNG|GIF8|RIFF)", "an image file with text before it"),
        (
            rb"(?:\xef\xbf\xbd){2}|\xef\xbf\xbdPNG|\xc3\xbf\xc3\x98|\xc2\x89PNG",
            "a file that was read as text and so damaged",
        ),
        (rb"/9j/|iVBORw0KGgo|R0lGOD|UklGR|data:image/", "base64 text instead of the bytes of a file"),
        (rb"--[\w'()+,./:=?-]{1,70}\r?\nContent-", "a form whose Content-Type does not say so"),
        (rb"(?:https?|ftp|file|s3|gs|blob):/?/?\S", "a URL instead of the bytes of a file"),
        (rb"\s{0,100}(?:\{\s{0,100}\"|\[\s{0,100}[\[{\"\d])", "JSON text"),
        (rb"\s{0,100}<\?xml", "an XML document"),
        (rb"\0{64}", "a file of zeros"),
    )
)


def kind_of(data: bytes) -> str | None:
    """Return the kind of file that ``data`` is; None if unknown."""
    return next((kind for pattern, kind in _KINDS if pattern.match(data)), None)
