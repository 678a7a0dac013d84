"""Image -> the network's input, and the box of the image that the network will see."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image

from src.geometry import Box
from src.model.manifest import InputSpec

__all__ = ["NetworkInput", "seen_box", "transform"]

_MUCH_LONGER: Final = 64  # resized area over seen area; 20,000 x 2 pixels would be resized to 655 megapixels
_RESAMPLING: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """A picture as the network takes it: ``tensor`` is float32 (3, H, W); ``box`` is where it lies in the picture."""

    tensor: torch.Tensor
    box: Box


def transform(image: Image.Image, spec: InputSpec) -> NetworkInput:
    """Resize, crop and normalize an upright RGB ``image`` by the rules of ``spec``.

    Equal, bit for bit, to torchvision's ``Resize -> CenterCrop -> ToTensor -> Normalize`` on Pillow images, but for
    pictures that are very long: of those only the part that is seen is resized.
    """
    box = seen_box(image.width, image.height, spec)
    values = np.asarray(_seen_part(image, box, spec), dtype=np.float32) / np.float32(255)
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    normalized = (values - mean) / std
    return NetworkInput(torch.from_numpy(np.ascontiguousarray(normalized.transpose(2, 0, 1))), box)


def _seen_part(image: Image.Image, box: Box, spec: InputSpec) -> Image.Image:
    height, width = spec.crop
    resized_height, resized_width = _resized(image.width, image.height, spec.resize)
    resampling = _RESAMPLING[spec.interpolation]
    if resized_height * resized_width > _MUCH_LONGER * height * width:
        return image.resize((width, height), resampling, box=(box.x0, box.y0, box.x1, box.y1))
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
