"""How sure an answer is, from what a checkpoint says or a check shows to the answer itself."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import save_model
from src.api.schemas.model import ModelResponse
from src.calibration.familiarity import distances, fit_familiarity
from src.checkpoints.carried import Carried
from src.conversion.draft import Draft
from src.conversion.verify import Agreement, Verification
from src.errors import ModelError
from src.evaluation.observations import Observations, observe
from src.options import Options
from src.pipeline import Pipeline
from src.runtimes.select import start
from src.saving.learning import learn_from, take_over
from src.stages.decode import DecodeLimits
from src.stages.learned import FamiliarityFigures, Learned, PredictionSets
from src.stages.output_spec import OutputSpec
from src.store.bundle import Bundle
from src.store.files import FAMILIARITY, checked_manifest
from tests.api.test_endpoints import answered, endpoints, request
from tests.files import saved
from tests.test_service import b64

LAYOUT = Path(__file__).parent / "store" / "layout_3"


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """A tiny stored model of buses and cars, about to be stored anew."""
    folder = tmp_path / "model"
    shutil.copytree(LAYOUT, folder)
    return Draft(folder, checked_manifest(folder), Verification(0, 0), Agreement(0, 0))


def pipeline(draft: Draft) -> Pipeline:
    """Return what answers for the model as it lies in its folder."""
    bundle = Bundle("tiny:1", checked_manifest(draft.folder), draft.folder)
    running = start(draft.folder, bundle.manifest, threads=1, device="cpu")
    return Pipeline(bundle.manifest, running, DecodeLimits(), bundle.familiarity)


def noise(rng: np.random.Generator, mean: tuple[int, int, int] = (120, 120, 120)) -> bytes:
    """Return an image of noise around this color."""
    pixels = rng.normal(mean, 25, (20, 20, 3)).clip(0, 255).astype(np.uint8)
    return saved(Image.fromarray(pixels))


def observations(draft: Draft, folder: Path, rng: np.random.Generator) -> Observations:
    """Return what the model makes of 60 gray images, which are written to ``folder``."""
    files = [folder / f"{number}.png" for number in range(60)]
    for file in files:
        file.write_bytes(noise(rng))
    return observe(pipeline(draft), files, folder)


@pytest.fixture
def seen(draft: Draft, tmp_path: Path, rng: np.random.Generator) -> Observations:
    """What it makes of 60 gray images."""
    return observations(draft, tmp_path, rng)


def carried(draft: Draft, seen: Observations) -> Carried:
    """Return what its checkpoint might say: everything was learned, from the last of the images."""
    familiarity = fit_familiarity(seen.features, np.arange(60) % 2, 2)
    figures = FamiliarityFigures(
        threshold=float(distances(familiarity, seen.features).max()), false_alarms=0, images=60, layer="1"
    )
    sets = PredictionSets(coverage=80, threshold=0.3, measured=0.8, mean_size=1.5)
    learned = Learned(source="training", images=55, sets=sets, familiarity=figures)
    output = OutputSpec(temperature=4)
    return Carried(draft.manifest.input, output, frozenset(seen.digests[:3]), learned, familiarity)


def asked(model: Pipeline, data: bytes) -> Any:
    """Return the answer of the service with this model."""
    body = json.dumps({"img": b64(data), "gradcam": False}).encode()
    return json.loads(bytes(answered(endpoints(model).json, request(body)).body))


def test_what_the_checkpoint_says_is_stored_and_served(
    draft: Draft, seen: Observations, rng: np.random.Generator
) -> None:
    """Temperature, sets and what is familiar are in the answer; of a model without any of it confidence is null."""
    data, stranger = noise(rng), noise(rng, (250, 0, 0))
    plain = asked(pipeline(draft), data)
    assert plain["confidence"] is None
    taken, said = take_over(draft, carried(draft, seen))
    assert said is not None
    assert "prediction sets, familiarity, learned in its training from 55 held-out images" in said
    assert taken.manifest == checked_manifest(draft.folder)
    answer = asked(pipeline(taken), data)
    logits = pipeline(taken).evaluate(data).logits / 4
    likely = 100 * np.exp(logits) / np.exp(logits).sum()
    assert [score["prob"] for score in answer["detail"]] == pytest.approx(sorted(likely, reverse=True), abs=1e-3)
    assert [score["class"] for score in answer["detail"]] == [score["class"] for score in plain["detail"]]
    held = [score["class"] for score in answer["detail"] if score["prob"] >= 30]
    assert answer["confidence"] == {"familiar": True, "set": held, "coverage": 80}
    assert asked(pipeline(taken), stranger)["confidence"]["familiar"] is False
    described = ModelResponse.of(Bundle("tiny:1", taken.manifest, taken.folder), pipeline(taken).runtime)
    assert described.output.temperature == 4
    assert (described.calibrated, described.learned) == (False, taken.manifest.learned)


@pytest.mark.parametrize("change", ["input", "output", "layer", "width", "nothing learned"])
def test_what_was_learned_of_another_network_is_not_taken_over(draft: Draft, seen: Observations, change: str) -> None:
    """Other preparation or outputs make all of it void, another layer what is familiar."""
    said = carried(draft, seen)
    assert said.learned is not None
    assert said.learned.familiarity is not None
    assert said.familiarity is not None
    other_layer = said.learned.familiarity.model_copy(update={"layer": "0"})
    others = {
        "input": replace(said, input=said.input.model_copy(update={"mean": (0.1, 0.1, 0.1)})),
        "output": replace(said, output=OutputSpec(kind="binary")),
        "layer": replace(said, learned=said.learned.model_copy(update={"familiarity": other_layer})),
        "width": replace(
            said, familiarity=fit_familiarity(np.pad(seen.features, ((0, 0), (0, 1))), np.arange(60) % 2, 2)
        ),
        "nothing learned": replace(said, learned=None, familiarity=None),
    }
    taken, words = take_over(draft, others[change])
    assert not (draft.folder / FAMILIARITY).exists()
    if change in {"layer", "width"}:
        assert taken.manifest.learned == said.learned.model_copy(update={"familiarity": None})
        assert words is not None
        assert "familiarity" not in words
    else:
        assert taken is draft
        assert (words is None) == (change == "nothing learned")
    pipeline(taken)


def test_a_check_takes_the_place_of_what_was_learned_in_training(draft: Draft, seen: Observations) -> None:
    """With 57 other images the model learns anew, but for where its classes lie; the folder holds what is served."""
    said = carried(draft, seen)
    taken, _ = take_over(draft, said)
    checked, lesson = learn_from(seen, np.arange(60) % 2, taken, said, 75)
    learned = checked.manifest.learned
    assert learned is not None
    assert (learned.source, learned.images, lesson.figures) == ("check", 57, {"trained_on": 3})
    assert learned.sets is not None
    assert learned.sets.coverage == 75
    assert learned.familiarity is not None
    assert learned.familiarity.images == 60
    assert checked.manifest == checked_manifest(draft.folder)
    assert checked.manifest.output.temperature not in {1, 4}
    answer = pipeline(checked).recognize(noise(np.random.default_rng(5)), Options())
    assert answer.confidence is not None
    assert answer.confidence.coverage == 75


def test_without_enough_other_images_that_of_the_training_stays(draft: Draft, seen: Observations) -> None:
    """Of 60 images 50 and more are needed: with fewer the folder stays as it is."""
    said = replace(carried(draft, seen), learned_from=frozenset(seen.digests[:11]))
    taken, _ = take_over(draft, said)
    checked, lesson = learn_from(seen, np.arange(60) % 2, taken, said, None)
    assert checked is taken
    assert lesson.kept


def test_the_command_prints_what_a_check_teaches(
    draft: Draft,
    tmp_path: Path,
    rng: np.random.Generator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind accuracy and confusion stand calibration, sets and familiarity; the diagram is drawn, the folder ready."""
    monkeypatch.chdir(tmp_path)
    for label in ("bus", "car"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(30):
            (tmp_path / "images" / label / f"{number}.png").write_bytes(noise(rng))
    checked, figures = save_model._check(draft, tmp_path / "images", None, 80)
    said = capsys.readouterr().out
    for part in (
        "trained on    not known",
        "of 60 images are right; temperature",
        "(80 % requested)",
        "familiar      ",
    ):
        assert part in said
    assert (tmp_path / "images-reliability.png").stat().st_size > 10_000
    assert (figures["images"], "trained_on" in figures) == (60, False)
    assert checked.manifest == checked_manifest(draft.folder)
    assert checked.manifest.learned is not None


def test_a_coverage_without_prediction_sets_is_refused(draft: Draft, tmp_path: Path) -> None:
    """A multi-label model has none, so --coverage would have no effect; nothing is measured before."""
    several = draft.with_output(OutputSpec(kind="multilabel"))
    with pytest.raises(ModelError, match="--coverage has no effect on it: omit it"):
        save_model._check(several, tmp_path, None, 90)
