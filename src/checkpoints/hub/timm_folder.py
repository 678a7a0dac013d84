"""A folder as timm uploads it to the hub: config.json names the architecture, the classes and the preprocessing."""

from collections.abc import Mapping
from typing import Any, Final

import timm

from src.checkpoints.architecture import full_name, load_exactly, untagged
from src.checkpoints.hub.described import Described
from src.checkpoints.inputs.published import timm_input
from src.checkpoints.network import RGB
from src.checkpoints.reading.folder import Source
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["read_timm"]

# Arguments that timm would use to load a file or a URL, or to change the network's interface.
_LOADS: Final = ("pretrained", "checkpoint", "cache", "features_only", "scriptable", "exportable")
_PLAIN: Final = (str, int, float, bool, list, type(None))


def read_timm(source: Source, config: Mapping[str, Any]) -> Described:
    """Return the network that ``config``, the config.json of ``source``, describes.

    Raises:
        ModelError: timm has no such network, the tensors do not fit it, or the configuration is not supported.
    """
    architecture = f"timm/{full_name(untagged('timm/' + config['architecture'])).partition('/')[2]}"
    num_classes = _num_classes(config)
    network = _build(architecture, num_classes, config.get("model_args") or {})
    left_out = load_exactly(network, source.file.tensors, architecture)
    said: dict[str, object] = {"input": _input(config, architecture).model_dump()}
    if names := config.get("label_names", _published(config).get("label_names")):
        said["label_names"] = names
    return Described(architecture, network, num_classes, left_out, said=said)


def _input(config: Mapping[str, Any], architecture: str) -> InputSpec:
    published, name = _published(config), Remedy("architecture", architecture)
    _, height, width = published.get("input_size") or (RGB, 0, 0)
    instead = "Name the network, too, so that config.json, which says otherwise, is not read."
    if height != width and published.get("crop_mode") != "squash":  # timm resizes until both sides are covered
        raise ModelError(f"Resizing images to cover {height}x{width} is not supported: set the size. {instead}", name)
    try:
        return timm_input(published)
    except ModelError as exc:
        raise ModelError(f"{exc} {instead}", name) from exc


def _published(config: Mapping[str, Any]) -> Mapping[str, Any]:
    published = config.get("pretrained_cfg", config)  # older folders are flat
    return published if isinstance(published, Mapping) else {}


def _num_classes(config: Mapping[str, Any]) -> int:
    stated = config.get("num_classes", _published(config).get("num_classes"))
    if not isinstance(stated, int) or stated < 1:
        raise ModelError(
            "config.json does not say how many classes the network has (num_classes): it is not a classifier."
        )
    return stated


def _build(architecture: str, num_classes: int, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - timm is untyped
    if arguments.get("in_chans", RGB) != RGB:
        raise ModelError(f"config.json states {arguments['in_chans']} input channels; only RGB is supported.")
    for name, value in arguments.items():
        if name.startswith(_LOADS) or not isinstance(value, _PLAIN):
            raise ModelError(f"config.json sets {name}={value!r}, which is not supported: remove it.")
    name = architecture.partition("/")[2]
    try:
        network = timm.create_model(name, pretrained=False, **{**arguments, "num_classes": num_classes})
    except Exception as exc:
        raise ModelError(f"timm cannot build {name} as configured in config.json: {exc}.") from exc
    return network.eval().requires_grad_(requires_grad=False)
