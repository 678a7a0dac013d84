"""All that a model learns of its answers, on the images of a deliberately weak one."""

import numpy as np
import pytest

from src.calibration.calibrate import Known, calibrate
from src.calibration.familiarity import distances, fit_familiarity
from src.calibration.quantile import tolerance_bound
from src.calibration.samples import Samples, folds
from src.calibration.temperature import fit_temperature
from src.stages.confidence import in_set, prediction_set
from src.stages.output_spec import OutputSpec

CLASSES, WIDTH = 6, 20
PLAIN = OutputSpec()


def weak(rng: np.random.Generator, images: int) -> Samples:
    """Return what a network makes of images that is right in two of three, and twice as sure as it may be."""
    targets = rng.integers(0, CLASSES, images)
    evidence = rng.normal(0, 1, (images, CLASSES)) + 1.6 * np.eye(CLASSES)[targets]
    features = 10 + 3 * np.eye(CLASSES, WIDTH)[targets] + rng.normal(0, 1, (images, WIDTH))
    return Samples((3.2 * evidence).astype(np.float32), features.astype(np.float32), targets)


@pytest.mark.parametrize("coverage", [80, 90, 95])
def test_sets_hold_the_class_as_often_as_asked(coverage: int, rng: np.random.Generator) -> None:
    """Sets of a weak model cover what was asked, to two percent: as measured, and on images that are new."""
    seen, new = weak(rng, 2500), weak(rng, 5000)
    calibrated = calibrate(seen, PLAIN, "check", "layer", coverage)
    sets = calibrated.learned.sets
    assert sets is not None
    held = in_set(calibrated.output.percents(new.logits) / 100, sets.threshold)
    assert sets.coverage == coverage
    assert abs(sets.measured - coverage / 100) < 0.02
    assert abs(held[np.arange(len(new)), new.targets].mean() - coverage / 100) < 0.02
    assert held.sum(axis=1).mean() == pytest.approx(sets.mean_size, rel=0.05)


def test_percentages_of_a_weak_model_mean_what_they_say(rng: np.random.Generator) -> None:
    """It was far too sure; on images that are not used for fitting it is off by at most two percent, then."""
    calibrated = calibrate(weak(rng, 3000), PLAIN, "training", "layer")
    figures = calibrated.learned.calibration
    assert figures is not None
    assert figures.error_before > 0.1
    assert figures.error_after < 0.02
    assert sum(one.images for one in figures.reliability) == 3000
    apart = sum(one.images * abs(one.said - one.right) for one in figures.reliability) / 3000
    assert apart == pytest.approx(figures.error_after)
    assert calibrated.output.temperature == pytest.approx(2, rel=0.1)
    assert calibrated.learned.source == "training"


def test_no_image_is_judged_by_a_fit_to_it(rng: np.random.Generator) -> None:
    """Each fifth of the images is divided by the temperature of the others, and its sets are by their threshold."""
    seen = weak(rng, 60)
    calibrated = calibrate(seen, PLAIN, "check", "layer")
    held = 0
    for part in folds(seen.targets):
        temperature = fit_temperature(seen.logits[~part], seen.targets[~part])
        np.testing.assert_allclose(calibrated.unseen[part], seen.logits[part] / temperature, rtol=1e-5)
        likely = PLAIN.percents(seen.logits / temperature)[np.arange(60), seen.targets]
        least = np.sort(likely[~part])[::-1][int(np.ceil(0.9 * ((~part).sum() + 1))) - 1]
        highest = PLAIN.percents(seen.logits / temperature).max(axis=1)
        held += (likely[part] >= np.minimum(least * (1 - 1e-6), highest[part])).sum()
    assert calibrated.learned.sets is not None
    assert calibrated.learned.sets.measured == held / 60


def test_no_image_is_found_familiar_by_itself(rng: np.random.Generator) -> None:
    """The threshold is the bound of distances from where the classes lie without the image's own fifth."""
    seen = weak(rng, 150)
    apart = np.empty(150)
    for part in folds(seen.targets):
        apart[part] = distances(
            fit_familiarity(seen.features[~part], seen.targets[~part], CLASSES), seen.features[part]
        )
    figures = calibrate(seen, PLAIN, "check", "layer").learned.familiarity
    assert figures is not None
    assert figures.threshold == tolerance_bound(apart, 0.975, 0.9)


def test_strangers_are_unfamiliar_and_the_classes_familiar(rng: np.random.Generator) -> None:
    """Of new images of its classes at most one in forty is unfamiliar, of others most; whatever shows its classes."""
    seen, new, taught = weak(rng, 800), weak(rng, 4000), weak(rng, 500)
    strangers = 10 + 9 * np.eye(CLASSES, WIDTH, 10)[new.targets] + rng.normal(0, 1, (4000, WIDTH))
    fitted = fit_familiarity(taught.features, taught.targets, CLASSES)
    for known in (Known(fitted, 500, "layer"), "layer"):
        calibrated = calibrate(seen, PLAIN, "check", known)
        figures, familiarity = calibrated.learned.familiarity, calibrated.familiarity
        assert figures is not None
        assert familiarity is not None
        assert (figures.layer, figures.images) == ("layer", 800 if known == "layer" else 500)
        assert figures.false_alarms < 0.03
        assert (distances(familiarity, new.features) > figures.threshold).mean() < 0.03
        assert (distances(familiarity, strangers.astype(np.float32)) > figures.threshold).mean() > 0.98


def test_a_model_without_images_of_a_class_says_what_it_could_not_learn(rng: np.random.Generator) -> None:
    """Familiarity needs images of every class, sets of 99 % more than 99 images; temperature and reasons are there."""
    seen = weak(rng, 80)
    calibrated = calibrate(seen.take(seen.targets > 0), PLAIN, "check", "layer", 99)
    assert calibrated.learned.calibration is not None
    assert (calibrated.learned.sets, calibrated.learned.familiarity, calibrated.familiarity) == (None, None, None)
    assert "99 % coverage need more than" in calibrated.remarks[0]
    assert "10 different images of each class" in calibrated.remarks[1]


def test_a_multi_label_model_learns_what_is_familiar_alone(rng: np.random.Generator) -> None:
    """Its outputs stay as they are, thresholds included."""
    seen = weak(rng, 200)
    output = OutputSpec(kind="multilabel", thresholds=(0.4,) * CLASSES)
    calibrated = calibrate(Samples(seen.logits, seen.features, 0 * seen.targets), output, "check", "layer")
    assert calibrated.output == output
    assert (calibrated.learned.calibration, calibrated.learned.sets, calibrated.remarks) == (None, None, ())
    assert calibrated.familiarity is not None
    assert calibrated.familiarity.means.shape == (1, WIDTH)


def test_every_image_is_judged_once_and_each_part_has_its_share_of_each_class() -> None:
    """The five parts are all images, none twice; a class of eleven images has two or three in each."""
    targets = np.repeat([0, 1], [39, 11])
    parts = np.stack(list(folds(targets)))
    np.testing.assert_array_equal(parts.sum(axis=0), 1)
    assert set(parts[:, targets == 1].sum(axis=1)) == {2, 3}


def test_the_most_likely_class_is_always_in_the_set() -> None:
    """Where no class reaches the threshold the set is the most likely one; else it is sorted by probability."""
    logits = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    assert prediction_set(logits, PLAIN, 0.9) == (1,)
    assert prediction_set(logits, PLAIN, 0.25) == (1, 2)
    assert prediction_set(logits, PLAIN, 0.0) == (1, 2, 0)
