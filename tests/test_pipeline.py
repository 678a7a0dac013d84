"""The stages joined: where the heat lands in the returned image, and what the options do."""

import atexit
import pickle
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import nn
from torchvision import transforms

from src.checkpoints.checkpoint import Checkpoint
from src.conversion.draft import Draft, draft
from src.errors import InvalidRequest, UnknownClass
from src.options import Colormap, ImageFormat, Method, Options
from src.pipeline import Pipeline, heatmap
from src.progress import Abandoned, Progress, Stage, Unobserved
from src.runtimes.base import Evaluation, Runtime
from src.runtimes.select import start
from src.stages.decode import DecodeLimits
from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec
from tests.files import saved
from tests.places import PACKAGED_PHOTOS

GREY, RED = (90, 90, 90), (230, 30, 30)
CROP, CELL = 96, 8
# Heat alone, in colors whose brightness rises with the heat: the brightest pixel is the hottest.
HEAT_ALONE = Options(alpha=1, colormap=Colormap.INFERNO, format=ImageFormat.PNG, target="red")
# EXIF orientation -> what a camera that writes it does to the upright image, as numpy operations on (H, W, 3).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
# What each format can carry besides pixels, as Pillow calls it.
METADATA_OF = {
    "JPEG": ("exif", "icc_profile", "xmp", "comment"),
    "PNG": ("exif", "icc_profile", "pnginfo"),
    "WEBP": ("exif", "icc_profile", "xmp"),
    "TIFF": ("exif", "icc_profile"),
}
_drafts = ExitStack()
atexit.register(_drafts.close)
RULES: dict[str, int | tuple[int, int]] = {"shorter side": 110, "stretched": (110, 110)}


def red_network() -> nn.Module:
    """Return a network that finds red in cells of 8 x 8 pixels and calls it red, or else blue."""
    cells = nn.Conv2d(3, 2, CELL, stride=CELL, bias=False)
    with torch.no_grad():
        cells.weight.zero_()
        cells.weight[0] = torch.tensor([1.0, -0.5, -0.5])[:, None, None] / CELL**2
        cells.weight[1] = torch.tensor([-0.5, -0.5, 1.0])[:, None, None] / CELL**2
    linear = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[10.0, 0.0], [0.0, 10.0]]))
    network = nn.Sequential(cells, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    return network.eval().requires_grad_(requires_grad=False)


@cache
def _red_draft() -> Draft:
    return _drafts.enter_context(draft(Checkpoint("test/red", ("red", "blue"), _spec(110), red_network())))


def _spec(resize: int | tuple[int, int]) -> InputSpec:
    return InputSpec(resize=resize, crop=(CROP, CROP), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))


@cache
def red_pipeline(resize: int | tuple[int, int] = 110, **options: Any) -> Pipeline:
    """Return the pipeline of the red network; it sees the center 96 x 96 of an image resized to 110."""
    verified = _red_draft()
    manifest = verified.manifest.model_copy(update={"input": _spec(resize)})
    running = start(verified.folder, manifest, **{"threads": 1, "runtime": "torch", **options})
    return Pipeline(manifest, running, DecodeLimits())


@dataclass(frozen=True)
class Patch:
    """An upright image, gray but for one red patch: columns x0 to x1, rows y0 to y1."""

    pixels: NDArray[np.uint8]
    x0: int
    y0: int
    x1: int
    y1: int

    def file(self, orientation: int) -> bytes:
        """Return the image as a PNG that a camera stored in this EXIF orientation."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        return saved(Image.fromarray(np.ascontiguousarray(STORED[orientation](self.pixels))), exif=exif)


def random_patch(rng: np.random.Generator, resize: int | tuple[int, int]) -> Patch:
    """Return a patch of random place and size within the box, in an image of random size, 1:3 to 3:1.

    It is at least two cells wide and high, so that one cell lies wholly on it and the peak of the map must, too.
    """
    shorter, ratio = int(rng.integers(120, 500)), np.exp(rng.uniform(-np.log(3), np.log(3)))
    width, height = (shorter, int(shorter * ratio)) if ratio > 1 else (int(shorter / ratio), shorter)
    scale_x, scale_y = (width / 110, height / 110) if isinstance(resize, tuple) else (shorter / 110, shorter / 110)
    ranges = []
    for size, scale in ((width, scale_x), (height, scale_y)):
        seen = CROP * scale
        length = rng.uniform(2 * CELL * scale + 2, 0.6 * seen)
        start = rng.uniform((size - seen) / 2, (size + seen) / 2 - length)
        ranges.append((int(np.ceil(start)), int(start + length)))
    (x0, x1), (y0, y1) = ranges
    pixels = np.full((height, width, 3), GREY, np.uint8)
    pixels[y0:y1, x0:x1] = RED
    return Patch(pixels, x0, y0, x1, y1)


def brightest(file: bytes) -> tuple[float, float, tuple[int, int]]:
    """Return x and y of the center of the brightest pixel of an encoded image, and its size."""
    image = Image.open(BytesIO(file))
    brightness = np.asarray(image.convert("RGB"), dtype=int).sum(axis=2)
    y, x = np.unravel_index(brightness.argmax(), brightness.shape)
    return float(x) + 0.5, float(y) + 0.5, image.size


@pytest.mark.parametrize("resize", RULES.values(), ids=RULES)
@pytest.mark.parametrize("orientation", STORED)
def test_the_heat_lands_on_what_the_network_saw(
    orientation: int, resize: int | tuple[int, int], rng: np.random.Generator
) -> None:
    """The hottest pixel of the returned image lies on the patch that the network answers to, wherever that is."""
    pipeline = red_pipeline(resize)
    for max_side in (4096, 4096, 4096, 150, 77):
        patch = random_patch(rng, resize)
        recognition = pipeline.recognize(patch.file(orientation), HEAT_ALONE.model_copy(update={"max_side": max_side}))
        assert recognition.explanation is not None
        assert recognition.prediction.top[0].label == "red"
        assert (recognition.height, recognition.width) == patch.pixels.shape[:2]
        x, y, (width, height) = brightest(recognition.explanation.image)
        assert patch.x0 <= x * recognition.width / width <= patch.x1
        assert patch.y0 <= y * recognition.height / height <= patch.y1


@pytest.mark.parametrize("resize", RULES.values(), ids=RULES)
def test_the_heat_is_centered_on_the_patch(resize: int | tuple[int, int], rng: np.random.Generator) -> None:
    """The center of the heat is the center of the patch to within half a cell: nothing is shifted or stretched."""
    pipeline = red_pipeline(resize)
    for _ in range(20):
        patch = random_patch(rng, resize)
        recognition = pipeline.recognize(patch.file(1), Options(heatmaps=True, target="red"))
        heat, box = recognition.heatmaps[0], recognition.box
        rows, columns = (np.arange(CROP // CELL) + 0.5) * CELL / CROP, (np.arange(CROP // CELL) + 0.5) * CELL / CROP
        x = box.x0 + (box.x1 - box.x0) * (heat.sum(axis=0) @ columns) / heat.sum()
        y = box.y0 + (box.y1 - box.y0) * (heat.sum(axis=1) @ rows) / heat.sum()
        assert abs(x - (patch.x0 + patch.x1) / 2) < (box.x1 - box.x0) / CROP * CELL / 2
        assert abs(y - (patch.y0 + patch.y1) / 2) < (box.y1 - box.y0) / CROP * CELL / 2


def test_a_red_patch_outside_the_box_is_not_seen() -> None:
    """What lies outside the box has no influence, and the image there is returned as it is."""
    pixels = np.full((110, 330, 3), GREY, np.uint8)
    pixels[:, :60] = RED
    recognition = red_pipeline().recognize(Patch(pixels, 0, 0, 60, 110).file(1), HEAT_ALONE)
    assert recognition.explanation is not None
    assert not recognition.explanation.evidence
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(recognition.explanation.image))), pixels)


@pytest.fixture
def patch_file(rng: np.random.Generator) -> bytes:
    """An image with a red patch."""
    return random_patch(rng, 110).file(1)


def test_without_explanation_there_is_no_image(patch_file: bytes) -> None:
    """gradcam=false answers the classes alone."""
    recognition = red_pipeline().recognize(patch_file, Options(gradcam=False))
    assert recognition.explanation is None
    assert recognition.heatmaps == ()


def test_a_large_image_does_not_wait_for_the_network() -> None:
    """Beside the input of the network, at most the pixels of the answer are kept: none without a heatmap."""
    file = saved(Image.new("RGB", (3000, 2000)))
    pipeline = red_pipeline()
    for gradcam, least, most in ((True, 600 * 400 * 3, 600 * 400 * 3 + 100_000), (False, 0, 100_000)):
        seen = pipeline.see(file, Options(gradcam=gradcam, max_side=600))
        assert least < len(pickle.dumps(seen)) < most


@pytest.mark.parametrize("method", Method)
def test_a_score_without_a_derivative_has_an_empty_heatmap(method: Method) -> None:
    """The gradient of a square root at zero is not a number, and JSON has none for it."""
    layout = FeatureLayout(axes="NKhw", channels=2, height=3, width=3)
    graphs = SimpleNamespace(gradient=lambda features, _: np.full_like(features, np.nan))
    runtime = Runtime(graphs, layout)
    evaluation = Evaluation(np.zeros(2, np.float32), np.ones((1, 2, 3, 3), np.float32), (), runtime)
    found = heatmap(evaluation, method, 0)
    assert (found.evidence, found.values.tolist()) == (False, [[0.0] * 3] * 3)


def test_heatmaps_are_those_of_the_listed_classes(patch_file: bytes) -> None:
    """heatmaps=true gives one map for each listed class, in their order, with or without the image."""
    recognition = red_pipeline().recognize(patch_file, Options(gradcam=False, heatmaps=True))
    assert [score.label for score in recognition.prediction.top] == ["red", "blue"]
    assert [bool(heat.any()) for heat in recognition.heatmaps] == [True, False]
    assert {heat.shape for heat in recognition.heatmaps} == {(CROP // CELL, CROP // CELL)}


def test_another_class_can_be_explained(patch_file: bytes) -> None:
    """The target is explained in place of the predicted class, by label or index, and may have no evidence."""
    for target in ("blue", 1):
        recognition = red_pipeline().recognize(patch_file, Options(target=target))
        assert recognition.explanation is not None
        assert (recognition.explanation.label, recognition.explanation.evidence) == ("blue", False)


@pytest.mark.parametrize("method", Method)
def test_a_class_can_be_explained_against_another(patch_file: bytes, method: Method) -> None:
    """Red against blue has its evidence where red has it; blue against red has none; the answer names both."""
    red = red_pipeline().recognize(patch_file, Options(target="red", versus="blue", method=method)).explanation
    blue = red_pipeline().recognize(patch_file, Options(target="blue", versus=0, method=method)).explanation
    assert red is not None
    assert blue is not None
    assert (red.label, red.versus, red.method, red.evidence) == ("red", "blue", method, True)
    assert (blue.label, blue.versus, blue.evidence) == ("blue", "red", False)


@pytest.mark.parametrize("target", [None, "red", 0])
def test_a_class_against_itself_is_refused(patch_file: bytes, target: str | int | None) -> None:
    """The class that is explained, named or predicted, cannot be the one that it is explained against."""
    with pytest.raises(InvalidRequest, match="'red' is the explained class itself: send another class as versus"):
        red_pipeline().recognize(patch_file, Options(target=target, versus="red"))


def test_mistakes_are_found_before_the_image_is_decoded() -> None:
    """A wrong target or number of classes is refused even where the image is broken as well."""
    with pytest.raises(UnknownClass):
        red_pipeline().recognize(b"no image", Options(target="green"))
    with pytest.raises(UnknownClass):
        red_pipeline().recognize(b"no image", Options(versus=2))
    with pytest.raises(InvalidRequest):
        red_pipeline().recognize(b"no image", Options(target=0, versus=0))
    with pytest.raises(InvalidRequest):
        red_pipeline().recognize(b"no image", Options(top_k=3))


def test_a_large_photo_is_decoded_whole_on_request(rng: np.random.Generator) -> None:
    """With exact=True the network's input is torchvision's for a JPEG that would be decoded at a reduced size, too."""
    file = saved(Image.fromarray(rng.integers(0, 256, (900, 1200, 3), np.uint8)), "JPEG")
    with Image.open(BytesIO(file)) as image:
        resize = transforms.Compose([transforms.Resize(110), transforms.CenterCrop(CROP)])
        expected = np.asarray(resize(image.convert("RGB")))
    exact, fast = (replace(red_pipeline(), exact=exact).pixels(file) for exact in (True, False))
    assert np.array_equal(exact, expected)
    assert not np.array_equal(fast, expected)


@pytest.mark.parametrize("max_side", [100, 512, 2500])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_is_answered_as_the_whole_of_it(orientation: int, max_side: int) -> None:
    """A JPEG that is decoded in part has the answer and the heat of one that is not, at the size that was asked for."""
    pixels = np.full((1500, 2000, 3), GREY, np.uint8)
    pixels[500:1000, 750:1250] = RED
    answers = []
    for name in ("JPEG", "PNG"):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = saved(Image.fromarray(pixels), name, exif=exif, compress_level=1, quality=95)
        options = Options(heatmaps=True, max_side=max_side, top_k=2, format=ImageFormat.PNG)
        answers.append(red_pipeline().recognize(file, options))
    small, whole = answers
    assert (small.width, small.height, small.box) == (whole.width, whole.height, whole.box)
    assert abs(small.prediction.top[0].percent - whole.prediction.top[0].percent) < 0.5
    for one, other in zip(small.heatmaps, whole.heatmaps, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)
    explanations = [answer.explanation for answer in answers if answer.explanation]
    images = [Image.open(BytesIO(explanation.image)) for explanation in explanations]
    assert max(images[0].size) == min(max_side, 2000)
    assert images[0].size == images[1].size
    assert np.abs(np.asarray(images[0]).astype(int) - np.asarray(images[1])).mean() < 2


@pytest.mark.parametrize("image_format", ImageFormat)
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_nothing_but_pixels_comes_back(name: str, image_format: ImageFormat) -> None:
    """Position, camera, profile, texts: no metadata of the file is in the returned image."""
    exif = Image.Exif()
    exif[0x010E] = "SECRET camera"
    exif.get_ifd(0x8825)[0x001D] = "SECRET day"
    text = PngInfo()
    text.add_text("SECRET", "SECRET")
    options = {"exif": exif, "icc_profile": b"SECRET" * 50, "xmp": b"<SECRET/>", "comment": b"SECRET", "pnginfo": text}
    file = saved(Image.new("RGB", (64, 64), RED), name, **{key: options[key] for key in METADATA_OF[name]})
    assert b"SECRET" in file
    explanation = red_pipeline().recognize(file, Options(format=image_format)).explanation
    assert explanation is not None
    assert b"SECRET" not in explanation.image
    with Image.open(BytesIO(explanation.image)) as answer:
        assert not {"exif", "icc_profile", "xmp", "comment"} & set(answer.info)
        assert not answer.getexif()


class Ended(Progress):
    """Notes the stages and ends the work before one of them."""

    def __init__(self, last: Stage) -> None:
        self.last = last
        self.seen: list[Stage] = []

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Note the stage."""
        if stage is self.last:
            raise Abandoned
        self.seen.append(stage)
        return nullcontext()

    def check(self) -> None:
        """Do not end the work within a stage."""


@pytest.mark.parametrize("last", Stage)
def test_the_work_can_be_ended_before_any_stage(last: Stage) -> None:
    """Each stage asks first whether to start, in the order of the pipeline; when it must not, nothing more is done."""
    progress = Ended(last)
    with pytest.raises(Abandoned):
        red_pipeline().recognize(PACKAGED_PHOTOS[0].read_bytes(), Options(), progress)
    assert progress.seen == list(Stage)[: list(Stage).index(last)]


class EndedBetweenHeatmaps(Unobserved):
    """Counts the heatmaps of a list and ends the work before the second."""

    checked = 0

    def check(self) -> None:
        """Count."""
        self.checked += 1
        if self.checked > 1:
            raise Abandoned


def test_the_work_can_be_ended_between_two_heatmaps() -> None:
    """The heatmaps of all classes are one stage, which may take minutes: each of them asks whether to continue."""
    progress = EndedBetweenHeatmaps()
    with pytest.raises(Abandoned):
        red_pipeline().recognize(PACKAGED_PHOTOS[0].read_bytes(), Options(gradcam=False, heatmaps=True), progress)
    assert progress.checked == 2
