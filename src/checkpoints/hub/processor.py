"""An image processor of transformers -> an equivalent InputSpec, verified on sample images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from pydantic import ValidationError

from src.checkpoints.given import Note
from src.checkpoints.hub.library import transformers
from src.errors import ModelError, Remedy
from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import InputSpec, Interpolation
from src.stages.transform import transform

__all__ = ["Preparation", "read_preparation"]

_FILTERS: Final[Mapping[int, Interpolation]] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # of Pillow
_TRIED: Final = ((211, 300), (301, 247), (97, 142))  # (height, width); margins of whole and of half pixels
_LEVEL: Final = 1.01  # of 255: allowed difference of a pixel, since torchvision rounds differently from Pillow
_FARTHER: Final = 1e-4  # of all pixels may differ by two levels, where images are enlarged a lot
_STRETCHED_FROM: Final = 384  # pixels; ConvNeXt's processor stretches images to sizes from here on
_MODULE: Final = Remedy("module")
_ALL: Final = tuple(Remedy(name) for name in ("resize", "crop", "interpolation", "mean", "std"))


@dataclass(frozen=True, slots=True)
class Preparation:
    """How images are prepared; ``swapped``: the network takes BGR; ``assumed``: the folder does not say."""

    spec: InputSpec
    swapped: bool
    assumed: Note | None


def read_preparation(folder: Path, config: Any) -> Preparation:  # noqa: ANN401 - transformers may be missing
    """Return the preparation of the processor in ``folder``, or else the default of transformers for ``config``.

    Raises:
        ModelError: The processor does something that no InputSpec can express.
    """
    processor, assumed = _processor(folder, config)
    name = type(processor).__name__
    try:
        spec = _spec(processor)
    except (ValidationError, TypeError, KeyError, ValueError) as exc:
        raise ModelError(f"The folder's {name} prepares images in a way that is not supported: {_first(exc)}.") from exc
    note = Note(f"input: assumed to be that of {name}, since the folder has no preprocessor_config.json", _ALL)
    swapped = bool(getattr(processor, "do_flip_channel_order", False))
    preparation = Preparation(spec, swapped, note if assumed else None)
    if not _alike(processor, preparation):
        raise ModelError(f"The folder's {name} prepares images in a way that is not supported.")
    return preparation


def _first(exc: Exception) -> str:
    return exc.errors()[0]["msg"] if isinstance(exc, ValidationError) else str(exc)


def _processor(folder: Path, config: Any) -> tuple[Any, bool]:  # noqa: ANN401
    library = transformers()
    try:
        return library.AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, local_files_only=True), False
    except OSError:  # there is none in the folder
        return _usual(library, config), True
    except ValueError as exc:
        raise ModelError(
            "The image processor that the folder names is not part of transformers: name one that is in"
            " preprocessor_config.json, or give your own class.",
            _MODULE,
        ) from exc


def _usual(library: Any, config: Any) -> Any:  # noqa: ANN401
    """Return the default processor of transformers for ``config``, at the image size that it states."""
    classes = library.IMAGE_PROCESSOR_MAPPING.get(type(config), {})
    if not classes:
        raise ModelError(
            "The folder has no preprocessor_config.json, and transformers has no default for it: write one with"
            " processor.save_pretrained(FOLDER), or give your own class.",
            _MODULE,
        )
    cls = next(classes[backend] for backend in ("torchvision", "pil") if backend in classes)
    usual, side = cls(), getattr(config, "image_size", None)
    stretches = isinstance(side, int) and usual.size.get("height") and not usual.do_center_crop
    return cls(size={"height": side, "width": side}) if stretches else usual


def _spec(processor: Any) -> InputSpec:  # noqa: ANN401
    resize, crop = _geometry(processor)
    scale = processor.rescale_factor * 255 if processor.do_rescale else 255
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
    if getattr(processor, "include_top", False):  # EfficientNet's processor divides twice
        std = [each * each for each in std]
    if getattr(processor, "do_flip_channel_order", False):
        mean, std = mean[::-1], std[::-1]
    return InputSpec(
        resize=resize,
        crop=crop,
        interpolation=_FILTERS[int(processor.resample)],
        mean=tuple(each / scale for each in mean),
        std=tuple(each / scale for each in std),
        margin="down",
    )


def _geometry(processor: Any) -> tuple[int | tuple[int, int], tuple[int, int]]:  # noqa: ANN401
    """Return the size after the resize, and the (height, width) of the center crop."""
    size = processor.size
    if not processor.do_resize or size is None:
        raise ValueError("images are not resized")
    if not size.get("shortest_edge"):
        stretched = (size["height"], size["width"])
        return stretched, _crop(processor) if processor.do_center_crop else stretched
    shorter = size["shortest_edge"]
    if (share := getattr(processor, "crop_pct", None)) is not None:
        if shorter >= _STRETCHED_FROM:
            return (shorter, shorter), (shorter, shorter)
        return int(shorter / share), (shorter, shorter)
    if not processor.do_center_crop:
        raise ValueError("images keep their aspect ratio and are not cropped")
    is_levit = type(processor).__name__.startswith("Levit")
    return int(256 / 224 * shorter) if is_levit else shorter, _crop(processor)


def _crop(processor: Any) -> tuple[int, int]:  # noqa: ANN401
    return processor.crop_size["height"], processor.crop_size["width"]


def _alike(processor: Any, preparation: Preparation) -> bool:  # noqa: ANN401
    """Return whether the processor prepares sample images like ``preparation``, within one pixel level."""
    spec = preparation.spec
    level = _LEVEL / 255 / np.array(spec.std).reshape(-1, 1, 1)
    for height, width in _TRIED:
        image = _sample(height, width)
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
        ours = spec.normalize(transform(DecodedImage(image, width, height), spec).pixels)
        theirs = theirs[::-1] if preparation.swapped else theirs
        if ours.shape != theirs.shape:
            return False
        apart = np.abs(ours - theirs) / level
        if np.mean(apart > 1) > _FARTHER or np.max(apart) > 2:  # noqa: PLR2004 - levels
            return False
    return True


def _sample(height: int, width: int) -> Image.Image:
    """Return an image as smooth as photos: with plain noise, single pixels differ by two levels."""
    noise = np.random.default_rng(0).normal(128, 50, (height // 4, width // 4, len("RGB")))
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
