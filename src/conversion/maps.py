"""Which tensors of a network are spatial maps, by their shapes."""

from typing import Final

from src.stages.features import FeatureLayout

__all__ = ["find_layout"]

_MAX_PLACELESS: Final = 16  # class, distillation and register tokens; more than this and the tokens are no grid


def find_layout(shape: tuple[int, ...], input_size: tuple[int, int]) -> FeatureLayout | None:
    """Return how features of ``shape`` (without N) are maps with the aspect of ``input_size`` (height, width), if so.

    Maps are (K, h, w), as convolutions make them; (h, w, K), as Swin does; or tokens (T, K), as ViT does.
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
    """Return whether a map of ``height`` x ``width`` positions may come from an image, up to rounding."""
    return min(height, width) > 1 and abs(width - height * input_size[1] / input_size[0]) <= 1


def _tokens(count: int, channels: int, input_size: tuple[int, int]) -> FeatureLayout | None:
    """Fold tokens to the finest grid of the image's aspect that they fill; those left over come first."""
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
