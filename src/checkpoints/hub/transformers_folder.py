"""A folder as transformers saves it: config.json names the image classifier."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn

from src.checkpoints.given import needs_own_class, some_of
from src.checkpoints.hub.described import Described
from src.checkpoints.hub.library import transformers
from src.checkpoints.hub.processor import read_preparation
from src.checkpoints.network import RGB
from src.checkpoints.reading.folder import Source
from src.errors import ModelError
from src.stages.input_spec import InputSpec

__all__ = ["read_transformers"]

_UNNAMED: Final = re.compile(r"LABEL_\d+")  # transformers' names for unnamed classes
_MULTILABEL, _REGRESSION = "multi_label_classification", "regression"
_SHOWN: Final = 3


class _Logits(nn.Module):
    """A classifier of transformers as a network that takes RGB and returns only logits."""

    def __init__(self, network: nn.Module, *, swapped: bool) -> None:
        super().__init__()
        self.network = network
        self.swapped = swapped

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, C) of ``pixels`` (N, 3, H, W)."""
        if self.swapped:
            pixels = torch.cat([pixels[:, 2:], pixels[:, 1:2], pixels[:, :1]], dim=1)
        logits: torch.Tensor = self.network(pixel_values=pixels).logits
        return logits


def read_transformers(source: Source, written: Mapping[str, Any]) -> Described:
    """Return the image classifier that ``written``, the config.json of ``source``, describes, built by transformers.

    Code in the folder is never run.

    Raises:
        ModelError: transformers is not installed or has no such classifier, the tensors do not fit it, or its
            preprocessing is not supported.
    """
    _check_output(written)
    cls, config = _classifier(written)
    network, unexpected = _with_weights(cls, config, source.file.tensors)
    preparation = read_preparation(source.folder, config)
    labels = config.id2label
    said: dict[str, object] = {"input": preparation.spec.model_dump()}
    if not all(_UNNAMED.fullmatch(str(name)) for name in labels.values()):
        said["id2label"] = labels
    if written.get("problem_type") == _MULTILABEL:
        said["output"] = {"kind": "multilabel"}
    logits = _Logits(network, swapped=preparation.swapped).eval().requires_grad_(requires_grad=False)
    num_classes = _count_classes(logits, preparation.spec)
    name, assumed = f"transformers/{cls.__name__}", preparation.assumed
    return Described(name, logits, num_classes, unexpected, said=said, assumed=assumed)


def _count_classes(network: nn.Module, spec: InputSpec) -> int:
    try:
        with torch.no_grad():  # see src.checkpoints.own.scores
            answer: torch.Tensor = network(torch.zeros(1, *spec.shape))
    except Exception as exc:
        raise ModelError(f"The network rejects images as its processor prepares them, {spec.crop}: {exc}.") from exc
    return answer.shape[1]


def _check_output(written: Mapping[str, Any]) -> None:
    if "quantization_config" in written:
        raise ModelError("config.json says that the weights are quantized: save the network in full precision.")
    if written.get("problem_type") == _REGRESSION:
        raise ModelError("config.json says regression: the network predicts a value instead of a class.")
    if written.get("num_channels", RGB) != RGB:
        raise ModelError(f"config.json states {written['num_channels']} input channels; only RGB is supported.")


def _classifier(written: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the class of an image classifier, and its configuration."""
    library = transformers()
    known, classifiers = library.CONFIG_MAPPING, library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    kind = written["model_type"]
    if kind not in known or known[kind] not in classifiers:
        raise needs_own_class(f"transformers has no image classifier of the kind {kind!r}")
    try:
        config = known[kind].from_dict({name: value for name, value in written.items() if name != "auto_map"})
    except Exception as exc:  # transformers raises anything on invalid values
        raise ModelError(f"transformers rejects config.json: {exc}.") from exc
    mapped = classifiers[type(config)]
    classes = {cls.__name__: cls for cls in (mapped if isinstance(mapped, tuple) else (mapped,))}
    named = written.get("architectures") or [next(iter(classes))]
    if named[0] not in classes:
        raise ModelError(
            f"config.json says that the network is a {named[0]}: only {' or '.join(classes)} of {kind} classifies."
        )
    return classes[named[0]], config


def _with_weights(
    cls: Any,  # noqa: ANN401 - transformers may be missing
    config: Any,  # noqa: ANN401
    tensors: Mapping[str, torch.Tensor],
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network with ``tensors``, under the names of any version of transformers, and the surplus names."""
    with _quiet():
        try:
            network, report = cls.from_pretrained(
                None,
                config=config,
                state_dict=dict(tensors),
                dtype=torch.float32,
                attn_implementation="eager",
                output_loading_info=True,
            )
        except Exception as exc:  # transformers raises anything on a file that does not fit
            raise ModelError(f"transformers cannot load the tensors into {cls.__name__}: {exc}.") from exc
    if faults := _faults(report):
        raise ModelError(f"The tensors do not fit {cls.__name__}: {some_of(faults, _SHOWN, by='; ')}.")
    return network, tuple(sorted(report["unexpected_keys"]))


def _faults(report: Mapping[str, Any]) -> list[str]:
    return [
        *(f"{name} is missing" for name in sorted(report["missing_keys"])),
        *(f"{fault[0]} has another shape" for fault in sorted(report["mismatched_keys"])),
        *(str(fault) for fault in report["error_msgs"]),
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' own loading report."""
    logging = transformers().utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
