"""Recognize spatial maps by the shapes of tensors."""

from typing import Final

from src.stages.features import FeatureLayout

__all__ = ["find_layout"]

_MAX_PLACELESS: Final = 16  # class, distillation and register tokens; with more left over, the tokens are not a grid


def find_layout(shape: tuple[int, ...], input_size: tuple[int, int]) -> FeatureLayout | None:
    """Return the layout of features of ``shape`` (without N), or None if they are not maps.

    Maps have the aspect ratio of ``input_size`` (height, width). They are (K, h, w), as in convolutional networks;
    (h, w, K), as in Swin; or tokens (T, K), as in ViT.
    """
    if len(shape) == len("TK"):
        return _tokens(shape[0], shape[1], input_size)
    if len(shape) != len("Khw"):
        return None
    first, second, last = shape
    if _has_aspect(second, last, input_size):
        return FeatureLayout(axes="NKhw", channels=first, height=second, width=last)
    if _has_aspect(first, second, input_size):
        return FeatureLayout(axes="NhwK", channels=last, height=first, width=second)
    return None


def _has_aspect(height: int, width: int, input_size: tuple[int, int]) -> bool:
    """Return whether a map of ``height`` x ``width`` positions has the aspect ratio of the image, up to rounding."""
    return min(height, width) > 1 and abs(width - height * input_size[1] / input_size[0]) <= 1


def _tokens(count: int, channels: int, input_size: tuple[int, int]) -> FeatureLayout | None:
    """Return the finest grid with the image's aspect ratio that the tokens fill; those left over come first."""
    for height in range(input_size[0], 1, -1):
        width = round(height * input_size[1] / input_size[0])
        placeless = count - height * width
        if placeless >= 0:
            break
    else:
        return None
    if placeless > _MAX_PLACELESS or min(width, channels) == 1:
        return None
    return FeatureLayout(axes="NTK", channels=channels, height=height, width=width, placeless=placeless)
