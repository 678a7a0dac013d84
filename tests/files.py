"""Encode images as files."""

from io import BytesIO
from typing import Any

from PIL import Image

__all__ = ["saved"]


def saved(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    """Return ``image`` as a file of the format ``name``."""
    file = BytesIO()
    image.save(file, name, **options)
    return file.getvalue()
