"""Run the usual recipe for Ray Data: Ray reads images, torchvision preprocesses them, torch recognizes batches."""

import argparse
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
import torch
from torchvision.transforms import v2

from src.checkpoints.default import default_checkpoint

Row = dict[str, Any]


def prepare(row: Row) -> Row:
    """Resize, crop and normalize the image as in training."""
    steps = [v2.ToImage(), v2.Resize(256, v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(224)]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    return {"image": v2.Compose(steps)(row["image"]).numpy()}


class Classifier:
    """The network on one core."""

    def __init__(self) -> None:
        self._network = default_checkpoint().network

    def __call__(self, batch: Mapping[str, Any]) -> Row:
        """Return the most likely class of each image."""
        with torch.inference_mode():
            scores = self._network(torch.from_numpy(np.stack(batch["image"])))
        return {"class": scores.argmax(dim=1).numpy()}


def main() -> None:
    """Print the images per second after the first batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("cpus", type=int)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    ray.init(num_cpus=options.cpus, log_to_driver=False, include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    images = ray.data.read_images(str(options.images), mode="RGB").map(prepare)
    classes = images.map_batches(Classifier, batch_size=32, compute=ray.data.ActorPoolStrategy(size=1), num_cpus=1)
    times = [(time.perf_counter(), len(batch["class"])) for batch in classes.iter_batches(batch_size=None)]
    counted = sum(count for _, count in times[1:])
    sys.stdout.write(f"{counted / (times[-1][0] - times[0][0])}\n")


if __name__ == "__main__":
    main()
