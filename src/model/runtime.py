"""The backbone, ready to run: images (N, 3, H, W) -> features (N, K, h, w), without gradients."""

import logging
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from src.model.split import SplitNetwork

__all__ = ["Runtime", "start"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A split network on the device where it runs; safe to use from several threads at once."""

    backbone: nn.Module
    head: nn.Module
    device: torch.device
    name: Literal["torch"] = "torch"
    precision: Literal["fp32"] = "fp32"

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """Run the backbone on float32 images (N, 3, H, W); the features (N, K, h, w) stay on the device."""
        with torch.no_grad():
            features: torch.Tensor = self.backbone(batch.to(self.device, non_blocking=True))
        return features


def start(network: SplitNetwork, device: Literal["auto", "cpu", "cuda"], threads: int) -> Runtime:
    """Put ``network`` on ``device`` (``auto``: a CUDA GPU where there is one), for use by ``threads`` threads at once.

    On a CPU the cores are shared out between the threads, so that they do not fight for them.
    """
    use_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    target = torch.device("cuda" if use_cuda else "cpu")
    torch.set_num_threads(max(1, torch.get_num_threads() // threads))
    logger.info("The network runs in torch on %s, fp32.", target)
    return Runtime(network.backbone.to(target).eval(), network.head.to(target).eval(), target)
