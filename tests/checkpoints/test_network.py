"""Building networks, and loading tensors into them."""

import pytest
import torch
from torch import nn

from src.checkpoints.network import build, build_to_load
from src.checkpoints.tensors import load_weights
from src.errors import ModelError

SIZE = (224, 224)


def test_no_parameter_requires_a_gradient() -> None:
    """No parameter of a network that is built for serving requires a gradient."""
    assert not any(parameter.requires_grad for parameter in build("torchvision/resnet18", 3).parameters())


@pytest.mark.parametrize(
    "architecture",
    ["torchvision/resnet18", "torchvision/swin_t", "torchvision/mnasnet0_5", "timm/vit_relpos_small_patch16_224"],
)
def test_loading_a_network_does_not_draw_random_numbers(architecture: str) -> None:
    """build_to_load leaves the random generator alone, and the loaded network equals the saved one."""
    torch.manual_seed(0)
    network = build(architecture, 3)
    before = torch.get_rng_state()
    loaded = build_to_load(architecture, 3)
    assert torch.equal(torch.get_rng_state(), before)
    load_weights(loaded, dict(network.state_dict()))
    images = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        assert torch.equal(loaded(images), network(images))


def test_half_precision_weights_are_converted() -> None:
    """Half-precision weights get the network's own precision; those in the right one are not copied."""
    network = nn.Linear(3, 2)
    weights = {"weight": torch.ones(2, 3, dtype=torch.float16), "bias": torch.ones(2)}
    load_weights(network, weights)
    assert network.weight.dtype == torch.float32
    assert network.bias.data_ptr() == weights["bias"].data_ptr()


@pytest.mark.parametrize("architecture", ["resnet18", "torchvision/resnet", "timm/nothing", "torchvision/", ""])
def test_an_unknown_architecture_is_refused(architecture: str) -> None:
    """An unknown name is an error that shows the form."""
    with pytest.raises(ModelError, match="torchvision/<name> or timm/<name>"):
        build(architecture, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "0.bias is missing"),
        ({"1.weight": torch.zeros(2)}, "1.weight is not part of the network"),
        ({"0.weight": torch.zeros(2, 9)}, r"0.weight has the shape \(2, 9\) instead of \(2, 3\)"),
    ],
    ids=["missing", "surplus", "mis-shaped"],
)
def test_weights_must_fit_exactly(change: dict[str, torch.Tensor | None], message: str) -> None:
    """A tensor that is missing, surplus or of another shape is an error that names it."""
    network = nn.Sequential(nn.Linear(3, 2))
    weights = {**network.state_dict(), **change}
    with pytest.raises(ModelError, match=message):
        load_weights(network, {name: tensor for name, tensor in weights.items() if tensor is not None})


def test_many_faults_are_summed_up() -> None:
    """If many tensors are wrong, the error names the first ones and counts the rest."""
    network = nn.Sequential(*(nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(ModelError, match=r"0\.weight is missing; .* and 15 more"):
        load_weights(network, {})
