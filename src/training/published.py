"""Start training from the weights that torchvision or timm published."""

from typing import Final

import timm
import torch
from torch import nn
from torchvision import models

from src.checkpoints.network import build
from src.errors import ModelError

__all__ = ["first_layers", "published_network"]

_MOST_FROZEN: Final = 0.5  # of all weights; the layers that distinguish the classes must learn


def published_network(architecture: str, num_classes: int) -> nn.Module:
    """Return the network with its published weights, except for the last layer, in eval mode.

    The library downloads the weights, with a progress bar, unless they are in its cache, and verifies them. Only
    tensors are read from them.

    Raises:
        ModelError: The weights do not exist or do not fit, or are not in the cache and cannot be downloaded.
    """
    library, _, name = architecture.partition("/")
    stated = timm.get_pretrained_cfg(name) if library == "timm" else None
    if stated and not stated.has_weights:
        raise ModelError(
            f"No weights of {architecture} are published: choose another network, or start from random weights with"
            " --from-scratch."
        )
    try:
        if library == "timm":
            network: nn.Module = timm.create_model(name, pretrained=True, num_classes=num_classes)
            return network.eval()
        return _of_torchvision(architecture, num_classes)
    except ModelError:
        raise
    except Exception as exc:  # whatever the internet, proxies and four libraries raise
        raise ModelError(
            f"The published weights of {architecture} are not in the cache and cannot be downloaded"
            f" ({type(exc).__name__}): connect to the internet once, or start from random weights with --from-scratch."
        ) from exc


def _of_torchvision(architecture: str, num_classes: int) -> nn.Module:
    # The first weights are those whose preprocessing the checkpoint has.
    published = next(iter(models.get_model_weights(architecture.partition("/")[2])))
    stored = published.get_state_dict(progress=True, check_hash=True, weights_only=True)
    network = build(architecture, num_classes)
    own = network.state_dict()
    fitting = {name: stored[name] for name in own.keys() & stored.keys() if stored[name].shape == own[name].shape}
    if others := [name for name in own if name not in fitting and own[name].shape[:1] != (num_classes,)]:
        raise ModelError(
            f"The published weights of {architecture} do not fit this network ({others[0]} differs): start from random"
            " weights with --from-scratch."
        )
    network.load_state_dict(own | fitting)
    return network


def first_layers(network: nn.Module, image: torch.Tensor) -> tuple[str, ...]:
    """Return the names of the first layers of ``network`` that can be frozen, with at most half of its weights.

    They are its first children, if they run in sequence before all else: with them replaced by identities, the network
    gives the same result for their output as before for ``image`` (1, C, H, W). Its last layer must not be all zeros.
    """
    names = [name for name, _ in network.named_children()]
    weights = sum(parameter.numel() for parameter in network.parameters())
    for count in range(len(names) - 1, 0, -1):
        layers = [network.get_submodule(name) for name in names[:count]]
        frozen = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
        if 0 < frozen <= _MOST_FROZEN * weights and _come_first(network, dict(zip(names, layers, strict=False)), image):
            return tuple(names[:count])
    return ()


def _come_first(network: nn.Module, layers: dict[str, nn.Module], image: torch.Tensor) -> bool:
    modules = dict(network._modules)  # noqa: SLF001 - assigning them would register them again
    try:
        with torch.no_grad():
            expected = network(image)
            features = nn.Sequential(*layers.values())(image)
            network._modules = modules | {name: nn.Identity() for name in layers}  # noqa: SLF001
            return torch.equal(network(features), expected)
    except Exception:  # noqa: BLE001 - a network that uses more of its layers than their output
        return False
    finally:
        network._modules = modules  # noqa: SLF001
