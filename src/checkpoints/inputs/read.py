"""How images are prepared for a network: as the user, the file or the network's library says."""

from collections.abc import Mapping, Sequence
from operator import sub
from typing import Any, Final

from pydantic import ValidationError

from src.checkpoints.given import Given, Note
from src.checkpoints.inputs.composes import stored_transform, transform_passed_over
from src.checkpoints.inputs.published import TUTORIAL, USUAL, USUAL_OF_GRAY, for_channels, per_channel, published_input
from src.checkpoints.inputs.said import said_normalization, said_size, script_input
from src.checkpoints.own.module import ARCHITECTURE_PREFIX
from src.checkpoints.reading.weights_file import WeightsFile
from src.checkpoints.recognition.twins import named_weights
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

__all__ = ["all_said", "read_input", "settled_fields"]

_NEAR: Final = 0.01  # of 1: Caffe's mean is (123.7, 116.8, 103.9) of 255
_OF_THE_TUTORIAL: Final = "torchvision/alexnet"
_PREPARED: Final = (Remedy("resize"), Remedy("crop"), Remedy("mean"), Remedy("std"))


def read_input(
    file: WeightsFile,
    given: Given,
    architecture: str,
    channels: int | None,
    normalization: Mapping[str, Any] | None = None,
) -> tuple[InputSpec, Note]:
    """Return how images are prepared for ``architecture``, and a note of where that is from.

    What the user set comes first, then what the file says, what buffers named ``normalization`` hold, and what the
    library published. ``channels`` are those of the first convolution, if they are known.

    Raises:
        ModelError: The values contradict each other.
    """
    whole = _whole_input(file, given)
    spec, source, remedies = (*whole, ()) if whole else _usual_input(file, given, architecture)
    is_known = whole is not None and not given.tutorial
    normalized = "buffers"
    if not whole and not normalization and not architecture.startswith(ARCHITECTURE_PREFIX):
        normalization, normalized = said_normalization(file.hyper_parameters, file.elsewhere), "hyper-parameters"
    channels = channels or spec.channels
    if normalization and not (channels == 1 and len(set(normalization["mean"])) > 1):
        spec = _checked_input(spec.model_dump() | per_channel(normalization, spec.channels))
        source += f", with mean and std from {normalized} in the file"
        is_known = True
    if "mean" not in (given.input or {}) and not architecture.startswith(ARCHITECTURE_PREFIX):
        _check_colors(spec.mean)
    spec, guessed = for_channels(spec, channels, published=not is_known)
    if guessed and not {"mean", "std"} <= (given.input or {}).keys():
        source += f"; mean and std for gray images are not known, so assumed as {USUAL_OF_GRAY:g}"
        remedies += (Remedy("mean"), Remedy("std"))
    if not whole and (other := _other_size(file, given, spec)):
        source += f"; but {other[0]} in the file is {other[1]}, so override it if images had that size"
        remedies = (Remedy("resize", f"{other[1]}x{other[1]}"), Remedy("crop", f"{other[1]}"))
    if given.input:
        said = per_channel(given.input, channels)
        spec, source = _checked_input(spec.model_dump() | said), f"{source}, except what you set"
    return spec, Note(f"input: {source}", remedies)


def _whole_input(file: WeightsFile, given: Given) -> tuple[InputSpec, str] | None:
    """Return the input that the user or the file names as a whole, and a description of the source; None if neither."""
    stored = file.hyper_parameters.get("input")
    if given.tutorial:
        return TUTORIAL, "the tutorial's"
    if isinstance(stored, Mapping) and {"resize", "crop"} <= stored.keys():  # others may use the name differently
        return _checked_input(stored), "from the file"
    if found := stored_transform(file.hyper_parameters, file.elsewhere):
        return found[1], f"from {found[0]} in the file"
    if script := script_input(file.hyper_parameters):
        return script, "from the arguments of the library's training script in the file"
    return None


def _usual_input(file: WeightsFile, given: Given, architecture: str) -> tuple[InputSpec, str, tuple[Remedy, ...]]:
    """Return what is usual for ``architecture``, a description of the source, and what corrects it."""
    if architecture.startswith(ARCHITECTURE_PREFIX):
        return USUAL, "the usual one: shorter side 256, center 224", _PREPARED
    if architecture == _OF_THE_TUTORIAL:
        said = "the tutorial's; torchvision's own weights were trained differently"
        return TUTORIAL, said, (Remedy("resize", "256"),)
    asked = {"architecture": given.architecture} if given.architecture else {}
    weights = named_weights(architecture, {**all_said(file), **asked})
    source = f"as published for {weights}"
    if name := transform_passed_over(file.hyper_parameters, file.elsewhere):
        source += f", since {name} in the file has steps that are not supported"
    return published_input(weights), source, ()


def _other_size(file: WeightsFile, given: Given, spec: InputSpec) -> tuple[str, int] | None:
    """Return the name and value of a hyper-parameter that is another size of images than in ``spec``, or None."""
    found = said_size(file.hyper_parameters, file.elsewhere)
    sizes = {*spec.crop, *(spec.resize if isinstance(spec.resize, tuple) else (spec.resize,))}
    is_set = {"resize", "crop"} & (given.input or {}).keys()
    return None if found is None or is_set or found[1] in sizes else found


def _checked_input(fields: Mapping[str, Any]) -> InputSpec:
    try:
        return InputSpec.model_validate(dict(fields))
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'input'}: {fault['msg']}" for fault in exc.errors())
        raise ModelError(f"Images cannot be prepared like this: {faults}.") from exc


def _check_colors(mean: Sequence[float]) -> None:
    """Refuse ImageNet's mean from blue to red, as Caffe and OpenCV have it: images are red, green and blue."""
    if len(mean) == len(USUAL.mean) and max(map(abs, map(sub, mean, reversed(USUAL.mean)))) < _NEAR:
        raise ModelError(
            "The file has ImageNet's mean in the order blue, green, red, so the network seems to take images in it, but"
            " gets red, green, blue: give your own class, which swaps them. If it takes red, green, blue, set mean and"
            " std.",
            Remedy("module"),
            Remedy("mean"),
            Remedy("std"),
        )


def settled_fields(file: WeightsFile, given: Given) -> set[str]:
    """Return the fields of the input that do not depend on which network it is: the user or the file gives them."""
    if _whole_input(file, given):
        return {*InputSpec.model_fields}
    return {*(given.input or {}), *said_normalization(file.hyper_parameters, file.elsewhere)}


def all_said(file: WeightsFile) -> Mapping[str, object]:
    """Return the hyper-parameters, and texts beside them, such as the name of the network."""
    return {**{name: text for name, text in file.elsewhere.items() if isinstance(text, str)}, **file.hyper_parameters}
