"""A file of torch.save -> its content; nothing that it names is imported or called."""

import argparse
import io
import pickle
import pickletools
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, Final

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from src.checkpoints.reading.numpy_values import scalar
from src.checkpoints.reading.stand_ins import attribute, stand_in
from src.errors import ModelError

__all__ = ["read_pickled"]

_MAX_EXPANSION: Final = 2
_MAX_STAND_INS: Final = 2_000
_BLOCKED: Final = re.compile(r"GLOBAL ([\w.]+) whose module \w+ is blocked")
_OLD: Final = "persistent_load of storage"  # before 1.6, the classes of networks were stored like tensors
_OTHER_PICKLE: Final = "Unsupported operand"
_SUBCLASS: Final = "Tensor subclass"
_BEFORE_THE_OBJECT: Final = 3  # pickles in a file of torch before 1.6: magic number, version, facts about the machine


def _list(*_: object) -> list[object]:
    return []


# Names that become plain values instead of stand-ins, in addition to torch's own. The dictionaries are Lightning's.
_KNOWN: Final[list[Any]] = [
    (dict, "pytorch_lightning.utilities.parsing.AttributeDict"),
    (dict, "lightning.pytorch.utilities.parsing.AttributeDict"),
    (dict, "lightning_fabric.utilities.data.AttributeDict"),
    (dict, "lightning.fabric.utilities.data.AttributeDict"),
    (argparse.Namespace, "argparse.Namespace"),
    (PurePath, "pathlib.Path"),
    (PurePath, "pathlib.PosixPath"),
    (PurePath, "pathlib.WindowsPath"),
    (_list, "collections.deque"),
    (frozenset, "builtins.frozenset"),
    (attribute, "builtins.getattr"),
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
]


def read_pickled(path: Path) -> object:
    """Return the content of ``path``, a file of torch.save, with stand-ins for every class and function that it names.

    Raises:
        ModelError: The file is damaged, was not written by torch.save, or names something that torch never loads.
    """
    _check_archive(path)
    with _explained(path), path.open("rb") as file:  # opened here, since torch would decide by the name
        with safe_globals(_KNOWN):
            names = get_unsafe_globals_in_checkpoint(file if zipfile.is_zipfile(path) else _as_archive(file))
        if len(names) > _MAX_STAND_INS:
            raise ModelError(f"{path} names {len(names):,} classes and functions: no checkpoint does.")
        file.seek(0)
        return _load(file, names)


def _load(file: IO[bytes], names: Sequence[str]) -> object:
    stand_ins: list[Any] = [(stand_in(name), name) for name in names]
    with safe_globals([*_KNOWN, *stand_ins]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice for such files
        return torch.load(file, map_location="cpu", weights_only=True)


def _as_archive(file: IO[bytes]) -> io.BytesIO:
    """Return the main pickle of a file of torch before 1.6 in the current archive format, without tensors."""
    for _ in range(_BEFORE_THE_OBJECT):
        _skip_pickle(file)
    start = file.tell()
    _skip_pickle(file)
    end = file.tell()
    file.seek(start)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as entries:
        entries.writestr("archive/data.pkl", file.read(end - start))
        entries.writestr("archive/version", "3")
    archive.seek(0)
    return archive


def _skip_pickle(file: IO[bytes]) -> None:
    for _ in pickletools.genops(file):
        pass


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except pickle.UnpicklingError as exc:
        if blocked := _BLOCKED.search(str(exc)):
            raise ModelError(
                f"{path} names {blocked[1]}, which could run code when loaded: save the state dict alone and use that"
                " file."
            ) from exc
        if _OTHER_PICKLE in str(exc):
            raise ModelError(
                f"{path} is pickled in a way that cannot be read safely, as by cloudpickle or with pickle_protocol=4."
                f' If you trust it, save it again, which runs what it names, with python -c "import torch; held ='
                f" torch.load('{path}', map_location='cpu', weights_only=False); torch.save(getattr(held, 'state_dict',"
                f" lambda: held)(), 'weights.pt')\": use weights.pt."
            ) from exc
        what = "holds a whole network as saved by torch before 1.6" if _OLD in str(exc) else "cannot be read safely"
        raise ModelError(f"{path} {what}: save its state dict alone and use that file.") from exc
    except TypeError as exc:
        if _SUBCLASS not in str(exc):
            raise
        raise ModelError(
            f"{path} holds tensors of another class than torch's own: save plain ones, as"
            " {name: tensor.as_subclass(torch.Tensor) for name, tensor in network.state_dict().items()}."
        ) from exc
    except Exception as exc:  # a damaged pickle raises anything, from EOFError to RuntimeError
        raise ModelError(f"{path} is not an intact checkpoint: it is damaged, cut off, or of another kind.") from exc


def _check_archive(path: Path) -> None:
    """Refuse an archive that is damaged or unpacks to far more than its size: torch does not compress its archives."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > _MAX_EXPANSION * path.stat().st_size:
                raise ModelError(f"{path} would unpack to {unpacked / 1e9:.1f} GB: torch does not write such files.")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise ModelError(f"{path} is not an intact checkpoint: its archive is damaged.") from exc
    if damaged:
        raise ModelError(f"{path} is damaged: the checksum of {damaged} in it is wrong. Copy or save it again.")
