"""The one place that joins the stages: decode -> transform -> backbone -> predict -> Grad-CAM -> render."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from src.options import ImageFormat, Options
from src.progress import Progress, Stage, Unobserved
from src.runtimes.base import Runtime
from src.stages.decode import DecodeLimits, Enough, decode_image
from src.stages.decoded_image import Box, DecodedImage
from src.stages.gradcam import Heatmap, gradcam
from src.stages.predict import Prediction, find_class, listed_classes, predict
from src.stages.render import encode, overlay
from src.stages.transform import transform
from src.store.manifest import Manifest

__all__ = ["Explanation", "Pipeline", "Recognition"]

_UNOBSERVED: Final = Unobserved()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The image with the heat of a class on it, encoded; ``evidence`` is false if nothing spoke for the class."""

    label: str
    evidence: bool
    format: ImageFormat
    image: bytes


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was seen in an image of ``width`` x ``height`` pixels, upright, of which the network saw ``box``.

    ``heatmaps`` are those of ``prediction.top``, in its order, each (h, w) in [0, 1]; empty if none were asked for.
    """

    prediction: Prediction
    explanation: Explanation | None
    heatmaps: tuple[NDArray[np.float32], ...]
    width: int
    height: int
    box: Box


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A stored network, ready to recognize images; safe to use from several threads at once."""

    manifest: Manifest
    runtime: Runtime
    limits: DecodeLimits

    def recognize(self, data: bytes, options: Options, progress: Progress = _UNOBSERVED) -> Recognition:
        """Recognize the image in ``data``, the bytes of an image file; ``progress`` is told of each stage.

        Raises:
            RequestError: The image or an option cannot be used.
            Abandoned: Nobody waits for the answer any more.
        """
        labels = self.manifest.labels
        target = find_class(options.target, labels)
        top_k = listed_classes(options.top_k, labels)
        with progress.stage(Stage.DECODE):
            image = decode_image(data, self.limits, self._enough(options))
        with progress.stage(Stage.TRANSFORM):
            seen = transform(image, self.manifest.input)
        with progress.stage(Stage.NETWORK):
            evaluation = self.runtime.evaluate(seen.pixels)
        with progress.stage(Stage.PREDICT):
            prediction = predict(evaluation.logits, labels, top_k)

        def heatmap(index: int) -> Heatmap:
            return gradcam(evaluation.features, evaluation.weights(index))

        explanation: Explanation | None = None
        heatmaps: tuple[NDArray[np.float32], ...] = ()
        if options.gradcam:
            index = prediction.top[0].index if target is None else target
            with progress.stage(Stage.GRADCAM):
                heat = heatmap(index)
            with progress.stage(Stage.RENDER):
                explanation = self._explain(image, heat, seen.box, index, options)
        if options.heatmaps:
            with progress.stage(Stage.GRADCAM):
                heatmaps = tuple(heatmap(score.index).values for score in prediction.top)
        return Recognition(prediction, explanation, heatmaps, image.width, image.height, seen.box)

    def _enough(self, options: Options) -> Enough:
        """Return how many pixels the network needs, and the returned image."""
        needed = self.manifest.input.enough
        return Enough(needed, max(needed, options.max_side if options.gradcam else 0))

    def _explain(self, image: DecodedImage, heat: Heatmap, box: Box, index: int, options: Options) -> Explanation:
        pixels = overlay(image, heat.values, box, options)
        return Explanation(self.manifest.labels[index], heat.evidence, options.format, encode(pixels, options.format))
