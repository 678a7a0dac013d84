"""Picture -> the pixels that the network takes, and the box of the picture that they show."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.geometry import Box, Picture
from src.model.manifest import InputSpec

__all__ = ["NetworkInput", "normalize", "seen_box", "transform"]

_MUCH_LONGER: Final = 64  # resized area over seen area; 20,000 x 2 pixels would be resized to 655 megapixels
_RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """A picture as the network takes it: ``pixels`` (H, W, 3), RGB; ``box`` is where they lie in the picture."""

    pixels: NDArray[np.uint8]
    box: Box


def transform(picture: Picture, spec: InputSpec) -> NetworkInput:
    """Resize and crop a picture by the rules of ``spec``.

    Equal, bit for bit, to torchvision's ``Resize -> CenterCrop`` on Pillow images, but for pictures that are very long
    (of those only the part that is seen is resized) and for those that were decoded at less than their full size.
    """
    box = seen_box(picture.width, picture.height, spec)
    return NetworkInput(np.asarray(_seen_part(picture, box, spec)), box)


def normalize(pixels: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """Return ``pixels`` (H, W, 3) in the range that the network learned with, (3, H, W), contiguous.

    Equal, bit for bit, to torchvision's ``ToTensor -> Normalize``.
    """
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    normalized = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(normalized.transpose(2, 0, 1))


def _seen_part(picture: Picture, box: Box, spec: InputSpec) -> Image.Image:
    image = picture.image
    height, width = spec.crop
    resized_height, resized_width = _resized(picture.width, picture.height, spec.resize)
    resampling = _RESAMPLING[spec.interpolation]
    if resized_height * resized_width > _MUCH_LONGER * height * width:
        part = box.scaled(image.width / picture.width, image.height / picture.height)
        return image.resize((width, height), resampling, box=(part.x0, part.y0, part.x1, part.y1))
    left, top = _margin(resized_width, width), _margin(resized_height, height)
    resized = image.resize((resized_width, resized_height), resampling)
    return resized.crop((left, top, left + width, top + height))


def seen_box(width: int, height: int, spec: InputSpec) -> Box:
    """Return the part of a ``width`` x ``height`` picture that remains after resize and centre crop.

    The sizes are rounded as torchvision rounds them: the longer side down, the margins half to even.
    """
    resized_height, resized_width = _resized(width, height, spec.resize)
    crop_height, crop_width = spec.crop
    top, left = _margin(resized_height, crop_height), _margin(resized_width, crop_width)
    return Box(
        x0=left * width / resized_width,
        y0=top * height / resized_height,
        x1=(left + crop_width) * width / resized_width,
        y1=(top + crop_height) * height / resized_height,
    )


def _margin(resized: int, crop: int) -> int:
    return round((resized - crop) / 2)


def _resized(width: int, height: int, resize: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(resize, int):
        return resize
    if width <= height:
        return int(resize * height / width), resize
    return resize, int(resize * width / height)
