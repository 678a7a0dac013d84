"""The user's own network classes."""

import logging
import py_compile
import sys
from pathlib import Path, PurePath
from py_compile import PycInvalidationMode

import numpy as np
import pytest
import torch

from src.checkpoints.checkpoint import read_checkpoint
from src.checkpoints.given import Given
from src.checkpoints.inputs.published import USUAL
from src.checkpoints.own.module import Arguments, instantiate, parse_reference
from src.checkpoints.own.scores import count_classes
from src.conversion.capture import capture
from src.conversion.cut import cut
from src.conversion.draft import draft
from src.errors import ModelError, Remedy
from src.runtimes.select import start
from src.store import bundle

TUTORIAL = '''
import torch
from torch import nn


class BusCar(nn.Module):
    """The tutorial's alexnet, taken apart, and narrower."""

    def __init__(self, classes=2, **unused):
        super().__init__()
        layers = []
        for before, after, size in (3, 16, 11), (16, 32, 5), (32, 48, 3), (48, 32, 3), (32, 32, 3):
            layers += nn.Conv2d(before, after, size, 4 if size == 11 else 1, size // 2 if size < 11 else 2), nn.ReLU()
            layers += [nn.MaxPool2d(3, 2)] if size > 3 else []
        self.features = nn.Sequential(*layers)
        self.maxpool = nn.MaxPool2d(3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        layers = nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, classes)
        self.classifier = nn.Sequential(nn.Dropout(), *layers)

    def forward(self, x):
        x = self.avgpool(self.maxpool(self.features(x)))
        return self.classifier(torch.flatten(x, 1))


class Two(BusCar):
    def forward(self, x):
        return super().forward(x), x


class Normalizing(BusCar):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.full((1, 3, 1, 1), 0.2), persistent=False)

    def forward(self, x):
        return super().forward((x - self.mean) / self.std)


class Maps(BusCar):
    def forward(self, x):
        return self.features(x)


number = 7


def fail():
    raise RuntimeError("on purpose")


def leave():
    raise SystemExit(0)
'''


@pytest.fixture
def module_file(tmp_path: Path) -> Path:
    """A Python file with network classes."""
    file = tmp_path / "their_network.py"
    file.write_text(TUTORIAL)
    return file


def test_a_custom_class_is_stored_and_served(
    module_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The class is created by running its file once; the stored model gives the same answers. Every step is logged."""
    caplog.set_level(logging.INFO, "src.conversion")
    torch.manual_seed(0)
    network = instantiate(module_file, "BusCar", Arguments({"classes": 3}))
    torch.save({"state_dict": network.state_dict(), "hyper_parameters": {"classes": 3, "lr": 1}}, tmp_path / "x.ckpt")
    given = Given(module=f"{module_file}:BusCar", labels="bus,car,tram")
    checkpoint = read_checkpoint(tmp_path / "x.ckpt", given)
    assert "running" in checkpoint.notes[0].sentence
    with draft(checkpoint) as verified:
        tag = bundle.store(verified.folder, verified.manifest, "their-own")
    said = [record.message.split()[0] for record in caplog.records if record.name.startswith("src.conversion.")]
    assert said == ["Capturing", "Deriving", "Comparing"]
    module_file.unlink()
    loaded = bundle.load(tag)
    assert (loaded.manifest.architecture, loaded.manifest.layer) == ("module/BusCar", "features")
    assert not list(loaded.folder.glob("*.py"))
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    expected = network(torch.from_numpy(loaded.manifest.input.normalize(pixels))[None])[0].detach().numpy()
    for runtime in ("openvino", "torch"):
        evaluation = start(loaded.folder, loaded.manifest, threads=1, runtime=runtime).evaluate(pixels)
        assert evaluation.features.shape == (32, 13, 13)
        np.testing.assert_allclose(evaluation.logits, expected, atol=1e-5)


def test_the_grad_cam_layer_can_be_chosen(module_file: Path, tmp_path: Path) -> None:
    """Another Grad-CAM layer is used if it is named."""
    torch.save(instantiate(module_file, "BusCar", Arguments({})).state_dict(), tmp_path / "x.pt")
    given = Given(module=f"{module_file}:BusCar", labels="bus,car", layer="features.10")
    checkpoint = read_checkpoint(tmp_path / "x.pt", given)
    assert cut(capture(checkpoint.network, checkpoint.input), checkpoint.input, checkpoint.layer).layer == "features.10"


def test_no_cache_is_read_or_written(module_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running the file writes nothing beside it, and a compiled file there is not run instead."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    instantiate(module_file, "BusCar", Arguments({}))
    assert list(module_file.parent.iterdir()) == [module_file]
    cached = Path(py_compile.compile(str(module_file), invalidation_mode=PycInvalidationMode.UNCHECKED_HASH) or "")
    foreign = module_file.with_name("foreign.py")
    foreign.write_text("raise RuntimeError('the cache was run')")
    py_compile.compile(str(foreign), cfile=str(cached), invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    instantiate(module_file, "BusCar", Arguments({}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nothing", "has no attribute 'Nothing'"),
        ("number", "is not a callable|not supported"),
        ("fail", "RuntimeError: on purpose"),
        ("torch", "cannot be instantiated"),
        ("leave", "SystemExit: 0"),
    ],
)
def test_a_class_that_cannot_be_created_is_explained(module_file: Path, name: str, message: str) -> None:
    """A name that is not a class, or a class that fails, is an error that contains the exception."""
    with pytest.raises(ModelError, match=message):
        instantiate(module_file, name, Arguments({}))


def test_a_class_without_logits_is_explained(module_file: Path, tmp_path: Path) -> None:
    """A class that returns maps cannot be served; the error says what it returns and what to write."""
    torch.save(instantiate(module_file, "Maps", Arguments({})).state_dict(), tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"a tensor of shape \(2, 32, 13, 13\) .* write a class around it"):
        read_checkpoint(tmp_path / "x.pt", Given(module=f"{module_file}:Maps", labels="bus,car"))


def test_the_first_tensor_of_a_tuple_is_the_scores(module_file: Path, tmp_path: Path) -> None:
    """A class that returns scores and features is read as one that returns scores."""
    network = instantiate(module_file, "Two", Arguments({}))
    torch.save(network.state_dict(), tmp_path / "x.pt")
    checkpoint = read_checkpoint(tmp_path / "x.pt", Given(module=f"{module_file}:Two", labels="bus,car"))
    image = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(checkpoint.network(image), network(image)[0])


@pytest.mark.parametrize(
    ("name", "said", "told"),
    [("Normalizing", None, True), ("Normalizing", {"mean": (0,), "std": (1,)}, False), ("BusCar", None, False)],
)
def test_a_class_that_may_normalize_images_itself_is_told(
    module_file: Path, tmp_path: Path, name: str, said: dict[str, tuple[float]] | None, *, told: bool
) -> None:
    """Its images would be normalized twice, unless the user says how they are prepared."""
    torch.save(instantiate(module_file, name, Arguments({})).state_dict(), tmp_path / "x.pt")
    given = Given(module=f"{module_file}:{name}", labels="bus,car", input=said)
    notes = [note for note in read_checkpoint(tmp_path / "x.pt", given).notes if "normalized twice" in note.sentence]
    assert [note.remedies for note in notes] == [(Remedy("mean", "0"), Remedy("std", "1"))] * told


class _Keeping(torch.nn.Module):
    """Makes a table, and the weights of a layer, in its first run."""

    def __init__(self) -> None:
        super().__init__()
        self.table: torch.Tensor | None = None
        self.last = torch.nn.LazyLinear(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, images.shape[3])
        logits: torch.Tensor = self.last((images * self.table).mean(dim=(2, 3)))
        return logits


def test_what_a_network_makes_in_its_first_run_can_be_differentiated_and_loaded() -> None:
    """PyTorch refuses both for a tensor that was made in inference mode."""
    network = _Keeping().eval()
    assert count_classes(network, USUAL) == 2
    assert network.table is not None
    assert (network.table.is_inference(), network.last.weight.is_inference()) == (False, False)


def test_gradients_stay_enabled_if_the_code_disables_them(tmp_path: Path) -> None:
    """A file that was written for inference disables them for the whole process; Grad-CAM needs them."""
    file = tmp_path / "net.py"
    file.write_text("import torch\ntorch.set_grad_enabled(False)\nNet = torch.nn.Flatten\n")
    instantiate(file, "Net", Arguments({}))
    assert torch.is_grad_enabled()


def test_a_class_in_half_precision_computes_in_fp32(tmp_path: Path) -> None:
    """A CPU is not faster in half precision, and heatmaps are compared in fp32."""
    file = tmp_path / "net.py"
    file.write_text("import torch\n\n\ndef Net():\n    return torch.nn.Linear(2, 2).bfloat16()\n")
    assert instantiate(file, "Net", Arguments({})).weight.dtype == torch.float32


@pytest.mark.parametrize("reference", ["net.py", "nowhere.py:Net", ":Net", "net.py:not a name", ""])
def test_an_invalid_reference_is_explained(reference: str) -> None:
    """Anything other than a file and a class is an error that shows the form."""
    with pytest.raises(ModelError, match=r"path/to/file\.py:Class"):
        parse_reference(reference)


def test_a_notebook_is_explained(tmp_path: Path) -> None:
    """It is no file of Python."""
    (tmp_path / "net.ipynb").write_text("{}")
    with pytest.raises(ModelError, match="is a notebook: copy the class"):
        parse_reference(f"{tmp_path}/net.ipynb:Net")


TINY = """
from torch import nn


class Net(nn.Module):
    def __init__(self, {signature}):
        super().__init__()
        self.head = nn.Linear(4, {classes})
"""


@pytest.mark.parametrize(
    ("signature", "classes", "arguments"),
    [
        ("hparams", "hparams.classes", Arguments({"classes": 3}, whole="hparams")),
        ("whatever", "whatever.net.classes", Arguments({"net": {"classes": 3}}, whole="whatever")),
        ("args", "vars(args)['classes']", Arguments({"classes": 3})),
        ("config, **more", "config['classes']", Arguments({"classes": 3})),
        ("cfg=None", "cfg.classes", Arguments({"classes": 3}, whole="cfg")),
        ("classes, opt='adam', args=()", "classes if (opt, args) == ('adam', ()) else 1", Arguments({"classes": 3})),
        (
            "names, weights, folder",
            "len(names) if folder.is_absolute() and weights.sum() == 2 else 1",
            Arguments({"names": {"a", "b", "c"}, "weights": torch.ones(2), "folder": PurePath("/data")}),
        ),
        ("classes, folder", "classes", Arguments({"classes": 3}, {"folder": "."})),
        (
            "classes, *, lr=1",
            "classes",
            Arguments({"classes": 2, "lr": object(), "_instantiator": "x"}, {"classes": 3}),
        ),
    ],
)
def test_a_class_gets_its_arguments(tmp_path: Path, signature: str, classes: str, arguments: Arguments) -> None:
    """Arguments are passed one by one, or all at once as Lightning's hparams_name says; the user's take precedence."""
    file = tmp_path / "net.py"
    file.write_text(TINY.format(signature=signature, classes=classes))
    assert instantiate(file, "Net", arguments).state_dict()["head.bias"].shape == (3,)


def test_unknown_arguments_are_named(tmp_path: Path) -> None:
    """Missing arguments are named with the option that sets them; so are arguments that the class does not take."""
    (tmp_path / "net.py").write_text(TINY.format(signature="data_dir, size, classes=3", classes="classes"))
    with pytest.raises(ModelError, match="needs data_dir, size, which") as refused:
        instantiate(tmp_path / "net.py", "Net", Arguments({"classes": 2}))
    assert refused.value.remedies == (Remedy("arg", "data_dir=VALUE"), Remedy("arg", "size=VALUE"))
    with pytest.raises(ModelError, match="takes no argument 'nothing'"):
        instantiate(tmp_path / "net.py", "Net", Arguments({"data_dir": 1, "size": 1}, {"nothing": 1}))
