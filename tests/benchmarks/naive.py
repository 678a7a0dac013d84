"""The tutorial's handler: eager torch, two forward passes, a full backward pass, a float overlay, PNG at full size."""

import base64
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import torch
from iteround import saferound
from numpy.typing import NDArray
from PIL import Image

from tests.benchmarks.networks import Classifier, tutorial_classifier

__all__ = ["NaiveHandler"]

_ALPHA = 0.4


@dataclass
class _Seen:
    """The activations and gradients captured at the Grad-CAM layer."""

    activations: list[torch.Tensor] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)


class NaiveHandler:
    """Recognizes images as the tutorial does; like the tutorial, it is not thread-safe."""

    def __init__(self) -> None:
        self._classifier: Classifier = tutorial_classifier()

    def answer(self, img: str) -> dict[str, Any]:
        """Recognize the image ``img``, a base64-encoded file."""
        image = Image.open(BytesIO(base64.b64decode(img))).convert("RGB")
        batch = self._classifier.transform(image).unsqueeze(0)
        percents = self._percents(batch)
        index = int(np.argmax(percents))
        heated = _overlaid(np.array(image), self._heatmap(batch, index))
        labels = self._classifier.labels
        return {
            "success": True,
            "result": labels[index],
            "detail": {label: str(percent) for label, percent in zip(labels, percents, strict=True)},
            "gradcam": _png_base64(heated),
        }

    def _percents(self, batch: torch.Tensor) -> list[float]:
        logits = self._classifier.network(batch)
        percents: list[float] = saferound((100 * logits[0].softmax(0)).tolist(), places=3)
        return percents

    def _heatmap(self, batch: torch.Tensor, index: int) -> NDArray[np.float32]:
        """Return the Grad-CAM heatmap of the class ``index``, (h, w) in [0, 1]."""
        seen = _Seen()

        def hook(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            seen.activations.append(output.detach().clone())
            output.register_hook(seen.gradients.append)  # type: ignore[no-untyped-call] # torch has no type for it

        handle = self._classifier.layer.register_forward_hook(hook)
        logits = self._classifier.network(batch)
        handle.remove()
        self._classifier.network.zero_grad()
        logits[0, index].backward()
        weights = seen.gradients[0].mean(dim=(2, 3), keepdim=True)
        heat = (weights * seen.activations[0]).sum(dim=1)[0].relu()
        return (heat / heat.max().clamp(min=1e-12)).numpy()


def _overlaid(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.uint8(255 * cv2.resize(heat, (pixels.shape[1], pixels.shape[0])))
    colors = cv2.cvtColor(cv2.applyColorMap(np.asarray(levels), cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    return np.asarray(colors * _ALPHA + pixels * (1 - _ALPHA)).astype(np.uint8)


def _png_base64(pixels: NDArray[np.uint8]) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
