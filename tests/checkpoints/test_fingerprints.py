"""The index of networks by the names of their tensors."""

import numpy as np
import pytest

from src.checkpoints.fingerprints import (
    architectures_with,
    build_empty,
    every_architecture,
    fingerprint,
    similar_architectures,
)

SAMPLE = np.random.default_rng(0).choice(every_architecture(), 25, replace=False)


@pytest.mark.parametrize("architecture", SAMPLE)
def test_the_index_is_up_to_date(architecture: str) -> None:
    """A network of the installed libraries is found by its tensors; if not: python -m src.checkpoints.fingerprints."""
    assert architecture in architectures_with(build_empty(architecture, 3).state_dict())


def test_the_order_of_names_does_not_matter() -> None:
    """The same names in another order are the same network."""
    assert fingerprint(["b", "a"]) == fingerprint(["a", "b"]) != fingerprint(["a"])


def test_similar_networks_come_by_similarity() -> None:
    """Networks that share most names are found, the likest first; names of no network are like none."""
    names = set(build_empty("torchvision/resnet34", 3).state_dict()) - {"fc.bias"}
    found = similar_architectures(names)
    assert "resnet34" in found[0]
    assert "torchvision/vit_b_16" not in found
    assert similar_architectures(["a", "b"]) == ()


def test_torchvision_comes_first() -> None:
    """Where several networks have the same names, torchvision's come before timm's."""
    found = architectures_with(build_empty("timm/resnet18", 3).state_dict())
    assert found[0].startswith("torchvision/")
