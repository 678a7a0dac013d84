"""Run the libraries of src.bulk alone: decode, resize and network in batches, in one process per core."""

import argparse
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from PIL import Image

from src.stages.input_spec import InputSpec
from src.store import bundle
from src.store.files import NETWORK

_BATCH: Final = 8


def recognize(folder: Path, spec: InputSpec, images: Sequence[Path], ready: Any) -> None:
    """Find the most likely class of ``images`` on one thread, after all processes have loaded the network."""
    core = ov.Core()
    model = core.read_model(folder / NETWORK)
    model.reshape({port: [_BATCH, *port.partial_shape[1:]] for port in model.inputs})
    options = {"INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    options["ENABLE_CPU_PINNING"] = "NO"  # every process would choose the same core
    request = core.compile_model(model, "CPU", options).create_infer_request()
    request.infer()
    ready.wait()
    for first in range(0, len(images), _BATCH):
        batch = [_pixels(image, spec) for image in images[first : first + _BATCH]]
        request.input_tensors[0].data[: len(batch)] = batch
        request.infer()
        request.output_tensors[-1].data.argmax(axis=1)


def _pixels(file: Path, spec: InputSpec) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        image.draft("RGB", (spec.enough, spec.enough))
        height, width = spec.resized(*image.size)
        resized = image.convert("RGB").resize((width, height), spec.resampling)
    rows, columns = spec.crop
    left, top = (width - columns) // 2, (height - rows) // 2
    return np.asarray(resized.crop((left, top, left + columns, top + rows)))


def main() -> None:
    """Print the images per second of ``processes`` processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("processes", type=int)
    options = parser.parse_args()
    stored, images = bundle.load("image_recognition"), sorted(options.images.rglob("*.jpg"))
    context = get_context("spawn")
    ready = context.Barrier(options.processes + 1)
    processes = [
        context.Process(
            target=recognize,
            args=(stored.folder, stored.manifest.input, images[number :: options.processes], ready),
        )
        for number in range(options.processes)
    ]
    for process in processes:
        process.start()
    ready.wait()
    began = time.perf_counter()
    for process in processes:
        process.join()
    sys.stdout.write(f"{len(images) / (time.perf_counter() - began)}\n")


if __name__ == "__main__":
    main()
