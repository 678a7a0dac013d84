"""Serve with LitServe, torch and the grad-cam package, tuned as LitServe's documentation recommends.

Its page on parallelism recommends several worker processes for CPU-bound work, and dynamic batching for throughput.
Here there is one worker per core, with one torch thread each. Batches (``--batch``) of 4 and 8 were no faster on two
cores, so the benchmark uses none.
"""

import argparse
import base64
import os
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import litserve
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.image import show_cam_on_image

from tests.benchmarks.networks import tutorial_classifier

BATCH_SECONDS = 0.01
TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as pixels and as the network's input."""

    pixels: NDArray[np.uint8]
    tensor: torch.Tensor


@dataclass(frozen=True, slots=True)
class Explained:
    """An image's pixels, its probabilities (C,) and the heatmap (224, 224) of the most likely class."""

    pixels: NDArray[np.uint8]
    probabilities: torch.Tensor
    heat: NDArray[np.float32]


class GradCamAPI(litserve.LitAPI):  # type: ignore[misc]
    """One worker: decode, one forward and one backward pass per batch, overlay, encode."""

    def setup(self, device: str) -> None:
        """Load the network."""
        del device
        self.classifier = tutorial_classifier()
        self.cam = GradCAM(self.classifier.network, [self.classifier.layer])

    def decode_request(self, request: dict[str, str]) -> Decoded:
        """Decode base64 and JPEG."""
        image = Image.open(BytesIO(base64.b64decode(request["img"]))).convert("RGB")
        return Decoded(np.asarray(image), self.classifier.transform(image))

    def batch(self, inputs: list[Decoded]) -> list[Decoded]:
        """Return the images unstacked, because only their tensors have the same size."""
        return inputs

    def unbatch(self, output: list[Explained]) -> list[Explained]:
        """Return the answers one by one."""
        return output

    def predict(self, batch: Decoded | list[Decoded]) -> Explained | list[Explained]:
        """Run forward and backward once; the package keeps the logits of its forward pass."""
        images = batch if isinstance(batch, list) else [batch]
        heat = self.cam(input_tensor=torch.stack([image.tensor for image in images]), targets=None)
        probabilities = self.cam.outputs.detach().softmax(1)
        explained = [Explained(*answer) for answer in zip((p.pixels for p in images), probabilities, heat, strict=True)]
        return explained if isinstance(batch, list) else explained[0]

    def encode_response(self, output: Explained) -> dict[str, Any]:
        """Draw the heatmap and encode the image as JPEG, as our service does."""
        index = int(output.probabilities.argmax())
        height, width = output.pixels.shape[:2]
        heat = np.asarray(Image.fromarray(output.heat).resize((width, height), Image.Resampling.BILINEAR))
        heated = show_cam_on_image(output.pixels.astype(np.float32) / 255, heat, use_rgb=True, image_weight=0.6)
        buffer = BytesIO()
        Image.fromarray(heated).save(buffer, "JPEG", quality=90)
        top = output.probabilities.topk(min(5, len(self.classifier.labels)))
        return {
            "result": self.classifier.labels[index],
            "detail": {
                self.classifier.labels[int(i)]: 100 * float(p) for p, i in zip(top.values, top.indices, strict=True)
            },
            "gradcam": base64.b64encode(buffer.getvalue()).decode(),
        }


def main() -> None:
    """Start the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    batch = {"max_batch_size": options.batch, "batch_timeout": BATCH_SECONDS} if options.batch > 1 else {}
    api = GradCamAPI(api_path="/image_recognition", **batch)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=len(os.sched_getaffinity(0)), timeout=TIMEOUT_SECONDS
    )
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
