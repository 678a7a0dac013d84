"""The photos are what their names say."""

from io import BytesIO

from PIL import Image

from tests.benchmarks.photos import SMALL, make_photos, resized_photo


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
