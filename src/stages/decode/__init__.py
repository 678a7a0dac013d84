"""Decode base64 and image files of every accepted format and mode into upright RGB images."""

from src.stages.decode.base64_text import decode_base64
from src.stages.decode.image import decode_image
from src.stages.decode.kinds import accepted_formats
from src.stages.decode.limits import DecodeLimits, Enough

__all__ = ["DecodeLimits", "Enough", "accepted_formats", "decode_base64", "decode_image"]
