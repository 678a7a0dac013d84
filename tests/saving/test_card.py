"""The card of a stored model."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

import save_model
from src.evaluation.explanations import Faithfulness
from src.evaluation.faithfulness import Measures
from src.options import Method
from src.saving.card import card
from src.stages.learned import Learned
from src.store.bundle import Bundle
from src.store.files import WEIGHTS
from tests.test_pipeline import red_pipeline

MEASURES = Measures(deletion=0.1, insertion=0.9, road=0.5, drop=0.1, increase=0.5, randomized=0.02)
CHECK = {
    "images": 7,
    "accuracy": 5 / 7,
    "recall": {"red": 3 / 4, "blue|green": 2 / 3},
    "confusion": {"classes": ["red", "blue|green"], "counts": [[3, 1, 0], [0, 2, 1]]},
    "digest": "ab" * 32,
    "faithfulness": Faithfulness(6, dict.fromkeys(Method, MEASURES)).figures(),
}


def _bundle() -> Bundle:
    manifest = red_pipeline().manifest.model_copy(update={"sha256": {WEIGHTS: "cd" * 32}})
    return Bundle("colors:1", manifest, Path("nowhere"), CHECK)


def _read(text: str) -> ModelCardData:
    """Return the metadata that the hub's own reader finds in the YAML of a card."""
    data: dict[str, Any] = yaml.safe_load(ModelCard(text).content.split("---")[1])
    return ModelCardData(**data, ignore_metadata_errors=False)


def test_the_hub_reads_the_card() -> None:
    """The hub's own reader finds the accuracy, and the number and digest of the images that it was measured on."""
    found = _read(card(_bundle()))
    assert found.eval_results
    (result,) = found.eval_results
    assert (found.model_name, found.pipeline_tag) == ("colors", "image-classification")
    assert (result.metric_type, result.metric_value) == ("accuracy", 5 / 7)
    assert (result.dataset_name, result.dataset_type) == ("7 labeled images", f"sha256-{'ab' * 32}")


def test_the_card_describes_model_input_check_and_explanations() -> None:
    """It has tag, classes, preprocessing and the figures of the check and each method; bars do not break its tables."""
    text = card(_bundle())
    for part in (
        *("# colors:1", "`test/red`", "2: red, blue", "Grad-CAM layer: `1`; exact", "Crop: `[96, 96]`", "cd" * 32),
        *("accuracy 71.43%", "| red | 75.00% |", "| blue\\|green | 0 | 2 | 1 |", "Not calibrated"),
        *("Measured on 6 images", "`gradcam` has the best", "| `layercam` | 0.100 | 0.900 |"),
    ):
        assert part in text, part
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 4 + 4 + 2 + len(Method)


def test_without_a_check_the_card_has_no_figures() -> None:
    """The card of an unchecked model says so, and reports no results to the hub."""
    text = card(replace(_bundle(), check={}))
    assert "Not checked on labeled images" in text
    assert _read(text).eval_results is None


def test_a_class_that_was_never_recognized_has_no_precision() -> None:
    """The check of a multi-label model has no precision for such a class, and the card shows a dash for it."""
    figures = {"recall": {"red": 0.5, "blue": 0.0}, "precision": {"red": 1.0}}
    check = {"images": 7, "accuracy": 0.5, **figures, "average_precision": {"red": 0.75, "blue": 0.25}}
    text = card(replace(_bundle(), check=check))
    assert "| class | recall | precision | average precision |" in text
    assert "| red | 50.00% | 100.00% | 75.00% |\n| blue | 0.00% | - | 25.00% |" in text


def test_the_card_says_how_many_images_the_model_was_trained_on() -> None:
    """The accuracy on these says little."""
    text = card(replace(_bundle(), check={**CHECK, "trained_on": 3}))
    assert "accuracy 71.43%. It was trained on 3 of these images.\n" in text
    assert "trained on" not in card(replace(_bundle(), check={**CHECK, "trained_on": 0}))


def test_the_card_shows_the_calibration() -> None:
    """The card lists the calibration's figures, and a table of confidence and accuracy."""
    bins = [{"said": 0.9, "right": 0.8, "images": 3}]
    calibration = {"folds": 5, "error_before": 0.1, "error_after": 0.02, "reliability": bins}
    learned = Learned.model_validate({"source": "check", "images": 60, "calibration": calibration})
    bundle = _bundle()
    text = card(replace(bundle, manifest=bundle.manifest.model_copy(update={"learned": learned})))
    assert "- Calibration: error after: 0.02" in text
    assert "| 90.0% | 80.0% |" in text


def test_the_command_prints_the_card(stored_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--card prints the card of a model in the store and nothing else; a missing model is an error that names it."""
    assert save_model.main(["--card", f"{stored_model}:latest"]) == 0
    assert _read(capsys.readouterr().out).library_name == "bentoml"
    assert save_model.main(["--card", "nothing:1"]) == 2
    assert "nothing:1" in capsys.readouterr().err


def test_every_measure_has_a_column() -> None:
    """The card's table of explanations has a column for each measure."""
    assert f"| method | {' | '.join(asdict(MEASURES))} |" in card(_bundle())
