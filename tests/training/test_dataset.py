"""Reading and splitting labeled images."""

import os
import shutil
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.errors import ModelError
from src.stages.decode import DecodeLimits, Enough, decode_image
from src.stages.decoded_image import DecodedImage
from src.stages.input_spec import InputSpec
from src.stages.transform import transform
from src.training.dataset import Dataset, read_dataset, split

SPEC = InputSpec(resize=40, crop=(32, 32), interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def save_noise(file: Path, rng: np.random.Generator, width: int = 48, height: int = 36) -> None:
    """Write an image that equals no other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file)


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Ten images of class a, twenty of class b."""
    for index in range(10):
        save_noise(tmp_path / "data" / "a" / f"{index}.png", rng)
    for index in range(20):
        save_noise(tmp_path / "data" / "b" / f"{index}.png", rng)
    return tmp_path / "data"


def names(dataset: Dataset, seed: int) -> tuple[set[Path], set[Path]]:
    """Return the paths of the two parts of a split."""
    parts = split(dataset, 0.2, seed)
    return {image.path for image in parts.training}, {image.path for image in parts.validation}


def test_labels_are_the_names_of_the_folders(folder: Path) -> None:
    """Labels are sorted, and each image has the index of its folder."""
    dataset = read_dataset(folder, SPEC)
    assert dataset.labels == ("a", "b")
    assert all(dataset.labels.index(image.path.parent.name) == image.label for image in dataset.images)
    assert len(dataset.images) == 30


def test_files_that_are_not_images_are_skipped_with_the_reason(folder: Path) -> None:
    """Text, an empty file and a truncated image are named; hidden files are not mentioned."""
    (folder / "a" / "notes.txt").write_text("not an image")
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "b" / "cut.png").write_bytes((folder / "b" / "0.png").read_bytes()[:200])
    (folder / "b" / ".DS_Store").write_bytes(b"x")
    dataset = read_dataset(folder, SPEC)
    assert {skipped.path.name for skipped in dataset.skipped} == {"notes.txt", "empty.jpg", "cut.png"}
    assert all(skipped.reason for skipped in dataset.skipped)
    assert len(dataset.images) == 30


@pytest.mark.parametrize("size", [(48, 36), (37, 91), (300, 41), (33, 260)])
@pytest.mark.parametrize("resize", [40, (50, 45)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_images_are_preprocessed_as_in_the_service(
    tmp_path: Path, rng: np.random.Generator, size: tuple[int, int], resize: int | tuple[int, int], interpolation: str
) -> None:
    """The resized image gives the network bit for bit the same input as the file does in the service."""
    spec = InputSpec.model_validate({**SPEC.model_dump(), "resize": resize, "interpolation": interpolation})
    for label in "ab":
        save_noise(tmp_path / label / "x.png", rng, *size)
    image = read_dataset(tmp_path, spec).images[0]
    served = decode_image(image.path.read_bytes(), DecodeLimits())
    kept = DecodedImage(image.raster, *image.raster.size)
    assert np.array_equal(transform(kept, spec).pixels, transform(served, spec).pixels)


@pytest.mark.parametrize("size", [(403, 307), (307, 403), (1270, 160), (160, 700)])
@pytest.mark.parametrize("resize", [40, (50, 45)])
def test_large_jpegs_are_preprocessed_as_in_the_service(
    tmp_path: Path, rng: np.random.Generator, size: tuple[int, int], resize: int | tuple[int, int]
) -> None:
    """An image decoded at a reduced size gives the network bit for bit the same input as the pipeline does."""
    spec = InputSpec.model_validate({**SPEC.model_dump(), "resize": resize})
    pixels = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(tmp_path / label / "x.jpg")
    image = read_dataset(tmp_path, spec).images[0].raster
    served = decode_image((tmp_path / "a" / "x.jpg").read_bytes(), DecodeLimits(), Enough(spec.enough, spec.enough))
    assert served.raster.size != size or min(size) < 2 * spec.enough
    assert np.array_equal(transform(DecodedImage(image, *image.size), spec).pixels, transform(served, spec).pixels)


def test_images_are_in_the_order_of_their_names(folder: Path) -> None:
    """They are ordered by class and name, whichever thread finishes first."""
    save_noise(folder / "a" / "00 large.png", np.random.default_rng(0), 2000, 1500)
    paths = [image.path for image in read_dataset(folder, SPEC).images]
    assert paths == sorted(paths)
    assert paths[1].name == "00 large.png"


def test_no_thread_is_left_running(folder: Path) -> None:
    """The reading threads end with the call."""
    read_dataset(folder, SPEC)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


def test_a_rotated_image_is_turned_upright(folder: Path) -> None:
    """The EXIF orientation is applied when the image is read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40), "red").save(folder / "a" / "turned.jpg", exif=exif)
    turned = next(image for image in read_dataset(folder, SPEC).images if image.path.name == "turned.jpg")
    assert turned.raster.size == (40, 80)


def test_a_very_long_image_does_not_take_much_memory(folder: Path) -> None:
    """The ends of a strip, which the network never sees, are cut off before it is enlarged."""
    Image.new("RGB", (2, 20_000), "red").save(folder / "a" / "strip.png")
    strip = next(image for image in read_dataset(folder, SPEC).images if image.path.name == "strip.png")
    assert strip.raster.size == (40, 320)


def test_the_split_is_stratified(folder: Path) -> None:
    """A fifth of each class is set aside, and every image is on exactly one side."""
    dataset = read_dataset(folder, SPEC)
    training, validation = names(dataset, seed=0)
    assert Counter(path.parent.name for path in validation) == {"a": 2, "b": 4}
    assert training | validation == {image.path for image in dataset.images}
    assert not training & validation


def test_the_split_follows_the_seed(folder: Path) -> None:
    """The same seed gives the same split, and another seed a different one."""
    dataset = read_dataset(folder, SPEC)
    assert names(dataset, seed=1) == names(dataset, seed=1)
    assert names(dataset, seed=1) != names(dataset, seed=2)


@pytest.mark.parametrize("seed", range(20))
def test_equal_images_stay_on_one_side(folder: Path, seed: int) -> None:
    """Copies of a file, and of its pixels in another format or class, are never on both sides."""
    original = folder / "a" / "0.png"
    (folder / "a" / "copy.png").write_bytes(original.read_bytes())
    with Image.open(original) as image:
        image.save(folder / "a" / "same.bmp")
        image.save(folder / "b" / "in another class.png", compress_level=0)
    copies = {original, folder / "a" / "copy.png", folder / "a" / "same.bmp", folder / "b" / "in another class.png"}
    training, validation = names(read_dataset(folder, SPEC), seed)
    assert copies <= training or copies <= validation


def test_the_digest_identifies_a_dataset_anywhere(folder: Path, tmp_path: Path) -> None:
    """Moving a dataset does not change its digest; another image does."""
    before = read_dataset(folder, SPEC).digest
    moved = folder.rename(tmp_path / "moved")
    assert read_dataset(moved, SPEC).digest == before
    (moved / "a" / "copy.png").write_bytes((moved / "a" / "0.png").read_bytes())
    assert read_dataset(moved, SPEC).digest != before


def test_mistakes_are_explained(folder: Path, tmp_path: Path) -> None:
    """A missing folder, a single class and a class without images each have a message."""
    with pytest.raises(ModelError, match="There is no folder"):
        read_dataset(tmp_path / "nowhere", SPEC)
    with pytest.raises(ModelError, match="at least two classes"):
        read_dataset(folder / "a", SPEC)
    (folder / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no images in .* for empty"):
        read_dataset(folder, SPEC)


def test_parts_of_a_dataset_are_no_classes(folder: Path, tmp_path: Path) -> None:
    """A network that tells train from val would be trained without a word; a class may be called train, though."""
    for part in ("train", "Val"):
        shutil.copytree(folder, tmp_path / "parts" / part)
    with pytest.raises(ModelError, match="contains Val and train, which are parts of a dataset, not classes"):
        read_dataset(tmp_path / "parts", SPEC)
    (folder / "a").rename(folder / "train")
    assert read_dataset(folder, SPEC).labels == ("b", "train")


def test_names_that_are_not_utf_8_are_read_but_no_classes(folder: Path) -> None:
    """Files from older systems do not end training; a class could not be stored under such a name."""
    name = os.fsdecode(b"gr\xfcn")
    (folder / "a" / "0.png").rename(folder / "a" / f"{name}.png")
    dataset = read_dataset(folder, SPEC)
    assert len(dataset.images) == 30
    assert dataset.digest
    (folder / "a").rename(folder / name)
    with pytest.raises(ModelError, match="a class, is not UTF-8: rename it"):
        read_dataset(folder, SPEC)


def test_why_a_class_has_no_images_is_explained(folder: Path) -> None:
    """Its files may be of a format that is not accepted, or the paths in the CSV those of another machine."""
    (folder / "c").mkdir()
    for index in range(2):
        (folder / "c" / f"{index}.jpg").write_text("not an image")
    with pytest.raises(ModelError, match=r"for c: .* 2 could not be read; .*c/0.jpg: .*format"):
        read_dataset(folder, SPEC)
    (folder / "labels.csv").write_text("image,a,odd\nC:\\a\\0.png,1,1\nC:\\a\\1.png,0,1\n")
    with pytest.raises(ModelError, match=r"labeled a, odd: .* 2 could not be read; .*0.png: No such file"):
        read_dataset(folder / "labels.csv", SPEC)


def test_a_class_needs_two_different_images(folder: Path) -> None:
    """A class that has only copies of one image cannot be split."""
    for index in range(1, 10):
        (folder / "a" / f"{index}.png").write_bytes((folder / "a" / "0.png").read_bytes())
    with pytest.raises(ModelError, match="class a needs at least two"):
        split(read_dataset(folder, SPEC), 0.2, seed=0)


def test_gray_images_are_preprocessed_as_in_the_service(tmp_path: Path, rng: np.random.Generator) -> None:
    """A gray network gets bit for bit the same input as in the service: converted to gray before the resize."""
    spec = InputSpec.model_validate({**SPEC.model_dump(), "channels": 1, "mean": (0.5,), "std": (0.5,)})
    for label in "ab":
        save_noise(tmp_path / label / "x.png", rng, 91, 47)
    image = read_dataset(tmp_path, spec).images[0]
    served = decode_image(image.path.read_bytes(), DecodeLimits())
    kept = DecodedImage(image.raster, *image.raster.size)
    assert np.array_equal(transform(kept, spec).pixels, transform(served, spec).pixels)


def test_a_table_marks_each_class(folder: Path) -> None:
    """A CSV has a 1 or 0 for each class; its split is disjoint, and a class that every image has is refused."""
    marks = "".join(f"a/{index}.png,1,{index % 2}\n" for index in range(10))
    (folder / "labels.csv").write_text(f"image,a,odd\n{marks}b/0.png,0,0\n")
    dataset = read_dataset(folder / "labels.csv", SPEC)
    assert (dataset.labels, dataset.output) == (("a", "odd"), "multilabel")
    assert dataset.images[1].label == (1.0, 1.0)
    assert (dataset.count(0), dataset.count(1)) == (10, 5)
    training, validation = names(dataset, seed=2)
    assert len(validation) == 2
    assert not training & validation
    (folder / "labels.csv").write_text("image,a,odd\na/1.png,1,1\na/2.png,1,0\n")
    with pytest.raises(ModelError, match="either all or no images are labeled a:"):
        read_dataset(folder / "labels.csv", SPEC)


def test_a_table_needs_two_different_images(folder: Path) -> None:
    """A CSV of copies of one image cannot be split, and the message does not blame a class."""
    (folder / "a" / "1.png").write_bytes((folder / "a" / "0.png").read_bytes())
    (folder / "labels.csv").write_text("image,a,b\na/0.png,1,0\na/1.png,0,1\n")
    with pytest.raises(ModelError, match=r"^A table needs at least two different images"):
        split(read_dataset(folder / "labels.csv", SPEC), 0.2, seed=0)


def test_a_table_of_one_class_is_refused(folder: Path) -> None:
    """Its network, of one output, could not be stored afterwards."""
    (folder / "labels.csv").write_text("image,odd\na/1.png,1\na/2.png,0\n")
    with pytest.raises(ModelError, match="a single class, odd: add another one"):
        read_dataset(folder / "labels.csv", SPEC)


@pytest.mark.parametrize("content", ["image\na/1.png\na/2.png\n", "image;a;odd\na/1.png;1;1\na/2.png;1;0\n"])
def test_a_table_without_classes_is_refused(folder: Path, content: str) -> None:
    """A list of files, and a table with semicolons, as Excel writes it in many countries."""
    (folder / "labels.csv").write_text(content)
    with pytest.raises(ModelError, match=r"no classes.*the first line must be image,<class>"):
        read_dataset(folder / "labels.csv", SPEC)


def test_a_class_without_images_to_train_on_is_named(folder: Path) -> None:
    """If the only image of a class is set aside for validation, the network would learn that no image has it."""
    marks = "".join(f"a/{index}.png,{index % 2},{int(index == 0)}\n" for index in range(10))
    (folder / "labels.csv").write_text(f"image,odd,rare\n{marks}")
    dataset = read_dataset(folder / "labels.csv", SPEC)
    outcomes = set()
    for seed in range(20):
        try:
            training, _ = names(dataset, seed)
        except ModelError as exc:
            outcomes.add(str(exc).partition(":")[0])
        else:
            assert folder / "a" / "0.png" in training
    assert outcomes == {"Either all or none of the images to train on are labeled rare"}
