"""The model of a measurement."""

from pathlib import Path
from typing import Any

import pytest

import save_model
from src.store import bundle
from tests.benchmarks.stored import stored_for


def test_a_measured_model_does_not_replace_the_served_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a name of its own, and image_recognition:latest remains what it was."""
    stored: list[list[str]] = []
    loaded: Any = object()

    def save(options: list[str]) -> int:
        stored.append(options)
        return 0

    monkeypatch.setattr(save_model, "main", save)
    monkeypatch.setattr(bundle, "load", {"pointing:latest": loaded}.__getitem__)
    assert stored_for("pointing", Path("best.ckpt")) is loaded
    assert stored == [["best.ckpt", "--name", "pointing"]]


def test_a_refused_checkpoint_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other model is measured in its place."""
    monkeypatch.setattr(save_model, "main", lambda _: 2)
    monkeypatch.setattr(bundle, "load", lambda tag: pytest.fail(f"{tag} was loaded"))
    with pytest.raises(SystemExit) as ended:
        stored_for("pointing", Path("damaged.ckpt"))
    assert ended.value.code == 2
