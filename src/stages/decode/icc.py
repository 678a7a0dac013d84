"""Convert the colors of an RGB profile to sRGB."""

from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from src.stages.decoded_image import Conversion

__all__ = ["to_srgb"]

_MOST_BYTES: Final = 1_000_000  # of a profile; tables of 33 x 33 x 33 colors take 220 kB
_SPACE: Final = slice(16, 20)
_PROGRAM: Final = b"mpet"  # encodes any number of slow steps in a few bytes
_KEPT: Final = 16  # transforms, of at most a megabyte each; phones and cameras use few profiles
_SAME: Final = 2  # levels; common sRGB profiles differ by 1
_STEPS: Final = np.linspace(0, 255, 9).round().astype(np.uint8)
_PROBE: Final = Image.fromarray(np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), axis=-1).reshape(27, 27, 3))
_SRGB: Final = ImageCms.createProfile("sRGB")


def to_srgb(profile: bytes | None) -> Conversion | None:
    """Return a conversion from an ICC ``profile`` to sRGB, safe to use from several threads at the same time.

    None if there is no profile, or it is not for RGB, is sRGB's, is damaged or is built to be slow: such an image is
    treated as sRGB, like one without a profile.
    """
    if (
        not isinstance(profile, bytes)
        or len(profile) > _MOST_BYTES
        or profile[_SPACE] != b"RGB "
        or _PROGRAM in profile
    ):
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
