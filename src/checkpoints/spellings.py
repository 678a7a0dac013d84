"""Rename the tensors of networks that equal one of torchvision or timm except for their names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import torch

from src.checkpoints.fingerprints import build_empty
from src.checkpoints.reading.weights_file import WeightsFile
from src.errors import ModelError, Remedy

__all__ = ["explained", "respelled"]

# efficientnet_pytorch pads as TensorFlow does; its variants, by their numbers of blocks and of last channels.
_STEM: Final = "_conv_stem.weight"
_EFFICIENTNETS: Final[Mapping[tuple[int, int], str]] = {
    (16, 1280): "timm/tf_efficientnet_b0",
    (23, 1280): "timm/tf_efficientnet_b1",
    (23, 1408): "timm/tf_efficientnet_b2",
    (26, 1536): "timm/tf_efficientnet_b3",
    (32, 1792): "timm/tf_efficientnet_b4",
    (39, 2048): "timm/tf_efficientnet_b5",
    (45, 2304): "timm/tf_efficientnet_b6",
    (55, 2560): "timm/tf_efficientnet_b7",
    (61, 2816): "timm/tf_efficientnet_b8",
}
_AROUND: Final = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_WITHOUT_EXPANSION: Final = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_WITH_EXPANSION: Final = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SQUEEZE: Final = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_BLOCK: Final = re.compile(r"_blocks\.(\d+)\.(\w+)(\..+)")
_OF_TRANSFORMERS: Final = re.compile(
    r"embeddings\.patch_embeddings\.(projection\.)?weight|(embedder|conv_stem)\.convolution\.weight"
)
_OF_AN_ADAPTER: Final = re.compile(r"\.(lora_A|modules_to_save|base_layer)\.")
# DenseNet before torch 0.4, as in the files of its published weights.
_OLD_DENSE: Final = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
_ORIGINAL, _MASK = "_orig", "_mask"  # the ends of what torch.nn.utils.prune stores in place of a tensor
# Swin as Microsoft published it, and as timm had it before 0.9: it merges patches at the end of a stage, not at the
# beginning of the next one, and stores what follows from its size.
_OLD_MERGE: Final = "layers.0.downsample.reduction.weight"
_MERGE: Final = re.compile(r"layers\.(\d+)\.downsample\.")
_OF_THE_SIZE: Final = ("relative_position_index", "relative_coords_table", "attn_mask")
_STAGE: Final = re.compile(r"(blocks\.\d+\.\d+)\.")


def respelled(file: WeightsFile) -> WeightsFile:
    """Return ``file`` with its tensors under the names of torchvision or timm, and with their architecture.

    Unknown names stay as they are.
    """
    tensors, architecture = _respelled(dict(_pruned(file.tensors)))
    known = {} if architecture is None else {"architecture": architecture}
    return replace(file, tensors=tensors, hyper_parameters={**file.hyper_parameters, **known})


def _respelled(tensors: Mapping[str, torch.Tensor]) -> tuple[Mapping[str, torch.Tensor], str | None]:
    tensors = {_OLD_DENSE.sub(r"\1\2", name): tensor for name, tensor in tensors.items()}
    if (prefix := _before(_OLD_MERGE, tensors)) is not None:
        return dict(_swin(tensors, prefix)), None
    prefix = _before(_STEM, tensors)
    return (tensors, None) if prefix is None else _efficientnet(tensors, prefix)


def _pruned(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield ``tensors``, those of pruned layers as they compute."""
    for name, tensor in tensors.items():
        plain = name.removesuffix(_ORIGINAL)
        mask = tensors.get(f"{plain}{_MASK}") if plain != name else None
        if mask is not None and mask.shape == tensor.shape:
            yield plain, tensor * mask
        elif not (name.endswith(_MASK) and f"{name.removesuffix(_MASK)}{_ORIGINAL}" in tensors):
            yield name, tensor


def _before(end: str, names: Iterable[str]) -> str | None:
    """Return the prefix of the first name that ends in ``end``, or None."""
    return next((name.removesuffix(end) for name in names if name == end or name.endswith(f".{end}")), None)


def _swin(tensors: Mapping[str, torch.Tensor], prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        if not name.startswith(prefix):
            yield name, tensor
        elif not name.endswith(_OF_THE_SIZE):
            own = _MERGE.sub(lambda found: f"layers.{int(found[1]) + 1}.downsample.", name.removeprefix(prefix))
            own = f"head.fc.{own.removeprefix('head.')}" if own in {"head.weight", "head.bias"} else own
            yield f"{prefix}{own}", tensor


def explained(exc: ModelError, file: WeightsFile) -> ModelError:
    """Return ``exc``, which says that no network has the tensors of ``file``, or an error that explains the reason."""
    if any(_OF_AN_ADAPTER.search(name) for name in file.tensors):
        return ModelError(
            "The file has layers of an adapter of PEFT, such as LoRA: merge them into their network with"
            " network = network.merge_and_unload(), save that, and use its file or folder, or give your own class.",
            Remedy("module"),
        )
    if any(_OF_TRANSFORMERS.search(name) for name in file.tensors):
        return ModelError(
            "The tensors are those of a network of transformers, whose configuration the file lacks: save it with"
            " network.save_pretrained(FOLDER) and give that folder, or give your own class.",
            Remedy("module"),
        )
    for name, kind in file.unread.items():
        return ModelError(f"{exc} {name} in the file is a {kind} instead of a plain tensor.", *exc.remedies)
    return exc


def _efficientnet(tensors: Mapping[str, torch.Tensor], prefix: str) -> tuple[Mapping[str, torch.Tensor], str | None]:
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    blocks = {int(found[1]) for name in own if (found := _BLOCK.match(name))}
    head = own.get("_conv_head.weight")
    architecture = _EFFICIENTNETS.get((len(blocks), head.shape[0])) if head is not None else None
    if architecture is None:
        return tensors, None
    new_names = dict(_new_names(own, architecture))
    renamed = {new_names.get(name, name): tensor for name, tensor in own.items()}
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return others | {f"{prefix}{name}": tensor for name, tensor in renamed.items()}, architecture


def _new_names(names: Mapping[str, torch.Tensor], architecture: str) -> Iterator[tuple[str, str]]:
    stages = list(dict.fromkeys(_STAGE.findall("\n".join(build_empty(architecture, 1).state_dict()))))
    for name in names:
        layer, _, rest = name.partition(".")
        if layer in _AROUND:
            yield name, f"{_AROUND[layer]}.{rest}"
        elif (found := _BLOCK.match(name)) and int(found[1]) < len(stages):
            expands = f"_blocks.{found[1]}._expand_conv.weight" in names
            layers = _SQUEEZE | (_WITH_EXPANSION if expands else _WITHOUT_EXPANSION)
            yield name, f"{stages[int(found[1])]}.{layers.get(found[2], found[2])}{found[3]}"
