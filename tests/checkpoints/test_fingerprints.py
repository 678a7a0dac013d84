"""The index of networks by their tensors."""

import numpy as np
import pytest

from src.checkpoints.fingerprints import build_empty, entries_of, every_architecture, index, similar_architectures
from src.checkpoints.recognition.trunks import TRUNKS

SAMPLE = np.random.default_rng(0).choice(every_architecture(), 25, replace=False)


@pytest.mark.parametrize("architecture", SAMPLE)
def test_the_index_is_up_to_date(architecture: str) -> None:
    """Each network of the installed libraries is in the index; if not, run python -m src.checkpoints.fingerprints."""
    has = {
        f"{TRUNKS.index(entry.trunk)} {entry.count} {','.join(entry.sketch)}"
        for entry in index()
        if architecture in entry.architectures
    }
    assert set(entries_of(architecture).values()) == has != set()


def test_similar_networks_are_sorted_by_similarity() -> None:
    """Networks that share most tensors are found, the most similar first; unknown tensors match none."""
    tensors = dict(build_empty("torchvision/resnet34", 3).state_dict())
    del tensors["layer1.0.bn1.bias"]
    found = similar_architectures(tensors)
    assert "resnet34" in found[0]
    assert "torchvision/vit_b_16" not in found
    assert similar_architectures({"a": tensors["conv1.weight"]}) == ()


def test_torchvision_comes_first() -> None:
    """If several networks have the same tensors, torchvision's come before timm's."""
    together = [entry.architectures for entry in index() if "timm/resnet18" in entry.architectures]
    assert all(names[0].startswith("torchvision/") for names in together)
