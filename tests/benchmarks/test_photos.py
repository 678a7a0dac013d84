"""The photos of the benchmark."""

from io import BytesIO

from PIL import Image

from src.stages.decode.cicp import profile_of
from tests.benchmarks.photos import SMALL, in_display_p3, make_photos, resized_photo


def test_small_photos_have_about_12_kb() -> None:
    """All have the same dimensions, and the same bytes in every run."""
    photos = make_photos(SMALL)
    sizes = {Image.open(BytesIO(file)).size for file in photos.files}
    assert sizes == {(photos.width, photos.height)} == {(451, 300)}
    assert all(10_000 < len(file) < 14_000 for file in photos.files)
    assert photos == make_photos(SMALL)


def test_a_resized_photo_has_the_requested_megapixels() -> None:
    """Its aspect ratio is 4:3."""
    width, height = Image.open(BytesIO(resized_photo(0.5))).size
    assert abs(width * height / 0.5e6 - 1) < 0.01
    assert abs(width / height - 4 / 3) < 0.01


def test_photos_in_display_p3_differ_only_in_the_profile() -> None:
    """Their pixels do not change."""
    photos = make_photos(SMALL)
    for file, converted in zip(photos.files, in_display_p3(photos).files, strict=True):
        with Image.open(BytesIO(file)) as plain, Image.open(BytesIO(converted)) as profiled:
            assert profiled.info["icc_profile"] == profile_of(12, 13)
            assert profiled.tobytes() == plain.tobytes()
