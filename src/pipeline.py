"""The one place that joins the stages: decode, transform, backbone, predict, confidence, Grad-CAM, render."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from src.errors import InvalidRequest
from src.options import ImageFormat, Method, Options
from src.progress import Progress, Stage, Unobserved
from src.runtimes.base import Evaluation, Runtime
from src.stages.confidence import Confidence, Familiarity, prediction_set
from src.stages.decode import DecodeLimits, Enough, decode_image
from src.stages.decoded_image import Box
from src.stages.gradcam import BY_GRADIENT, Heatmap, gradcam
from src.stages.predict import ClassScore, Prediction, find_class, listed_classes, predict, scores_of
from src.stages.render import Canvas, canvas, encode, overlay
from src.stages.transform import NetworkInput, transform
from src.store.manifest import Manifest

__all__ = ["Explanation", "Pipeline", "Recognition", "Seen", "heatmap"]

_UNOBSERVED: Final = Unobserved()
_UNEXPLAINED: Final = Options(gradcam=False)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The encoded image with the heatmap of a class; ``evidence`` is false if the heatmap is empty.

    ``versus`` is the class that it was contrasted with, if any.
    """

    label: str
    versus: str | None
    method: Method
    evidence: bool
    format: ImageFormat
    image: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of a decoded image of ``width`` x ``height`` pixels: the input of the network, and the canvas.

    There is no ``canvas`` if no heatmap is drawn. The image itself may take 256 MB, and need not wait for the network.
    """

    width: int
    height: int
    input: NetworkInput
    canvas: Canvas | None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The network's input, (H, W, C)."""
        return self.input.pixels


@dataclass(frozen=True, slots=True)
class Recognition:
    """The result for an image of ``width`` x ``height`` pixels, upright, of which the network saw ``box``.

    ``also`` has the scores of the additionally requested classes. ``heatmaps`` has one for each class of
    ``prediction.top`` and then of ``also``, in their order, each (h, w) in [0, 1]; it is empty if none were requested.
    """

    prediction: Prediction
    confidence: Confidence | None
    explanation: Explanation | None
    heatmaps: tuple[NDArray[np.float32], ...]
    width: int
    height: int
    box: Box
    also: tuple[ClassScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A stored network, ready to recognize images; safe to use from several threads at the same time.

    ``exact``: large images, too, are decoded and preprocessed bit for bit as in Pillow and torchvision.
    """

    manifest: Manifest
    runtime: Runtime
    limits: DecodeLimits
    familiarity: Familiarity | None = None
    exact: bool = False

    def recognize(self, data: bytes, options: Options, progress: Progress = _UNOBSERVED) -> Recognition:
        """Recognize the image in ``data``, the bytes of an image file; report each stage to ``progress``.

        Raises:
            RequestError: The image or an option cannot be used.
            Abandoned: The client no longer waits for the answer.
        """
        self._classes(options)  # report errors in them before decoding
        seen = self.see(data, options, progress)
        with progress.stage(Stage.NETWORK):
            evaluation = self.runtime.evaluate(seen.pixels)
        return self.answer(seen, evaluation, options, progress)

    def see(self, data: bytes, options: Options, progress: Progress = _UNOBSERVED) -> Seen:
        """Decode the image in ``data``; preprocess it for the network, and reduce it to the size that is returned."""
        with progress.stage(Stage.DECODE):
            image = decode_image(data, self.limits, None if self.exact else self._enough(options))
        with progress.stage(Stage.TRANSFORM):
            prepared = transform(image, self.manifest.input, exact=self.exact)
            drawn_on = canvas(image, prepared.box, options.max_side) if options.gradcam else None
            return Seen(image.width, image.height, prepared, drawn_on)

    def answer(
        self,
        seen: Seen,
        evaluation: Evaluation,
        options: Options,
        progress: Progress = _UNOBSERVED,
        also: tuple[int, ...] = (),
    ) -> Recognition:
        """Return the recognition of an image, given its ``evaluation`` by the network.

        The classes of ``also``, by index, are reported in addition to the most likely ones.
        """
        labels = self.manifest.labels
        top_k, target, versus = self._classes(options)
        with progress.stage(Stage.PREDICT):
            prediction = predict(evaluation.logits, labels, top_k, self.manifest.output)
            asked = scores_of(also, self.manifest.output.percents(evaluation.logits), labels) if also else ()
            sure = self._confidence(evaluation)
        explanation: Explanation | None = None
        heatmaps: tuple[NDArray[np.float32], ...] = ()
        if seen.canvas:
            index = prediction.top[0].index if target is None else target
            _check_another(versus, index, labels)
            with progress.stage(Stage.GRADCAM):
                heat = heatmap(evaluation, options.method, index, versus)
            with progress.stage(Stage.RENDER):
                drawn = encode(overlay(seen.canvas, heat.values, options), options.format)
            against = None if versus is None else labels[versus]
            explanation = Explanation(labels[index], against, options.method, heat.evidence, options.format, drawn)
        if options.heatmaps:
            listed = (*prediction.top, *asked)
            with progress.stage(Stage.GRADCAM):
                heatmaps = tuple(_each_heatmap(evaluation, options.method, listed, progress))
        return Recognition(prediction, sure, explanation, heatmaps, seen.width, seen.height, seen.input.box, asked)

    def _classes(self, options: Options) -> tuple[int, int | None, int | None]:
        """Return how many classes to list, the class to explain, and the class to contrast it with."""
        labels = self.manifest.labels
        target, versus = find_class(options.target, labels), find_class(options.versus, labels)
        top_k = listed_classes(options.top_k, labels)
        _check_another(versus, target, labels)
        return top_k, target, versus

    def evaluate(self, data: bytes) -> Evaluation:
        """Run the network on the image in ``data``, the bytes of an image file.

        Raises:
            RequestError: The image cannot be used.
        """
        return self.runtime.evaluate(self.pixels(data))

    def _confidence(self, evaluation: Evaluation) -> Confidence | None:
        """Return the confidence in the answer, or None if the model has neither familiarity nor prediction sets."""
        learned, labels = self.manifest.learned, self.manifest.labels
        familiar, held = None, None
        if self.familiarity and learned and learned.familiarity:
            familiar = self.familiarity.distance(evaluation.pooled) <= learned.familiarity.threshold
        if learned and learned.sets:
            indices = prediction_set(evaluation.logits, self.manifest.output, learned.sets.threshold)
            held = tuple(labels[index] for index in indices)
        if familiar is None and held is None:
            return None
        return Confidence(familiar, held, learned.sets.coverage if learned and learned.sets else None)

    def pixels(self, data: bytes) -> NDArray[np.uint8]:
        """Return the network's input, (H, W, C), for the image in ``data``, the bytes of an image file.

        Raises:
            RequestError: The image cannot be used.
        """
        return self.see(data, _UNEXPLAINED).pixels

    def _enough(self, options: Options) -> Enough:
        """Return how many pixels the network and the returned image need."""
        needed = self.manifest.input.enough
        return Enough(needed, max(needed, options.max_side if options.gradcam else 0))


def _check_another(versus: int | None, explained: int | None, labels: tuple[str, ...]) -> None:
    if versus is not None and versus == explained:
        raise InvalidRequest(f"{labels[versus]!r} is the explained class itself: send another class as versus.")


def _each_heatmap(
    evaluation: Evaluation, method: Method, listed: Iterable[ClassScore], progress: Progress
) -> Iterator[NDArray[np.float32]]:
    """Yield the heatmap of each class; with thousands of classes, each with a backward pass, it takes minutes."""
    for score in listed:
        progress.check()
        yield heatmap(evaluation, method, score.index).values


def heatmap(evaluation: Evaluation, method: Method, index: int, versus: int | None = None) -> Heatmap:
    """Return the heatmap of class ``index`` by ``method``, contrasted with the class ``versus`` if given.

    It is empty where the score has no derivative, for example that of a standard deviation over a constant map.
    """
    if method in BY_GRADIENT:
        found = BY_GRADIENT[method](evaluation.features, evaluation.gradient(index, versus))
    else:
        found = gradcam(evaluation.features, evaluation.weights(index, versus))
    return found if np.isfinite(found.values).all() else Heatmap(np.zeros_like(found.values))
