"""The calibration that a checkpoint of our own training carries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.checkpoints.carried import KEY, Carried, read_carried
from src.checkpoints.reading.weights_file import read_weights_file
from src.errors import ModelError
from src.stages.confidence import Familiarity
from src.stages.input_spec import InputSpec
from src.stages.learned import FamiliarityFigures, Learned
from src.stages.output_spec import OutputSpec

SPEC = InputSpec(resize=40, crop=(32, 32), interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))
FIGURES = FamiliarityFigures(threshold=30, false_alarms=0.02, images=90, layer="layer4")
CARRIED = Carried(
    SPEC,
    OutputSpec(temperature=0.75),
    frozenset({bytes(32), bytes(range(32))}),
    Learned(source="training", images=60, familiarity=FIGURES),
    Familiarity(
        np.array([0, 1, 2, 1]),
        np.array([1, 1, 1, -1], np.float32),
        np.eye(3, dtype=np.float32),
        np.ones((2, 3), np.float32),
    ),
)


ARRAYS: dict[str, Any] = CARRIED.plain()["familiarity"]


def stored(file: Path, said: object) -> Path:
    """Return ``file``, a checkpoint with this content beside its tensors."""
    torch.save({"state_dict": {"fc.weight": torch.ones(2, 4)}, KEY: said}, file)
    return file


def test_the_entry_is_read_as_written(tmp_path: Path) -> None:
    """It survives a file of plain tensors and containers, and leaves the network's tensors alone."""
    file = stored(tmp_path / "x.ckpt", CARRIED.plain())
    torch.load(file, weights_only=True)
    read = read_weights_file(file)
    assert set(read.tensors) == {"fc.weight"}
    again = read_carried(read.elsewhere)
    assert again is not None
    assert (again.input, again.output, again.learned_from, again.learned) == (
        *(CARRIED.input, CARRIED.output, CARRIED.learned_from, CARRIED.learned),
    )
    assert again.familiarity is not None
    assert CARRIED.familiarity is not None
    for name, array in CARRIED.familiarity.arrays().items():
        np.testing.assert_array_equal(again.familiarity.arrays()[name], array)


def test_digests_are_read_without_a_calibration(tmp_path: Path) -> None:
    """Digests are read without a calibration, and may be empty."""
    for digests in (CARRIED.learned_from, frozenset[bytes]()):
        file = stored(tmp_path / "x.ckpt", Carried(SPEC, OutputSpec(), digests).plain())
        assert read_carried(read_weights_file(file).elsewhere) == Carried(SPEC, OutputSpec(), digests)


def test_other_checkpoints_have_no_entry() -> None:
    """Without the entry, the result is None."""
    assert read_carried({"hyper_parameters": {}, "calibration": 1}) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"learned_from": torch.zeros(3, 31, dtype=torch.uint8)},
        {"learned_from": [1]},
        {"familiarity": {**ARRAYS, "whitening": torch.full((3, 3), torch.nan)}},
        {"familiarity": {**ARRAYS, "places": torch.tensor([0, 1, 2, 3])}},
        {"familiarity": {**ARRAYS, "means": torch.ones(2, 4)}},
        {"familiarity": {**ARRAYS, "signs": "text"}},
        {"familiarity": {**ARRAYS, "more": torch.ones(1)}},
        {"learned": {"source": "nowhere"}},
        {"input": None},
        {"output": {"temperature": -1}},
    ],
    ids=str,
)
def test_a_damaged_entry_is_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    """A damaged entry is an error, and is never used in part."""
    file = stored(tmp_path / "x.ckpt", CARRIED.plain() | damage)
    with pytest.raises(ModelError, match="calibration in the checkpoint is damaged"):
        read_carried(read_weights_file(file).elsewhere)
