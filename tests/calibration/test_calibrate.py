"""Calibrating a deliberately weak model."""

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
    """Return the outputs of a network that is right for two of three images, with logits twice too large."""
    targets = rng.integers(0, CLASSES, images)
    evidence = rng.normal(0, 1, (images, CLASSES)) + 1.6 * np.eye(CLASSES)[targets]
    features = 10 + 3 * np.eye(CLASSES, WIDTH)[targets] + rng.normal(0, 1, (images, WIDTH))
    return Samples((3.2 * evidence).astype(np.float32), features.astype(np.float32), targets)


@pytest.mark.parametrize("coverage", [80, 90, 95])
def test_prediction_sets_contain_the_class_as_often_as_requested(coverage: int, rng: np.random.Generator) -> None:
    """The coverage is within two percent of the requested one, as measured and on new images."""
    seen, new = weak(rng, 2500), weak(rng, 5000)
    calibrated = calibrate(seen, PLAIN, "check", "layer", coverage)
    sets = calibrated.learned.sets
    assert sets is not None
    held = in_set(calibrated.output.percents(new.logits) / 100, sets.threshold)
    assert sets.coverage == coverage
    assert abs(sets.measured - coverage / 100) < 0.02
    assert abs(held[np.arange(len(new)), new.targets].mean() - coverage / 100) < 0.02
    assert held.sum(axis=1).mean() == pytest.approx(sets.mean_size, rel=0.05)


def test_percentages_of_a_weak_model_are_calibrated(rng: np.random.Generator) -> None:
    """The model was far too confident; on images not used for fitting, its error is then at most two percent."""
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


def test_no_image_is_measured_with_a_fit_to_itself(rng: np.random.Generator) -> None:
    """Each fifth of the images gets the temperature and the threshold that were fitted to the others."""
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


def test_no_image_is_familiar_because_of_itself(rng: np.random.Generator) -> None:
    """The threshold is the bound of the distances from Gaussians that were fitted without the image's own fifth."""
    seen = weak(rng, 150)
    apart = np.empty(150)
    for part in folds(seen.targets):
        apart[part] = distances(
            fit_familiarity(seen.features[~part], seen.targets[~part], CLASSES), seen.features[part]
        )
    figures = calibrate(seen, PLAIN, "check", "layer").learned.familiarity
    assert figures is not None
    assert figures.threshold == tolerance_bound(apart, 0.975, 0.9)


def test_images_of_the_classes_are_familiar_and_others_are_not(rng: np.random.Generator) -> None:
    """Under 3 % of new images of the classes are unfamiliar, but over 98 % of others, with given or new Gaussians."""
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


def test_what_too_few_images_cannot_teach_is_reported(rng: np.random.Generator) -> None:
    """Familiarity needs images of every class, sets of 99 % over 99 images; the temperature is learned all the same."""
    seen = weak(rng, 80)
    calibrated = calibrate(seen.take(seen.targets > 0), PLAIN, "check", "layer", 99)
    assert calibrated.learned.calibration is not None
    assert (calibrated.learned.sets, calibrated.learned.familiarity, calibrated.familiarity) == (None, None, None)
    assert "99 % coverage need more than" in calibrated.remarks[0]
    assert "10 different images of each class" in calibrated.remarks[1]


def test_a_multi_label_model_learns_only_familiarity(rng: np.random.Generator) -> None:
    """Its output does not change, nor do its thresholds."""
    seen = weak(rng, 200)
    output = OutputSpec(kind="multilabel", thresholds=(0.4,) * CLASSES)
    calibrated = calibrate(Samples(seen.logits, seen.features, 0 * seen.targets), output, "check", "layer")
    assert calibrated.output == output
    assert (calibrated.learned.calibration, calibrated.learned.sets, calibrated.remarks) == (None, None, ())
    assert calibrated.familiarity is not None
    assert calibrated.familiarity.means.shape == (1, WIDTH)


def test_every_image_is_in_one_part_and_each_part_has_its_share_of_each_class() -> None:
    """The five parts contain every image once; a class of eleven images has two or three in each."""
    targets = np.repeat([0, 1], [39, 11])
    parts = np.stack(list(folds(targets)))
    np.testing.assert_array_equal(parts.sum(axis=0), 1)
    assert set(parts[:, targets == 1].sum(axis=1)) == {2, 3}


def test_the_most_likely_class_is_always_in_the_set() -> None:
    """If no class reaches the threshold, the set is the most likely class; otherwise it is sorted by probability."""
    logits = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    assert prediction_set(logits, PLAIN, 0.9) == (1,)
    assert prediction_set(logits, PLAIN, 0.25) == (1, 2)
    assert prediction_set(logits, PLAIN, 0.0) == (1, 2, 0)
