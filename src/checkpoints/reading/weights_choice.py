"""Choose between the weights of a file's state dict and its averaged weights."""

from dataclasses import replace

from src.checkpoints.given import Given, Note
from src.checkpoints.reading.weights_file import WeightsFile
from src.errors import ModelError, Remedy

__all__ = ["chosen"]


def chosen(file: WeightsFile, given: Given) -> tuple[WeightsFile, tuple[Note, ...]]:
    """Return ``file`` with the chosen tensors.

    Raises:
        ModelError: The averaged weights were chosen, and there are none.
    """
    if given.weights == "ema":
        if not file.averaged:
            raise ModelError("The file has no averaged weights: omit the option.", Remedy("weights"))
        return replace(file, tensors=file.averaged), (Note("weights: the averaged ones"),)
    if not file.averaged:
        return file, ()
    if _is_averaged(file):
        return file, (Note("weights: averaged, as the file has them in its state dict"),)
    return file, (
        Note("weights: those of the state dict; the file also has averaged ones", (Remedy("weights", "ema"),)),
    )


def _is_averaged(file: WeightsFile) -> bool:
    averaged = {tensor.data_ptr() for tensor in file.averaged.values()}
    return averaged == {tensor.data_ptr() for tensor in file.tensors.values()}
