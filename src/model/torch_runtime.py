"""A stored network in torch: on a GPU, where OpenVINO cannot convert it, and behind OpenVINO's backbone its head."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from src.cores import usable_cores
from src.model.manifest import InputSpec, Manifest
from src.model.restore import restore
from src.model.runtime import Precision
from src.model.split import SplitNetwork
from src.stages.transform import normalize

__all__ = ["TorchHead", "TorchRuntime"]

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class _TorchEvaluation:
    """An evaluation that can be differentiated: ``leaf`` (1, K, h, w) are the features, ``scores`` (C,) the logits.

    No hooks, no shared state: only the way from the features to the logits is recorded, and no gradient reaches a
    weight.
    """

    leaf: torch.Tensor
    scores: torch.Tensor

    @property
    def features(self) -> NDArray[np.float32]:
        """The feature maps (K, h, w)."""
        return self.leaf.detach()[0].float().cpu().numpy()

    @property
    def logits(self) -> NDArray[np.float32]:
        """The scores (C,)."""
        return self.scores.detach().float().cpu().numpy()

    def weights(self, class_index: int) -> NDArray[np.float32]:
        """Return the Grad-CAM weight (K,) of each map; the record is kept for further classes."""
        (gradient,) = torch.autograd.grad(self.scores[class_index], self.leaf, retain_graph=True)
        return gradient[0].mean(dim=(1, 2)).float().cpu().numpy()


@dataclass(frozen=True, slots=True)
class TorchHead:
    """The head of a network; one run of it gives the logits and what their gradients need."""

    head: nn.Module
    device: torch.device

    @classmethod
    def start(cls, head: nn.Module, device: str, threads: int) -> Self:
        """Put ``head`` on ``device``; on a CPU ``threads`` threads share out the cores."""
        torch.set_num_threads(min(torch.get_num_threads(), max(1, usable_cores() // threads)))
        return cls(head.to(device).eval(), torch.device(device))

    def evaluate(self, features: torch.Tensor | NDArray[np.float32], *, explained: bool) -> _TorchEvaluation:
        """Run the head on ``features`` (1, K, h, w)."""
        leaf = torch.as_tensor(features, device=self.device).detach()
        if not explained:
            with torch.no_grad():
                return _TorchEvaluation(leaf, self.head(leaf)[0])
        leaf.requires_grad_()
        with torch.enable_grad():
            return _TorchEvaluation(leaf, self.head(leaf.clone())[0])  # the head may begin with an operation in place


@dataclass(frozen=True, slots=True)
class TorchRuntime:
    """A split network on the device where it runs."""

    backbone: nn.Module
    head: TorchHead
    input: InputSpec
    precision: Precision = "fp32"
    name: Literal["torch"] = "torch"

    @property
    def device(self) -> str:
        """Where it runs, cpu or cuda."""
        return self.head.device.type

    @classmethod
    def start(cls, folder: Path, manifest: Manifest, device: str, precision: Precision, threads: int) -> Self:
        """Read the network in ``folder`` and put it on ``device``."""
        return cls.of(restore(folder, manifest), manifest.input, device, precision, threads)

    @classmethod
    def of(cls, network: SplitNetwork, spec: InputSpec, device: str, precision: Precision, threads: int) -> Self:
        """Put ``network`` on ``device``."""
        head = TorchHead.start(network.head, device, threads)
        return cls(network.backbone.to(device).eval(), head, spec, precision)

    def evaluate(self, pixels: NDArray[np.uint8], *, explained: bool) -> _TorchEvaluation:
        """Run the network on ``pixels`` (H, W, 3)."""
        device = self.head.device
        picture = torch.from_numpy(normalize(pixels, self.input))[None].to(device, non_blocking=True)
        with torch.no_grad(), torch.autocast(device.type, _DTYPES[self.precision], enabled=self.precision != "fp32"):
            features = self.backbone(picture)
        return self.head.evaluate(features.float(), explained=explained)
