"""The default network."""

import torch

from src.checkpoints.default import default_checkpoint
from src.checkpoints.network import build


def test_the_default_is_efficientnet_lite0_with_imagenets_classes() -> None:
    """The network is timm's, and there are 1,000 different labels."""
    checkpoint = default_checkpoint()
    assert checkpoint.architecture == "timm/tf_efficientnet_lite0"
    assert len(set(checkpoint.labels)) == 1000
    assert checkpoint.network.state_dict().keys() == build(checkpoint.architecture, 1000).state_dict().keys()


def test_the_input_is_timms() -> None:
    """Size, filter, mean and standard deviation are those of timm's published configuration."""
    published = build("timm/tf_efficientnet_lite0", 1000).default_cfg
    spec = default_checkpoint().input
    assert isinstance(published, dict)
    assert (3, *spec.crop) == published["input_size"]
    assert spec.resize == spec.crop[0] / published["crop_pct"]
    assert (spec.interpolation, spec.mean, spec.std) == (
        published["interpolation"],
        published["mean"],
        published["std"],
    )


def test_the_weights_are_trained() -> None:
    """The weights are real: no tensor is constant that training would have changed."""
    weights = default_checkpoint().network.state_dict()
    assert all(torch.unique(tensor).numel() > 1 for name, tensor in weights.items() if name.endswith("weight"))
