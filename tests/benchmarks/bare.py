"""The limit as a service: only the work that any service built on these libraries must do for an answer.

It has no checks, limits, errors, percentages, metrics or access log, and only the option ``gradcam``. It uses as many
threads as our service.
"""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import bentoml
import cv2
import numpy as np
import pybase64
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from src.cores import usable_cores
from src.priority import Priority, give_way
from src.runtimes.select import start
from src.store.files import checked_manifest
from tests.benchmarks.services import STORED_MODEL

_RESIZE, _CROP, _RETURNED = 256, 224, 1024
_COLORS = np.ascontiguousarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)[:, :, ::-1])
_ALPHA = 0.4

cv2.setNumThreads(1)


class Raw(bentoml.IODescriptor):  # type: ignore[misc] # bentoml loads its names lazily
    """Passes the request itself to the method, so that it is parsed only once, below."""

    __root_input__: ClassVar[bool] = True
    img: str

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Request:  # noqa: ARG003 - bentoml's signature
        """Return the request."""
        return request


@bentoml.service(metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Bare:
    """Serve a stored network as a Bento service."""

    def __init__(self) -> None:
        threads = 2 * usable_cores()
        folder = Path(os.environ[STORED_MODEL])
        manifest = checked_manifest(folder)
        self.labels, self.spec = manifest.labels, manifest.input
        self.network = start(folder, manifest, threads=threads, device="cpu")
        self.threads = ThreadPoolExecutor(threads, initializer=give_way, initargs=(Priority.IMAGE,))

    @bentoml.api(input_spec=Raw, output_spec=dict)  # type: ignore[untyped-decorator] # as above
    async def image_recognition(self, request: Request) -> Response:
        """Recognize one image."""
        body = await request.body()
        answer = await asyncio.get_running_loop().run_in_executor(self.threads, self._answer, body)
        return Response(answer, media_type="application/json")

    def _answer(self, body: bytes) -> bytes:
        asked = json.loads(body)
        explained = asked.get("gradcam", True)
        image = Image.open(BytesIO(pybase64.b64decode(asked["img"])), formats=["JPEG"])
        least = _RETURNED if explained else 2 * _RESIZE
        whole = image.size
        image.draft("RGB", (least, least))
        image.load()
        seen, box = self._seen(image, None if image.size == whole else 2.0)
        evaluation = self.network.evaluate(np.asarray(seen))
        best = int(evaluation.logits.argmax())
        answer = {"result": self.labels[best]}
        if explained:
            maps = evaluation.features
            heat = np.maximum(evaluation.weights(best) @ maps.reshape(len(maps), -1), 0).reshape(maps.shape[1:])
            answer["gradcam"] = pybase64.b64encode(_heated(image, heat / heat.max(), box)).decode()
        return json.dumps(answer).encode()

    def _seen(self, image: Image.Image, gap: float | None) -> tuple[Image.Image, tuple[float, ...]]:
        """Return the network's crop of ``image``, and its left, top, right and bottom edges, from 0 to 1."""
        width, height = _RESIZE, _RESIZE
        if isinstance(self.spec.resize, int):
            scale = _RESIZE / min(image.size)
            width, height = int(image.width * scale), int(image.height * scale)
        left, top = round((width - _CROP) / 2), round((height - _CROP) / 2)
        crop = (left, top, left + _CROP, top + _CROP)
        resampling = Image.Resampling[self.spec.interpolation.upper()]
        seen = image.resize((width, height), resampling, reducing_gap=gap).crop(crop)
        return seen, tuple(edge / side for edge, side in zip(crop, 2 * (width, height), strict=True))


def _heated(image: Image.Image, heat: NDArray[np.float32], box: tuple[float, ...]) -> bytes:
    scale = min(1, _RETURNED / max(image.size))
    if scale < 1:
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BOX, reducing_gap=2.0
        )
    pixels = np.array(image)
    left, top, right, bottom = (round(edge * side) for edge, side in zip(box, 2 * image.size, strict=True))
    seen = pixels[top:bottom, left:right]
    levels = cv2.convertScaleAbs(cv2.resize(heat, (right - left, bottom - top)), alpha=255)
    cv2.addWeighted(seen, 1 - _ALPHA, cv2.applyColorMap(levels, _COLORS), _ALPHA, 0, dst=seen)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 90))
    return encoded.tobytes()
