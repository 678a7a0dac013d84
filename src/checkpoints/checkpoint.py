"""A file with trained weights, and the user's options -> a network with its weights, labels and input."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from torch import nn

from src.checkpoints.architecture import explain_misfit, full_name, load_exactly, nearest, untagged
from src.checkpoints.carried import Carried, read_carried
from src.checkpoints.fingerprints import every_architecture
from src.checkpoints.given import Asked, Given, Note
from src.checkpoints.hub.described import Described
from src.checkpoints.hub.read import read_described
from src.checkpoints.inputs.read import all_said, read_input, settled_fields
from src.checkpoints.inputs.said import script_network
from src.checkpoints.labels import read_labels, stored_labels
from src.checkpoints.network import RGB, Loaded
from src.checkpoints.outputs import check_that_it_classifies, one_score_per_class, read_output
from src.checkpoints.own.module import ARCHITECTURE_PREFIX, Arguments, instantiate, parse_reference
from src.checkpoints.own.scores import count_classes
from src.checkpoints.reading.folder import Source, read_source
from src.checkpoints.reading.weights_choice import chosen
from src.checkpoints.reading.weights_file import WeightsFile
from src.checkpoints.recognition.others import normalization
from src.checkpoints.recognition.recognize import Recognized, recognize
from src.checkpoints.spellings import explained, respelled
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec
from src.stages.output_spec import OutputSpec

__all__ = ["Checkpoint", "read_checkpoint"]

_SOFTMAX: Final = OutputSpec()
_Read = tuple[WeightsFile, Loaded, InputSpec, tuple[Note, ...]]  # the last: how the input is known


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained ``network`` before it is stored, in eval mode, and what is known about it.

    ``layer`` is the Grad-CAM layer if one was chosen; ``notes`` list what was inferred and what was left out;
    ``carried`` is the calibration from our own training.
    """

    architecture: str
    labels: tuple[str, ...]
    input: InputSpec
    network: nn.Module
    layer: str | None = None
    notes: tuple[Note, ...] = ()
    output: OutputSpec = _SOFTMAX
    carried: Carried | None = None


def read_checkpoint(path: Path, given: Given) -> Checkpoint:
    """Read a trained classifier from ``path``.

    Raises:
        ModelError: The file cannot be read, fits no network, or contradicts the labels or the input.
    """
    source = read_source(path)
    file, weights_notes = chosen(source.file, given)
    file, found, spec, input_notes = _found(replace(source, file=file), given)
    if given.labels is None:
        check_that_it_classifies(file, found.num_classes, found.last)
    output, classes = read_output(file, given, found.num_classes)
    labels, label_note = _labels(file, given.labels, classes)
    network, layer = one_score_per_class(found.network, given.layer, output)
    left_out = (Note(f"left out: {_summary(found.left_out)}"),) if found.left_out else ()
    notes = (*found.notes, *weights_notes, *left_out, label_note, *input_notes)
    carried = read_carried(file.elsewhere) if given.module is None else None
    return Checkpoint(found.architecture, labels, spec, network, layer, notes, output, carried)


def _found(source: Source, given: Given) -> _Read:
    if given.module is not None:
        return _of_module(source.file, given, given.module)
    if given.architecture is None and (described := read_described(source)):
        return _of_folder(described, source.file, given)
    return _of_library(source.file, given)


def _of_library(file: WeightsFile, given: Given) -> _Read:
    try:
        found = _recognized(respelled(file), given)
    except ModelError as exc:
        raise explained(exc, file) from None
    if given.channels not in {None, found.channels}:
        raise ModelError(f"The first convolution takes {found.channels} channels, not {given.channels}.")
    spec, note = read_input(file, given, found.architecture, found.channels, found.normalization)
    return file, found, spec, (note,)


def _of_folder(found: Described, file: WeightsFile, given: Given) -> _Read:
    for option in ("network", "activation", "stem"):
        if getattr(given, option) is not None:
            raise ModelError(
                "config.json beside the weights describes the whole network: omit the option.", Remedy(option)
            )
    file = replace(file, hyper_parameters=found.said, elsewhere={})
    spec, note = read_input(file, given, found.architecture, given.channels)
    notes = (Note(f"architecture: {found.architecture}, as config.json says"),)
    return file, replace(found, notes=notes), spec, (found.assumed or note,)


def _of_module(file: WeightsFile, given: Given, reference: str) -> _Read:
    """Instantiate the class that ``reference`` names, which runs its code, with the tensors of ``file``."""
    module, name = parse_reference(reference)
    whole = file.elsewhere.get("hparams_name")
    arguments = Arguments(file.hyper_parameters, given.arguments, whole if isinstance(whole, str) else None)
    network = instantiate(module, name, arguments)
    architecture = f"{ARCHITECTURE_PREFIX}{name}"
    spec, note, outputs = _taken(network, file, given, architecture)
    left_out = load_exactly(network, file.tensors, architecture, given.network)
    notes = (Note(f"architecture: the class {name}, created by running {module}"), *arguments.notes(type(network)))
    found = Loaded(architecture, network, outputs, left_out, notes)
    return file, found, spec, (note, *_normalized_twice(network, spec, given))


def _normalized_twice(network: nn.Module, spec: InputSpec, given: Given) -> tuple[Note, ...]:
    """Return a note if ``network`` may normalize images, which ``spec``, not set by the user, also does."""
    if {"mean", "std"} <= (given.input or {}).keys() or {*spec.mean} == {0}:
        return ()
    buffers, _ = normalization(dict(network.named_buffers()))
    layers = [one for one in network.modules() if type(one).__name__ == "Normalize"]  # torchvision's and kornia's
    if not (buffers or any(hasattr(layer, "mean") and hasattr(layer, "std") for layer in layers)):
        return ()
    sentence = (
        "input: the class holds a mean and std of images; if its forward normalizes with them, images are now"
        " normalized twice, so set 0 and 1"
    )
    return (Note(sentence, (Remedy("mean", "0"), Remedy("std", "1"))),)


def _taken(network: nn.Module, file: WeightsFile, given: Given, architecture: str) -> tuple[InputSpec, Note, int]:
    """Return the input that ``network`` takes, with three channels or else with one, and its number of outputs."""
    refusals = []
    for channels in (given.channels,) if given.channels else (RGB, 1):
        try:
            spec, note = read_input(file, given, architecture, channels)
            return spec, note, count_classes(network, spec)
        except ModelError as exc:
            refusals.append(exc)
    raise refusals[0]


def _recognized(file: WeightsFile, given: Given) -> Recognized:
    name = given.architecture or _stated(file)
    asked = Asked(
        given=replace(given, architecture=name and full_name(untagged(name))),
        hyper_parameters=all_said(file),
        said_by="you said" if given.architecture else "the file says",
        settled=settled_fields(file, given),
        modules=file.modules,
    )
    found = recognize(file.tensors, asked)
    if found is not None:
        return found
    if asked.given.architecture is not None:
        raise explain_misfit(file.tensors, asked.given.architecture)
    some = ", ".join(list(file.tensors)[:3])
    raise ModelError(
        f"No network of torchvision or timm has exactly these tensors ({some}, ...): name the network to see what"
        f" differs, or give your own class.{nearest(file.tensors)}",
        Remedy("architecture"),
        Remedy("module"),
    )


def _stated(file: WeightsFile) -> str | None:
    """Return the network that our own training or a library's training script stored, if a library has it."""
    names = (file.hyper_parameters.get("architecture"), script_network(file.hyper_parameters))
    known = every_architecture()
    return next((name for name in names if isinstance(name, str) and name in known), None)


def _labels(file: WeightsFile, given: str | None, num_classes: int) -> tuple[tuple[str, ...], Note]:
    if given is not None:
        labels, source = read_labels(given), "given"
    else:
        labels, source = stored_labels(num_classes, file.hyper_parameters, file.elsewhere)
    if len(labels) != num_classes:
        raise ModelError(f"The network has {num_classes} classes but there are {len(labels)} labels: they must agree.")
    shared = next((label for label, count in Counter(labels).items() if count > 1), None)
    if shared is not None:
        source += f"; {shared!r} names several classes: explain them by index"
    return labels, Note(f"labels: {source}", (Remedy("labels"),) if source.startswith("made up") else ())


def _summary(names: tuple[str, ...]) -> str:
    """Count ``names`` by their first part, as in '62 of ema, 1 of loss'."""
    counts = Counter(name.partition(".")[0] for name in names)
    return ", ".join(f"{count} of {part}" if count > 1 else part for part, count in counts.most_common())
