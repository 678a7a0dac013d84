"""Files of torch.save that name classes and functions: none is imported or called, and the rest is read."""

import argparse
import builtins
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import os
import pickle
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models, transforms

from src.checkpoints.reading.pickled import read_pickled
from src.checkpoints.reading.stand_ins import StandIn
from src.checkpoints.reading.weights_file import WeightsFile, read_weights_file
from src.errors import ModelError

WEIGHTS = collections.OrderedDict(weight=torch.arange(6.0).reshape(2, 3), bias=torch.ones(2))


class Trace:
    """Leaves a file behind when it is unpickled by code that runs what it reads."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def saved(content: object, folder: Path, *, as_zip: bool = True) -> Path:
    """Return a file of torch.save with ``content``."""
    torch.save(content, folder / "file.ckpt", _use_new_zipfile_serialization=as_zip)
    return folder / "file.ckpt"


_rebuild: Any = torch._utils._rebuild_tensor_v2  # by which pickles make tensors of storages
FLAGS: tuple[object, ...] = (False, {})

PLACES: dict[str, Callable[[object], object]] = {
    "state dict": lambda evil: {"state_dict": {**WEIGHTS, "evil": evil}},
    "hyper-parameters": lambda evil: {"state_dict": WEIGHTS, "hyper_parameters": {"evil": evil}},
    "callbacks": lambda evil: {"state_dict": WEIGHTS, "callbacks": {"ModelCheckpoint": {"evil": evil}}},
    "key": lambda evil: {"state_dict": WEIGHTS, "loops": {(evil, 1): 2}},
    "storage": lambda evil: {"state_dict": WEIGHTS, "x": Trace(_rebuild, evil, 0, (2,), (1,), *FLAGS)},
    "top": lambda evil: evil,
}
OF_NO_TENSORS = (PLACES["storage"], PLACES["top"])  # which end with a sentence instead
CALLED: dict[str, Callable[[Path], Trace]] = {
    "subprocess": lambda trace: Trace(subprocess.check_call, ["touch", str(trace)]),
    "eval": lambda trace: Trace(builtins.eval, f"open({str(trace)!r}, 'w').close()"),
    "copy": lambda trace: Trace(shutil.copy, __file__, str(trace)),
    "attribute": lambda trace: Trace(functools.partial(Path.touch, trace)),
}


@pytest.mark.parametrize("called", CALLED.values(), ids=CALLED)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("as_zip", [True, False])
def test_nothing_in_a_file_is_run(
    place: Callable[[object], object], called: Callable[[Path], Trace], tmp_path: Path, *, as_zip: bool
) -> None:
    """Code that would run on loading, anywhere in a file of either format, has no effect."""
    trace = tmp_path / "trace"
    file = saved(place(called(trace)), tmp_path, as_zip=as_zip)
    try:
        assert read_weights_file(file).tensors["weight"].equal(WEIGHTS["weight"])
    except ModelError as exc:
        assert place in OF_NO_TENSORS, exc  # noqa: PT017 - of the other places the tensors are read
    assert not trace.exists()
    with suppress(AttributeError):  # of the tensor that is none
        torch.load(file, weights_only=False)
    assert trace.exists(), "the file is harmless: the test proves nothing"


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_function_that_torch_blocks_is_refused_by_name(
    place: Callable[[object], object], tmp_path: Path, *, as_zip: bool
) -> None:
    """A file that names a function of the operating system is refused with that name, and nothing is run."""
    trace = tmp_path / "trace"
    file = saved(place(Trace(os.mkdir, str(trace))), tmp_path, as_zip=as_zip)
    with pytest.raises(ModelError, match=r"names posix\.mkdir, which could run code.*state dict alone"):
        read_weights_file(file)
    assert not trace.exists()


def test_no_module_that_a_file_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of a class in the file is not imported, and the tensors are read."""
    (tmp_path / "their_package.py").write_text("class Net:\n    pass\nprint('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import their_package  # type: ignore[import-not-found] # noqa: PLC0415 - it is made here

    file = saved({"state_dict": WEIGHTS, "hyper_parameters": {"net": their_package.Net()}}, tmp_path)
    monkeypatch.delitem(sys.modules, "their_package")
    read = read_weights_file(file)
    assert "their_package" not in sys.modules
    stand_in = read.hyper_parameters["net"]
    assert isinstance(stand_in, StandIn)
    assert stand_in.called == "their_package.Net"


class Color(enum.Enum):
    """Something to choose from."""

    RED = 1


@dataclasses.dataclass
class Config:
    """Options as a class."""

    lr: float = 0.1
    classes: tuple[str, ...] = ("bus", "car")


class Attributes(dict[str, object]):
    """A dictionary with attribute access, as in several packages."""

    def __getattr__(self, name: str) -> object:
        return self[name]


class Outer:
    """A class with another one in it."""

    class Inner:
        """A class in another one."""

        def __init__(self) -> None:
            self.rate = 0.5


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the older kind, which people pickle

KINDS: dict[str, object] = {
    "partial": functools.partial(torch.optim.Adam, lr=0.1),
    "network": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
    "class": torch.optim.Adam,
    "array": np.array([1.0, 2.0]),
    "array of texts": np.array(["bus", "car"]),
    "array of objects": np.array(["bus", None], dtype=object),
    "number of numpy": np.float32(0.5),
    "compose": transforms.Compose([transforms.Resize(32), transforms.ToTensor()]),
    "enum": Color.RED,
    "weights of torchvision": models.ResNet18_Weights.DEFAULT,
    "dataclass": Config(),
    "function": shutil.copy,
    "operation of torch": torch.relu,
    "method": WEIGHTS.keys,
    "path": Path("data"),
    "date": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    "decimal": decimal.Decimal("0.1"),
    "set": {1, 2},
    "frozen set": frozenset({1}),
    "counter": collections.Counter("abca"),
    "default": collections.defaultdict(list, a=[1]),
    "deque": collections.deque([1, 2]),
    "namespace": argparse.Namespace(a=1),
    "named tuple": Point(1, 2),
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "size": torch.Size([1, 2]),
    "uuid": uuid.UUID(int=1),
    "attributes": Attributes(a=1),
    "class in a class": Outer.Inner(),
    "range": range(3),
    "slice": slice(1, 2),
    "exception": ValueError("x"),
    "complex": 1j,
    "generator": torch.Generator().get_state(),
}

WITH_NETWORKS = [KINDS[name] for name in ("network", "compose", "weights of torchvision")]


def _with(value: object, folder: Path, *, as_zip: bool) -> WeightsFile:
    if isinstance(value, type(WEIGHTS.keys)):
        value = Trace(getattr, WEIGHTS, "keys")
    return read_weights_file(
        saved({"state_dict": WEIGHTS, "hyper_parameters": {"it": value, "lr": 0.1}}, folder, as_zip=as_zip)
    )


@pytest.mark.parametrize("value", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("as_zip", [True, False])
def test_unknown_objects_do_not_hide_the_rest(value: object, tmp_path: Path, *, as_zip: bool) -> None:
    """Tensors and plain hyper-parameters are read from a file that also holds objects of every common kind."""
    if not as_zip and any(value is each for each in WITH_NETWORKS):
        with pytest.raises(ModelError, match=r"whole network as saved by torch before 1\.6: save its state dict"):
            _with(value, tmp_path, as_zip=False)
        return
    read = _with(value, tmp_path, as_zip=as_zip)
    assert read.tensors["weight"].equal(WEIGHTS["weight"])
    assert read.hyper_parameters["lr"] == 0.1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("array of texts", ["bus", "car"]),
        ("array of objects", ["bus", None]),
        ("number of numpy", 0.5),
        ("set", {1, 2}),
        ("frozen set", frozenset({1})),
        ("counter", {"a": 2, "b": 1, "c": 1}),
        ("default", {"a": [1]}),
        ("deque", [1, 2]),
        ("attributes", {"a": 1}),
        ("dtype", torch.float16),
    ],
)
def test_plain_values_of_other_classes_become_pythons(kind: str, expected: object, tmp_path: Path) -> None:
    """Numbers, texts and containers of other classes become Python's own."""
    assert _with(KINDS[kind], tmp_path, as_zip=True).hyper_parameters["it"] == expected


@pytest.mark.parametrize("dtype", ["<i4", ">i4", "<f8", "|b1", "<u2", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_keep_their_values(dtype: str, order: Any, tmp_path: Path) -> None:
    """Arrays of any number type, byte order and layout keep their values."""
    array = np.asarray(np.arange(6).reshape(2, 3) % 5, dtype=dtype, order=order)
    found = _with(array, tmp_path, as_zip=True).hyper_parameters["it"]
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, array)


class _Lying:
    """Pickles as an array with fewer bytes than it claims."""

    def __reduce__(self) -> Any:
        function, arguments, state = cast("tuple[Any, ...]", np.arange(3.0).__reduce__())
        return function, arguments, (*state[:1], (2**40,), *state[2:])


def test_an_array_that_lies_about_its_size_stays_a_stand_in(tmp_path: Path) -> None:
    """No memory is allocated for bytes that do not exist."""
    assert isinstance(_with(_Lying(), tmp_path, as_zip=True).hyper_parameters["it"], StandIn)


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: {"model": it, "epoch": 3}], ids=["alone", "beside"])
def test_a_whole_network_gives_its_state_dict(wrap: Callable[[nn.Module], object], tmp_path: Path) -> None:
    """torch.save(network) is read as its state_dict, with persistent buffers only."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ModuleDict({"a": nn.Linear(4, 2)}))
    network.register_buffer("passing", torch.ones(1), persistent=False)
    network.register_buffer("mean", torch.ones(3))
    read = read_weights_file(saved(wrap(network), tmp_path)).tensors
    expected = network.state_dict()
    assert read.keys() == expected.keys()
    assert all(read[name].equal(tensor) and read[name].stride() == tensor.stride() for name, tensor in expected.items())


def test_circular_values_are_read_once(tmp_path: Path) -> None:
    """Values that contain themselves are read once."""
    circle: dict[str, object] = {"lr": 0.1}
    circle["again"] = [circle]
    assert _with(circle, tmp_path, as_zip=True).hyper_parameters["lr"] == 0.1


def test_a_network_in_itself_is_refused(tmp_path: Path) -> None:
    """A pickled network that is its own child is refused with a message."""
    network = nn.Sequential(nn.Linear(2, 2))
    network._modules["1"] = network
    with pytest.raises(ModelError, match="deeper than any network"):
        read_weights_file(saved(network, tmp_path))


def test_tensors_of_unknown_kinds_are_reported(tmp_path: Path) -> None:
    """Entries of a state dict that are not plain tensors are named, with their class."""
    file = saved({"state_dict": {**WEIGHTS, "scale": decimal.Decimal(1)}}, tmp_path)
    assert read_weights_file(file).unread == {"scale": "decimal.Decimal"}


def test_tensors_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names a file has, torch.load is called once."""
    loads: list[object] = []
    load = torch.load

    def counted(*args: Any, **kwargs: Any) -> object:
        loads.append(args)
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", counted)
    _with([Config(), Outer.Inner(), uuid.UUID(int=1)], tmp_path, as_zip=True)
    assert len(loads) == 1


def test_thousands_of_names_are_refused(tmp_path: Path) -> None:
    """A file with more names than any checkpoint, which would take long, is refused before it is loaded."""
    names = [type(f"C{index}", (), {"__module__": __name__}) for index in range(2_001)]
    for cls in names:
        globals()[cls.__name__] = cls
    with pytest.raises(ModelError, match="names 2,001 classes"):
        read_pickled(saved(names, tmp_path))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_is_explained_and_not_loaded(protocol: int, tmp_path: Path) -> None:
    """A pickle that torch did not write is refused with what to do, and is not loaded."""
    trace = tmp_path / "trace"
    (tmp_path / "file.pkl").write_bytes(pickle.dumps(Trace(os.mkdir, str(trace)), protocol))
    with pytest.raises(ModelError, match=r"torch\.save did not write|not an intact checkpoint"):
        read_weights_file(tmp_path / "file.pkl")
    assert not trace.exists()


@pytest.fixture(autouse=True)
def _no_warnings(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not recwarn.list
