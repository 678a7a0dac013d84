"""What a model learns from the images of a check, and from which of them."""

import numpy as np
import pytest

from src.evaluation.confidence import learn
from src.evaluation.observations import Observations
from src.stages.features import FeatureLayout
from src.stages.input_spec import InputSpec
from src.stages.learned import Learned
from src.stages.output_spec import OutputSpec
from src.store.manifest import Manifest
from tests.calibration.test_calibrate import CLASSES, weak


def manifest(labels: tuple[str, ...] = tuple("abcdef"), learned: Learned | None = None) -> Manifest:
    """Return that of a model of so many classes."""
    return Manifest(
        schema_version=3,
        architecture="test/weak",
        labels=labels,
        input=InputSpec(resize=40, crop=(32, 32), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)),
        layer="layer",
        features=FeatureLayout(axes="NKhw", channels=20, height=7, width=7),
        runtime="openvino",
        head="closed_form",
        torch="",
        learned=learned,
        sha256={},
    )


def digests(count: int) -> tuple[bytes, ...]:
    """Return as many different digests."""
    return tuple(number.to_bytes(32) for number in range(count))


@pytest.fixture(scope="module")
def seen() -> tuple[Observations, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """What a weak model makes of 300 images, and their classes."""
    made = weak(np.random.default_rng(1), 300)
    return Observations(tuple(range(300)), made.logits, made.features, digests(300), ()), made.targets


def test_images_that_it_was_trained_on_are_left_out(seen: tuple[Observations, np.ndarray]) -> None:
    """They are counted, and what is learned is what the others alone would have shown."""
    observed, targets = seen
    lesson = learn(observed, targets, manifest(), None, set(digests(120)))
    rest = Observations(*(tuple(range(180)), observed.logits[120:], observed.features[120:], digests(180), ()))
    alone = learn(rest, targets[120:], manifest(), None, ())
    assert (lesson.trained_on, alone.trained_on, len(lesson.samples)) == (120, 0, 180)
    assert lesson.calibrated is not None
    assert alone.calibrated is not None
    assert lesson.calibrated.learned == alone.calibrated.learned
    assert "120 images that it was trained on; 180 others to learn" in "\n".join(lesson.lines())
    assert "; temperature" in "\n".join(lesson.lines())


def test_fewer_than_fifty_images_teach_nothing(seen: tuple[Observations, np.ndarray]) -> None:
    """Then what the checkpoint says of its calibration stays, and the command says both."""
    observed, targets = seen
    learned = Learned(source="training", images=60)
    lesson = learn(observed, targets, manifest(learned=learned), None, set(digests(251)))
    assert (lesson.calibrated, lesson.trained_on) == (None, 251)
    assert "needs 50 different images that it was not trained on, not 49: that of its training stays" in (
        "\n".join(lesson.lines())
    )
    assert "stays" not in "\n".join(learn(observed, targets, manifest(), None, set(digests(251))).lines())


def test_equal_images_count_once(seen: tuple[Observations, np.ndarray]) -> None:
    """Of files with the same bytes the first alone is learned from."""
    observed, targets = seen
    same = Observations(observed.places, observed.logits, observed.features, digests(60) * 5, ())
    np.testing.assert_array_equal(learn(same, targets, manifest(), None, None).samples.targets, targets[:60])


def test_of_a_foreign_checkpoint_it_is_not_known_what_it_was_trained_on(seen: tuple[Observations, np.ndarray]) -> None:
    """Where a checkpoint says no digests the command says so, and the model too."""
    lesson = learn(*seen, manifest(), None, None)
    assert lesson.figures == {}
    assert "not known" in next(lesson.lines())


def test_classes_that_share_their_name_teach_nothing(seen: tuple[Observations, np.ndarray]) -> None:
    """Nobody knows of which of them an image is."""
    observed, targets = seen
    lesson = learn(observed, targets, manifest(("a", "b", "a", "c", "d", "e")), None, None)
    assert set(lesson.samples.targets) == {1, 3, 4, 5}
    assert set(targets) == set(range(CLASSES))


def test_a_multi_label_model_learns_what_is_familiar(seen: tuple[Observations, np.ndarray]) -> None:
    """All images are of its one class of everything; classes may share a name."""
    observed, targets = seen
    several = manifest(("a", "b", "a", "c", "d", "e")).model_copy(update={"output": OutputSpec(kind="multilabel")})
    lesson = learn(observed, 0 * targets, several, None, set(digests(40)))
    assert lesson.calibrated is not None
    assert (lesson.calibrated.learned.images, lesson.calibrated.learned.sets) == (260, None)
    assert [line.split()[0] for line in lesson.lines()] == ["left", "familiar"]
