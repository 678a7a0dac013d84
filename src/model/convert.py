"""A network in torch -> the form that OpenVINO runs, which needs neither torch nor the code of the network."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import openvino as ov
import torch
from openvino.preprocess import PrePostProcessor
from torch import nn

from src.errors import ModelError
from src.model.manifest import InputSpec

__all__ = ["convert"]


class _Whole(nn.Module):
    """Pictures -> (features, outputs of the head...)."""

    def __init__(self, backbone: nn.Module, head: nn.Module | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.backbone(pictures)
        return (features,) if self.head is None else (features, *self.head(features))


def convert(backbone: nn.Module, head: nn.Module | None, spec: InputSpec, file: Path) -> None:
    """Write ``file`` and its neighbour ``.bin``: pixels uint8 (1, H, W, 3) -> features, what ``head`` makes of them.

    The first layers bring the pixels to the network's range, as ``spec`` says.

    Raises:
        ModelError: OpenVINO has no counterpart of an operation of the network.
    """
    height, width = spec.crop
    example = torch.zeros(1, 3, height, width)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates the tracing that OpenVINO's converter uses
            model = ov.convert_model(_Whole(backbone, head).eval(), example_input=example, input=[list(example.shape)])
        ov.save_model(_taking_pixels(model, spec.mean, spec.std), file, compress_to_fp16=False)
    except Exception as exc:  # the converter raises what its many parts happen to raise
        raise ModelError(f"OpenVINO cannot convert this network: {str(exc).strip().splitlines()[-1][:200]}.") from exc


def _taking_pixels(model: ov.Model, mean: Sequence[float], std: Sequence[float]) -> ov.Model:
    process = PrePostProcessor(model)
    process.input(0).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    process.input(0).model().set_layout(ov.Layout("NCHW"))
    steps = process.input(0).preprocess().convert_element_type(ov.Type.f32)
    steps.mean([255 * value for value in mean]).scale([255 * value for value in std])
    return process.build()
