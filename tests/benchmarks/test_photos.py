"""The photos are what their names say."""

from io import BytesIO

from PIL import Image

from src.stages.decode.cicp import profile_of
from tests.benchmarks.photos import SMALL, in_display_p3, make_photos, resized_photo


def test_small_photos() -> None:
    """About 12 kB each, all of one size, the same in every run."""
    photos = make_photos(SMALL)
    sizes = {Image.open(BytesIO(file)).size for file in photos.files}
    assert sizes == {(photos.width, photos.height)} == {(451, 300)}
    assert all(10_000 < len(file) < 14_000 for file in photos.files)
    assert photos == make_photos(SMALL)


def test_photo_of_a_number_of_megapixels() -> None:
    """4:3, with as many pixels as asked for."""
    width, height = Image.open(BytesIO(resized_photo(0.5))).size
    assert abs(width * height / 0.5e6 - 1) < 0.01
    assert abs(width / height - 4 / 3) < 0.01


def test_photos_in_display_p3() -> None:
    """The same pixels in the same files, but for a profile that says that they are in Display P3."""
    photos = make_photos(SMALL)
    for file, converted in zip(photos.files, in_display_p3(photos).files, strict=True):
        with Image.open(BytesIO(file)) as plain, Image.open(BytesIO(converted)) as profiled:
            assert profiled.info["icc_profile"] == profile_of(12, 13)
            assert profiled.tobytes() == plain.tobytes()
