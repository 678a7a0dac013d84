"""Transforms of torchvision that are pickled in a checkpoint, compared with the originals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models, transforms
from torchvision.transforms import v2

from src.checkpoints.inputs.composes import stored_transform
from src.checkpoints.reading.weights_file import read_weights_file
from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import InputSpec
from src.stages.transform import transform

BICUBIC = transforms.InterpolationMode.BICUBIC
HALF = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
PRESET: Any = models.ResNet18_Weights.DEFAULT.transforms
T: Any = transforms  # they have no types
V: Any = v2


class ToTensor:
    """A class of the user's with the name of one of torchvision's."""


def _without_sides() -> Any:
    resize = T.Resize((9, 9))
    resize.size = []
    return T.Compose([resize, T.ToTensor()])


def _with_modules_in_a_list() -> Any:
    steps = torch.nn.Sequential(V.Resize((9, 9)))
    vars(steps)["_modules"] = [V.Resize((9, 9))]
    return T.Compose([steps, T.ToTensor()])


def _within_itself() -> Any:
    compose = T.Compose([T.Resize((32, 32)), T.ToTensor()])
    compose.transforms.append(compose)
    return compose


TAKEN: dict[str, Callable[[], Any]] = {
    "stretched": lambda: T.Compose([T.Resize((32, 40)), T.ToTensor(), T.Normalize(*HALF)]),
    "cropped": lambda: T.Compose([T.Resize(40, BICUBIC), T.CenterCrop(33), T.ToTensor(), T.Normalize(*HALF)]),
    "crop of two sides": lambda: T.Compose([T.Resize([40]), T.CenterCrop((30, 20)), T.ToTensor()]),
    "v2": lambda: V.Compose(
        [V.Resize(40), V.CenterCrop(32), V.ToImage(), V.ToDtype(torch.float32, scale=True), V.Normalize(*HALF)]
    ),
    "one in another": lambda: T.Compose([T.Compose([T.Resize((32, 32)), T.ToTensor()]), T.Normalize(*HALF)]),
    "bytes first": lambda: T.Compose([T.Resize((9, 9)), T.PILToTensor(), T.ConvertImageDtype(torch.float32)]),
    "gray": lambda: T.Compose([T.Grayscale(), T.Resize((28, 28)), T.ToTensor(), T.Normalize((0.1,), (0.3,))]),
    "published": PRESET,
}
PASSED_OVER: dict[str, Callable[[], Any]] = {
    "random crop": lambda: T.Compose([T.RandomResizedCrop(32), T.ToTensor()]),
    "flip": lambda: T.Compose([T.Resize((32, 32)), T.RandomHorizontalFlip(), T.ToTensor()]),
    "pad": lambda: T.Compose([T.Pad(4), T.Resize((32, 32)), T.ToTensor()]),
    "crop before resize": lambda: T.Compose([T.CenterCrop(32), T.Resize((32, 32)), T.ToTensor()]),
    "two sizes": lambda: T.Compose([T.Resize(40), T.Resize((32, 32)), T.ToTensor()]),
    "no size": lambda: T.Compose([T.ToTensor(), T.Normalize(*HALF)]),
    "no crop": lambda: T.Compose([T.Resize(40), T.ToTensor()]),
    "crop that pads": lambda: T.Compose([T.Resize(32), T.CenterCrop(40), T.ToTensor()]),
    "0 to 255": lambda: V.Compose([V.Resize((32, 32)), V.ToImage(), V.ToDtype(torch.float32, scale=False)]),
    "never scaled": lambda: T.Compose([T.Resize((32, 32)), T.PILToTensor()]),
    "gray after the resize": lambda: T.Compose([T.Resize((28, 28)), T.Grayscale(), T.ToTensor()]),
    "a longest side": lambda: T.Compose([T.Resize(32, max_size=40), T.CenterCrop(32), T.ToTensor()]),
    "something of theirs": lambda: T.Compose([T.Resize((32, 32)), T.ToTensor(), torch.nn.Identity()]),
    "something of theirs by a known name": lambda: T.Compose([T.Resize((32, 32)), ToTensor()]),
    "resize of tensors without antialias": lambda: T.Compose([T.ToTensor(), T.Resize((32, 32), antialias=False)]),
    "normalized twice": lambda: T.Compose([T.Resize((9, 9)), T.ToTensor(), T.Normalize(*HALF), T.Normalize(*HALF)]),
    "half floats": lambda: T.Compose([T.Resize((9, 9)), T.PILToTensor(), T.ConvertImageDtype(torch.float16)]),
    "no side": _without_sides,
    "within itself": _within_itself,
    "modules in a list": _with_modules_in_a_list,
}


def _found(folder: Path, **hyper_parameters: object) -> tuple[str, InputSpec] | None:
    content = {"state_dict": {"a": torch.ones(2, 2)}, "hyper_parameters": hyper_parameters}
    torch.save(content, folder / "file.ckpt")
    return stored_transform(read_weights_file(folder / "file.ckpt").hyper_parameters)


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_the_input_spec_equals_the_pickled_transform(
    make: Callable[[], Any], tmp_path: Path, rng: np.random.Generator
) -> None:
    """The InputSpec and the pickled transform turn an image into the same numbers."""
    found = _found(tmp_path, data={"transform": make()})
    assert found
    name, spec = found
    image = Image.fromarray(rng.integers(0, 256, (53, 71, 3), dtype=np.uint8))
    ours = spec.normalize(transform(DecodedImage(image, *image.size), spec).pixels)
    assert name == "transform"
    torch.testing.assert_close(torch.from_numpy(ours), torch.as_tensor(make()(image)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", PASSED_OVER.values(), ids=PASSED_OVER)
def test_an_unsupported_transform_is_skipped(make: Callable[[], Any], tmp_path: Path) -> None:
    """A transform that augments, or that no InputSpec can express, is skipped."""
    assert _found(tmp_path, transform=make()) is None


def test_the_validation_transform_is_preferred(tmp_path: Path) -> None:
    """The transform of validation takes precedence over that of training."""
    train, val = (T.Compose([T.Resize((size, size)), T.ToTensor()]) for size in (32, 40))
    found = _found(tmp_path, train_transform=train, val_transform=val)
    assert found
    assert (found[0], found[1].resize) == ("val_transform", (40, 40))
