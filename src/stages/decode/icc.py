"""The colors of an RGB profile -> sRGB."""

from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from src.stages.decoded_image import Conversion

__all__ = ["to_srgb"]

_MOST_BYTES: Final = 1_000_000  # of a profile; tables of 33 x 33 x 33 colors have 220 kB
_SPACE: Final = slice(16, 20)
_PROGRAM: Final = b"mpet"  # any number of steps in a few bytes, each of which takes time
_KEPT: Final = 16  # transforms; phones and cameras have few profiles, and each is kept with its megabyte at most
_SAME: Final = 2  # levels; the usual profiles of sRGB are 1 off
_STEPS: Final = np.linspace(0, 255, 9).round().astype(np.uint8)
_PROBE: Final = Image.fromarray(np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(27, 27, 3))
_SRGB: Final = ImageCms.createProfile("sRGB")


def to_srgb(profile: bytes | None) -> Conversion | None:
    """Return what converts images with an ICC ``profile`` to sRGB, safe to use from several threads at once.

    None where nothing is to be done: there is no profile, it is none of RGB, it is sRGB's, or it is damaged or built to
    be slow: such an image is taken as sRGB, as one without a profile is.
    """
    if profile is None or len(profile) > _MOST_BYTES or profile[_SPACE] != b"RGB " or _PROGRAM in profile:
        return None
    return _conversion(profile)


@lru_cache(_KEPT)
def _conversion(profile: bytes) -> Conversion | None:
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(opened, _SRGB, "RGB", "RGB")
        shown = np.asarray(transform.apply(_PROBE)).astype(np.int16)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    same = np.abs(shown - np.asarray(_PROBE)).max() <= _SAME
    return None if same else transform.apply
