"""Image -> the network's input, and the box of the image that the network will see."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image

from src.geometry import Box
from src.model.manifest import InputSpec

__all__ = ["NetworkInput", "seen_box", "transform"]

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

    Equal to torchvision's ``Resize -> CenterCrop -> ToTensor -> Normalize`` on Pillow images. Only the cropped part is
    resampled; Pillow's filters reach beyond the box, so its pixels are those of the whole resized picture.
    """
    box = seen_box(image.width, image.height, spec)
    height, width = spec.crop
    seen = image.resize((width, height), _RESAMPLING[spec.interpolation], box=(box.x0, box.y0, box.x1, box.y1))
    mean = np.asarray(spec.mean, dtype=np.float32)
    std = np.asarray(spec.std, dtype=np.float32)
    values = (np.asarray(seen, dtype=np.float32) / np.float32(255.0) - mean) / std
    return NetworkInput(torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1))), box)


def seen_box(width: int, height: int, spec: InputSpec) -> Box:
    """Return the part of a ``width`` x ``height`` picture that remains after resize and centre crop.

    The sizes are rounded as torchvision rounds them: the longer side down, the margins half to even.
    """
    resized_height, resized_width = _resized(width, height, spec.resize)
    crop_height, crop_width = spec.crop
    top = round((resized_height - crop_height) / 2)
    left = round((resized_width - crop_width) / 2)
    return Box(
        x0=left * width / resized_width,
        y0=top * height / resized_height,
        x1=(left + crop_width) * width / resized_width,
        y1=(top + crop_height) * height / resized_height,
    )


def _resized(width: int, height: int, resize: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(resize, int):
        return resize
    if width <= height:
        return int(resize * height / width), resize
    return resize, int(resize * width / height)
