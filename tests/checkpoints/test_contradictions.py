"""Files that contradict what would be stored: each raises a question with the options that settle it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import transforms

from src.checkpoints.checkpoint import Checkpoint, read_checkpoint
from src.checkpoints.given import Given
from src.checkpoints.network import build
from src.errors import ModelError, Remedy

NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=3, act=nn.ReLU):
        super().__init__()
        self.conv, self.act, self.last = nn.Conv2d(3, 4, 8, 8), act(), nn.Linear(4, classes)

    def forward(self, images):
        return self.last(self.act(self.conv(images)).mean((2, 3)))

class Numbers(Net):
    def forward(self, images):
        return super().forward(images).argmax(1)

class Both(Net):
    def forward(self, images):
        features = self.act(self.conv(images)).mean((2, 3))
        return features, self.last(features)
"""
RESNET = build("timm/test_resnet", 3).state_dict()
WIDE = build("timm/test_resnet", 8).state_dict()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file with small custom networks."""
    file = tmp_path / "nets.py"
    file.write_text(NETWORK)
    return file


def _tensors(prefix: str, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    layers = {"conv": nn.Conv2d(3, 4, 8, 8), "last": nn.Linear(4, 3)}
    return {
        f"{prefix}{name}.{of}": tensor for name, layer in layers.items() for of, tensor in layer.state_dict().items()
    }


def _read(folder: Path, content: dict[str, Any], **given: Any) -> Checkpoint:
    torch.save(content, folder / "file.ckpt")
    return read_checkpoint(folder / "file.ckpt", Given(tutorial=True, **given))


def test_two_networks_that_a_class_fits_are_asked_about(own: Path, tmp_path: Path) -> None:
    """Neither a teacher nor a student of one class is chosen by alphabetical order."""
    content = {"state_dict": _tensors("big.", 0) | _tensors("small.", 1)}
    with pytest.raises(ModelError, match="fits 2 networks") as refused:
        _read(tmp_path, content, module=f"{own}:Net")
    assert set(refused.value.remedies) == {Remedy("network", "big"), Remedy("network", "small")}
    found = _read(tmp_path, content, module=f"{own}:Net", network="small").network.state_dict()
    assert found["conv.weight"].equal(content["state_dict"]["small.conv.weight"])
    with pytest.raises(ModelError, match="No tensor of the file begins with 'nowhere'"):
        _read(tmp_path, content, module=f"{own}:Net", network="nowhere")


def test_two_equal_copies_are_one_network(own: Path, tmp_path: Path) -> None:
    """A network that is saved under two names, or beside its average, is not asked about."""
    content = {"state_dict": _tensors("a.", 0) | _tensors("b.", 0) | _tensors("ema.", 1)}
    assert _read(tmp_path, content, module=f"{own}:Net").network is not None


def test_features_are_not_taken_for_classes(own: Path, tmp_path: Path) -> None:
    """If a class returns features first, the file's number of classes contradicts."""
    content = {"state_dict": _tensors("", 0), "hyper_parameters": {"num_classes": 3}}
    with pytest.raises(ModelError, match="returns 4 values, but the hyper-parameter num_classes is 3"):
        _read(tmp_path, content, module=f"{own}:Both")


def test_defaults_in_place_of_objects_are_reported(own: Path, tmp_path: Path) -> None:
    """A note says that an argument stored as an object was replaced by the class's default."""
    content = {"state_dict": _tensors("", 0), "hyper_parameters": {"act": nn.Tanh}}
    notes = _read(tmp_path, content, module=f"{own}:Net").notes
    assert any("the class's defaults for act" in note.sentence for note in notes)


def test_averaged_weights_beside_those_of_a_class_are_reported(own: Path, tmp_path: Path) -> None:
    """A note says that the file of a custom network also has averaged weights."""
    content = {"state_dict": _tensors("", 0), "ema_state_dict": _tensors("", 1)}
    notes = _read(tmp_path, content, module=f"{own}:Net").notes
    assert any(note.remedies == (Remedy("weights", "ema"),) for note in notes)


def test_class_indices_are_not_scores(own: Path, tmp_path: Path) -> None:
    """A class that returns the class index is refused."""
    with pytest.raises(ModelError, match="returns integers"):
        _read(tmp_path, {"state_dict": _tensors("", 0)}, module=f"{own}:Numbers", output="binary")


@pytest.mark.parametrize("name", ["metric_fc.weight", "loss_fn.W", "criterion.weight"])
def test_a_matrix_that_takes_the_outputs_is_asked_about(name: str, tmp_path: Path) -> None:
    """Eight outputs followed by a margin loss of ten classes are an embedding, whatever the loss is called."""
    backbone = {f"backbone.{key}": tensor for key, tensor in WIDE.items()}
    with pytest.raises(
        ModelError, match=r"could (take the 8 outputs|be part of the way)|An activation may lie|has no bias"
    ):
        _read(tmp_path, {"state_dict": backbone | {name: torch.randn(10, 8)}})


@pytest.mark.parametrize("name", ["projector", "model.image_proj.0", "embedding"])
def test_a_layer_named_like_an_embedding_is_asked_about(name: str, tmp_path: Path) -> None:
    """A projection of features, as self-supervised training has it, is not stored as classes that nobody named."""
    trunk = {key: tensor for key, tensor in RESNET.items() if not key.startswith("fc.")}
    layer = {f"{name}.{key}": tensor for key, tensor in nn.Linear(RESNET["fc.weight"].shape[1], 3).state_dict().items()}
    content = {"state_dict": {f"backbone.{key}": tensor for key, tensor in trunk.items()} | layer}
    with pytest.raises(ModelError, match=rf"The last layer is called {name}: are its 3 values class scores") as refused:
        _read(tmp_path, content)
    assert refused.value.remedies == (Remedy("labels"), Remedy("module"))
    assert _read(tmp_path, content, labels="a,b,c").labels == ("a", "b", "c")
    assert _read(tmp_path, content | {"hyper_parameters": {"num_classes": 3}}).labels[0] == "class 0"
    assert _read(tmp_path, content | {"hyper_parameters": {"classes": ["a", "b", "c"]}}).labels[0] == "a"


def test_separate_state_dicts_are_read_together(tmp_path: Path) -> None:
    """A head saved under its own key is not overlooked."""
    content = {"model": WIDE, "head": nn.Linear(8, 3).state_dict(), "optimizer": {"state": {}, "param_groups": []}}
    with pytest.raises(ModelError, match=r"head"):
        _read(tmp_path, content)
    assert _read(tmp_path, {"model": RESNET, "ema": WIDE}).labels == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize(
    "more",
    [
        {"state_dict": RESNET | {"criterion.pos_weight": torch.ones(3)}},
        {"state_dict": RESNET, "hyper_parameters": {"task": "multilabel"}},
        {"state_dict": RESNET, "hyper_parameters": {"head": {"multi_label": True}}},
        {"state_dict": RESNET, "hyper_parameters": {"loss": "bce"}},
        {"state_dict": RESNET, "hyper_parameters": {"criterion": nn.BCEWithLogitsLoss()}},
        {"state_dict": RESNET, "hyper_parameters": {"criterion": nn.BCEWithLogitsLoss}},
        {"state_dict": RESNET, "hyper_parameters": {"loss": {"_target_": "torch.nn.BCEWithLogitsLoss"}}},
        {"state_dict": RESNET, "hyper_parameters": {"pos_weight": torch.ones(3)}},
        {"state_dict": RESNET, "hyper_parameters": {"criterion": {"pos_weights": [1.0, 2.0, 3.0]}}},
        {"state_dict": RESNET, "hyper_parameters": {"loss": "sigmoid_focal_loss"}},
        {"state_dict": RESNET, "hyper_parameters": {"loss": "AsymmetricLoss"}},
        {"state_dict": RESNET, "hyper_parameters": {"final_activation": "sigmoid"}},
        {
            "state_dict": RESNET,
            "meta": {"cfg": "lr = 1\n" * 99 + "head = 'MultiLabelLinearClsHead'\n" + "x = 1\n" * 99},
        },
    ],
)
def test_signs_of_multilabel_are_asked_about(more: dict[str, Any], tmp_path: Path) -> None:
    """Weights of a binary loss per class, or the word itself, do not become softmax without a question."""
    with pytest.raises(ModelError, match="may have several classes") as refused:
        _read(tmp_path, more)
    assert refused.value.remedies == (Remedy("output", "multilabel"), Remedy("output", "softmax"))
    assert len(str(refused.value)) < 250
    assert _read(tmp_path, more, output="multilabel").output.kind == "multilabel"


@pytest.mark.parametrize(
    "said",
    [
        {"pos_weight": 2.0},
        {"activation": "sigmoid"},
        {"cfg": "a = 1\nmulti_label = False"},
        {"pos_weight": torch.tensor(2.0)},
    ],
)
def test_no_sign_of_multilabel_is_no_question(said: dict[str, Any], tmp_path: Path) -> None:
    """A weight that is not per class, an activation between layers, and what is switched off say nothing."""
    assert _read(tmp_path, {"state_dict": RESNET, "hyper_parameters": said}).output.kind == "softmax"


@pytest.mark.parametrize(
    "said",
    [
        {"loss": "mse"},
        {"criterion": nn.MSELoss()},
        {"head": {"loss_fn": nn.TripletMarginLoss}},
        {"loss": {"class_path": "torch.nn.SmoothL1Loss"}},
        {"loss": torch.nn.functional.mse_loss},
        {"loss_name": "SupCon"},
        {"task": "regression"},
    ],
)
def test_values_that_are_no_scores_of_classes_are_asked_about(said: dict[str, Any], tmp_path: Path) -> None:
    """Several outputs of a loss of measured values or of embeddings do not become classes that nobody named."""
    content = {"state_dict": RESNET, "hyper_parameters": said}
    with pytest.raises(ModelError, match="3 outputs are measured values or an embedding") as refused:
        _read(tmp_path, content)
    assert refused.value.remedies == (Remedy("labels"),)
    assert _read(tmp_path, content, labels="a,b,c").labels == ("a", "b", "c")
    assert _read(tmp_path, {**content, "class_names": ["a", "b", "c"]}).labels == ("a", "b", "c")


@pytest.mark.parametrize("said", [{"loss": "ce"}, {"distill_loss": "mse"}, {"monitor": "mae"}, {"arch": "mae"}])
def test_other_losses_are_no_question(said: dict[str, Any], tmp_path: Path) -> None:
    """A loss of classes, a loss beside it, a metric and a network's name say nothing."""
    assert _read(tmp_path, {"state_dict": RESNET, "hyper_parameters": said}).labels[0] == "class 0"


def test_contradicting_label_lists_are_asked_about(tmp_path: Path) -> None:
    """Of two lists with the names in another order, none is chosen."""
    names = {"classes": ["a", "b", "c"], "class_to_idx": {"c": 0, "b": 1, "a": 2}}
    with pytest.raises(ModelError, match="classes and class_to_idx in the file name the classes differently"):
        _read(tmp_path, {"state_dict": RESNET, "hyper_parameters": names})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"timm_kwargs": {"global_pool": "max"}}, "global_pool says 'max'"),
        ({"gp": "max"}, "gp says 'max'"),  # of timm's train.py
        ({"timm_kwargs": {"output_stride": 8}}, "output_stride says 8"),
        ({"model": {"init_args": {"num_classes": 10, "embedding_dim": 3}}}, "num_classes is 10"),
    ],
)
def test_nested_hyper_parameters_are_asked_about(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A contradicting pooling or number of classes is found at any depth."""
    with pytest.raises(ModelError, match=message):
        _read(tmp_path, {"state_dict": RESNET, "hyper_parameters": said})


def test_an_unsupported_transform_is_reported(tmp_path: Path) -> None:
    """If the file has a transform with an unsupported step, the input's note says so."""
    transform = transforms.Compose([transforms.Resize(64), transforms.Pad(3), transforms.ToTensor()])
    torch.save({"state_dict": RESNET, "hyper_parameters": {"val_transform": transform}}, tmp_path / "file.ckpt")
    given = Given(architecture="timm/test_resnet")
    notes = [note.sentence for note in read_checkpoint(tmp_path / "file.ckpt", given).notes]
    assert any("val_transform in the file has steps that are not supported" in note for note in notes)


@pytest.mark.parametrize("name", ["semantic", "schema", "swap"])
def test_a_word_that_contains_ema_is_not_an_average(own: Path, tmp_path: Path, name: str) -> None:
    """A network named semantic is a second network, not an average, and a head of that name is not overlooked."""
    content = {"state_dict": _tensors("net.", 0) | _tensors(f"{name}.", 1)}
    with pytest.raises(ModelError, match="fits 2 networks"):
        _read(tmp_path, content, module=f"{own}:Net")
    with pytest.raises(ModelError, match=name):
        _read(tmp_path, {"model": WIDE, name: nn.Linear(8, 3).state_dict()})


@pytest.mark.parametrize("shape", [(10, 8), (8, 10)])
def test_a_margin_loss_of_either_order_is_asked_about(shape: tuple[int, int], tmp_path: Path) -> None:
    """The matrix of a margin loss may have the outputs first or last."""
    trunk = {f"net.{key}": tensor for key, tensor in build("timm/test_resnet", 0).state_dict().items()}
    neck = {f"neck.{key}": tensor for key, tensor in nn.Linear(96, 8).state_dict().items()}
    for backbone in (trunk | neck, {f"net.{key}": tensor for key, tensor in WIDE.items()}):
        with pytest.raises(ModelError, match=r"metric_fc\.kernel"):
            _read(tmp_path, {"state_dict": backbone | {"metric_fc.kernel": torch.randn(shape)}})


def _changed(place: str, layer: nn.Module) -> nn.Module:
    network = build("timm/test_resnet", 3)
    network.set_submodule(place, layer)
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (_changed("maxpool", nn.Identity()), "whose maxpool is an Identity instead of a MaxPool2d"),
        (_changed("layer1.0.act1", nn.SiLU()), r"whose layer1\.0\.act1 is a SiLU instead of a ReLU"),
        (_changed("maxpool", nn.MaxPool2d(3, 1, 1)), "whose maxpool is a MaxPool2d with the stride 1 instead of 2"),
        (nn.DataParallel(_changed("maxpool", nn.AvgPool2d(3, 2, 1))), "whose maxpool is an AvgPool2d"),
    ],
)
def test_changed_layers_of_a_whole_network_are_not_overlooked(network: nn.Module, message: str, tmp_path: Path) -> None:
    """What torch.save(network) shows beside tensors, such as a removed max-pool, contradicts the library's network."""
    for content in (network, {"classifier": network, "epoch": 3}, {"model": None, "ema": network}):
        torch.save(content, tmp_path / "file.pt")
        with pytest.raises(ModelError, match=message.replace("whose ", r"whose [\w.]*")) as refused:
            read_checkpoint(tmp_path / "file.pt", Given(tutorial=True))
        assert refused.value.remedies == (Remedy("module"),)


def test_a_whole_network_that_computes_alike_is_read(tmp_path: Path) -> None:
    """Layers without effect, another writing of the same settings, and synchronized norms do not contradict."""
    network: nn.Module = _changed("maxpool", nn.MaxPool2d((3, 3), (2, 2), (1, 1)))
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network.set_submodule("layer1.0.drop_block", nn.Dropout2d(0.5))
    torch.save({"model": nn.ModuleDict({"net": network})}, tmp_path / "file.pt")
    assert read_checkpoint(tmp_path / "file.pt", Given(tutorial=True)).labels == ("class 0", "class 1", "class 2")


def test_a_head_in_place_of_the_librarys_is_no_changed_layer(tmp_path: Path) -> None:
    """A linear layer where the library has a dropout is read by its tensors, like in a state dict."""
    network: Any = build("torchvision/mobilenet_v2", 3)
    network.classifier = nn.Sequential(nn.Linear(1280, 8), nn.ReLU(), nn.Linear(8, 3))
    torch.save(network, tmp_path / "file.pt")
    found = read_checkpoint(tmp_path / "file.pt", Given(tutorial=True, activation="relu"))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(found.network(image), network.eval()(image), atol=1e-5)


def test_a_sigmoid_at_the_end_of_a_whole_network_is_asked_about(tmp_path: Path) -> None:
    """It makes each class a probability on its own, which a softmax would not."""
    network = _changed("fc", nn.Sequential(nn.Linear(RESNET["fc.weight"].shape[1], 3), nn.Sigmoid()))
    torch.save(network, tmp_path / "file.pt")
    with pytest.raises(ModelError, match=r"fc\.1=torch\.nn\.modules\.activation\.Sigmoid suggests that an image may"):
        read_checkpoint(tmp_path / "file.pt", Given(tutorial=True))
