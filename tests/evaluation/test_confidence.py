"""Calibrating a model on the images of a check."""

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
    """Return the manifest of a model with these classes."""
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
    """Return ``count`` different digests."""
    return tuple(number.to_bytes(32) for number in range(count))


@pytest.fixture(scope="module")
def seen() -> tuple[Observations, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """The outputs of a weak model for 300 images, and their classes."""
    made = weak(np.random.default_rng(1), 300)
    return Observations(tuple(range(300)), made.logits, made.features, digests(300), ()), made.targets


def test_images_used_for_training_are_left_out(seen: tuple[Observations, np.ndarray]) -> None:
    """They are counted, and the result is the same as from the other images alone."""
    observed, targets = seen
    lesson = learn(observed, targets, manifest(), None, set(digests(120)))
    rest = Observations(*(tuple(range(180)), observed.logits[120:], observed.features[120:], digests(180), ()))
    alone = learn(rest, targets[120:], manifest(), None, ())
    assert (lesson.trained_on, alone.trained_on, len(lesson.samples)) == (120, 0, 180)
    assert lesson.calibrated is not None
    assert alone.calibrated is not None
    assert lesson.calibrated.learned == alone.calibrated.learned
    assert "120 images the model was trained on; 180 others remain" in "\n".join(lesson.lines())
    assert "; temperature" in "\n".join(lesson.lines())


def test_fewer_than_fifty_images_do_not_calibrate(seen: tuple[Observations, np.ndarray]) -> None:
    """The calibration in the checkpoint is kept, and the command reports both."""
    observed, targets = seen
    learned = Learned(source="training", images=60)
    lesson = learn(observed, targets, manifest(learned=learned), None, set(digests(251)))
    assert (lesson.calibrated, lesson.trained_on) == (None, 251)
    assert "needs 50 different images the model was not trained on, not 49; the calibration from training is kept" in (
        "\n".join(lesson.lines())
    )
    assert "is kept" not in "\n".join(learn(observed, targets, manifest(), None, set(digests(251))).lines())


def test_equal_images_count_once(seen: tuple[Observations, np.ndarray]) -> None:
    """Of files with the same bytes, only the first one counts."""
    observed, targets = seen
    same = Observations(observed.places, observed.logits, observed.features, digests(60) * 5, ())
    np.testing.assert_array_equal(learn(same, targets, manifest(), None, None).samples.targets, targets[:60])


def test_a_checkpoint_without_digests_is_reported(seen: tuple[Observations, np.ndarray]) -> None:
    """The command says that the training images are unknown, and the model's figures omit their number."""
    lesson = learn(*seen, manifest(), None, None)
    assert lesson.figures == {}
    assert "not known" in next(lesson.lines())


def test_images_of_classes_with_the_same_name_are_left_out(seen: tuple[Observations, np.ndarray]) -> None:
    """It is unknown which of these classes such an image belongs to."""
    observed, targets = seen
    lesson = learn(observed, targets, manifest(("a", "b", "a", "c", "d", "e")), None, None)
    assert set(lesson.samples.targets) == {1, 3, 4, 5}
    assert set(targets) == set(range(CLASSES))


def test_a_multi_label_model_learns_familiarity(seen: tuple[Observations, np.ndarray]) -> None:
    """All images belong to its single class; classes may share a name."""
    observed, targets = seen
    several = manifest(("a", "b", "a", "c", "d", "e")).model_copy(update={"output": OutputSpec(kind="multilabel")})
    lesson = learn(observed, 0 * targets, several, None, set(digests(40)))
    assert lesson.calibrated is not None
    assert (lesson.calibrated.learned.images, lesson.calibrated.learned.sets) == (260, None)
    assert [line.split()[0] for line in lesson.lines()] == ["left", "familiar"]
