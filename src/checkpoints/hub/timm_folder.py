"""A folder as timm puts it on the hub: config.json names the architecture, the classes and the preparation."""

from collections.abc import Mapping
from typing import Any, Final

import timm

from src.checkpoints.architecture import fit_expected, full_name
from src.checkpoints.hub.described import Described
from src.checkpoints.inputs import timm_input
from src.checkpoints.network import RGB
from src.checkpoints.reading.folder import Source
from src.checkpoints.tensors import load_weights
from src.errors import ModelError

__all__ = ["is_of_timm", "read_timm"]

# What timm itself would take for a file or an address to load, or for another preparation.
_LOADS: Final = ("pretrained", "checkpoint", "cache", "features_only", "scriptable", "exportable")
_PLAIN: Final = (str, int, float, bool, list, type(None))


def is_of_timm(config: Mapping[str, Any] | None) -> bool:
    """Return whether ``config``, the content of a config.json, is one of timm's."""
    return config is not None and isinstance(config.get("architecture"), str)


def read_timm(source: Source) -> Described:
    """Return the network that the config.json of ``source`` describes.

    Raises:
        ModelError: timm has no such network, the tensors are not its own, or it is built in a way that is not read.
    """
    config = source.config or {}
    architecture = f"timm/{full_name('timm/' + config['architecture']).partition('/')[2]}"
    num_classes = _num_classes(config)
    network = _build(architecture, num_classes, config.get("model_args") or {})
    found = fit_expected(source.file.tensors, architecture, network.state_dict())
    load_weights(network, found.weights)
    said: dict[str, object] = {"input": timm_input(_published(config)).model_dump()}
    if names := config.get("label_names", _published(config).get("label_names")):
        said["label_names"] = names
    return Described(architecture, network, num_classes, said, found.left_out)


def _published(config: Mapping[str, Any]) -> Mapping[str, Any]:
    published = config.get("pretrained_cfg", config)  # the first folders had everything in one
    return published if isinstance(published, Mapping) else {}


def _num_classes(config: Mapping[str, Any]) -> int:
    stated = config.get("num_classes", _published(config).get("num_classes"))
    if not isinstance(stated, int) or stated < 1:
        raise ModelError(
            "config.json does not say how many classes the network has (num_classes): it is not a classifier."
        )
    return stated


def _build(architecture: str, num_classes: int, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - timm has no types
    if arguments.get("in_chans", RGB) != RGB:
        raise ModelError(f"config.json says that images have {arguments['in_chans']} channels, not red, green, blue.")
    for name, value in arguments.items():
        if name.startswith(_LOADS) or not isinstance(value, _PLAIN):
            raise ModelError(f"config.json sets {name}={value!r}, which is not supported: remove it.")
    name = architecture.partition("/")[2]
    try:
        network = timm.create_model(name, pretrained=False, **{**arguments, "num_classes": num_classes})
    except Exception as exc:
        raise ModelError(f"timm cannot build {name} as config.json says: {exc}.") from exc
    return network.eval().requires_grad_(requires_grad=False)
