"""From a file and the user's options to everything that serving needs."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.models import ResNet50_Weights

from src.checkpoints.checkpoint import read_checkpoint
from src.checkpoints.given import Given, Note
from src.checkpoints.inputs.published import TUTORIAL, USUAL, published_input
from src.checkpoints.inputs.said import said_normalization
from src.checkpoints.network import build
from src.checkpoints.reading.weights_file import read_weights_file
from src.checkpoints.recognition.twins import named_weights
from src.errors import ModelError, Remedy
from src.stages.input_spec import InputSpec

ARCHITECTURE = "torchvision/squeezenet1_1"
SPEC = InputSpec(resize=80, crop=(64, 64), interpolation="lanczos", mean=(0, 0, 0), std=(1, 1, 1))


class Config:
    """Options as an object of the user's class."""

    def __init__(self) -> None:
        self.labels = ["bus", "car"]


class Encoder:
    """Stores classes as scikit-learn's LabelEncoder does."""

    def __init__(self) -> None:
        self.classes_ = np.array(["bus", "car"])


def lightning(folder: Path, network: str = ARCHITECTURE, prefix: str = "network.", **hyper_parameters: Any) -> Path:
    """Return a Lightning checkpoint of an untrained network with two classes."""
    weights = {f"{prefix}{name}": tensor for name, tensor in build(network, 2).state_dict().items()}
    torch.save({"state_dict": weights, "hyper_parameters": hyper_parameters}, folder / "file.ckpt")
    return folder / "file.ckpt"


def test_our_own_checkpoints_need_no_options(tmp_path: Path) -> None:
    """Architecture, labels and input come from the hyper-parameters that our training writes."""
    file = lightning(
        tmp_path, architecture=ARCHITECTURE, labels=["bus", "car"], input=SPEC.model_dump(mode="json"), lr=1
    )
    checkpoint = read_checkpoint(file, Given())
    assert (checkpoint.architecture, checkpoint.labels, checkpoint.input) == (ARCHITECTURE, ("bus", "car"), SPEC)
    assert "network.classifier.1.weight" not in checkpoint.network.state_dict()
    assert "as the file says" in checkpoint.notes[0].sentence


def test_the_tutorials_checkpoint_needs_only_labels(tmp_path: Path) -> None:
    """The tutorial's alexnet, without hyper-parameters, is recognized and gets the tutorial's input."""
    checkpoint = read_checkpoint(lightning(tmp_path, "torchvision/alexnet", prefix=""), Given(labels="bus,car"))
    assert (checkpoint.architecture, checkpoint.labels) == ("torchvision/alexnet", ("bus", "car"))
    assert checkpoint.input == TUTORIAL


def test_options_override_the_file(tmp_path: Path) -> None:
    """The user's labels, input and layer replace those of the file, field by field."""
    file = lightning(tmp_path, labels=["x", "y"], input=SPEC.model_dump(mode="json"))
    given = Given(labels="bus,car", input={"resize": (70, 90), "mean": (0.5, 0.5, 0.5)}, layer="classifier.1")
    checkpoint = read_checkpoint(file, given)
    assert checkpoint.labels == ("bus", "car")
    assert checkpoint.input == SPEC.model_copy(update={"resize": (70, 90), "mean": (0.5, 0.5, 0.5)})
    assert checkpoint.layer == "classifier.1"


def test_the_defaults_are_the_published_input_and_numbered_classes(tmp_path: Path) -> None:
    """Without information, the input is the published one and the classes are numbered, and the notes say so."""
    checkpoint = read_checkpoint(lightning(tmp_path), Given())
    assert checkpoint.input == published_input(ARCHITECTURE)
    assert checkpoint.labels == ("class 0", "class 1")
    assert Note("labels: made up", (Remedy("labels"),)) in checkpoint.notes
    assert any("as published" in note.sentence for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18.gluon_in1k", "timm/resnet18.gluon_in1k"),
        ("hf_hub:timm/ResNet18.gluon_in1k", "timm/resnet18.gluon_in1k"),
        ("gluon_resnet18_v1b", "timm/resnet18.gluon_in1k"),  # its name until timm 0.8
        ("resnet18.of_ours", "timm/resnet18"),
        ("timm/resnet18", "timm/resnet18"),
    ],
)
def test_the_input_is_that_of_the_weights_that_the_file_names(name: str, expected: str, tmp_path: Path) -> None:
    """Weights of one architecture were trained with different inputs; a tag that timm lacks means its default."""
    assert published_input("timm/resnet18.gluon_in1k") != published_input("timm/resnet18")
    for said in ({"model_name": name}, {"net": {"timm_name": name}}):
        checkpoint = read_checkpoint(lightning(tmp_path, "torchvision/resnet18", **said), Given())
        assert (checkpoint.architecture, checkpoint.input) == ("timm/resnet18", published_input(expected))
        assert any(f"as published for {expected}" in note.sentence for note in checkpoint.notes)


def test_several_candidates_are_listed(tmp_path: Path) -> None:
    """If several networks fit, the notes name the others."""
    notes = read_checkpoint(lightning(tmp_path, "torchvision/resnet18"), Given()).notes
    assert "timm/resnet18" in notes[0].sentence
    assert notes[0].remedies == (Remedy("architecture"),)


@pytest.mark.parametrize(
    ("hyper_parameters", "expected"),
    [
        ({}, "torchvision/resnet18"),
        ({"net": "resnet18"}, "torchvision/resnet18"),
        ({"net": "timm/resnet18"}, "timm/resnet18"),
        ({"optimizer": "adam.w", "model_name": "resnet18.a1_in1k"}, "timm/resnet18"),
        ({"model": " hf_hub:timm/ResNet18.a1_in1k"}, "timm/resnet18"),
        ({"teacher": "timm/resnet18", "model_name": "torchvision/resnet18"}, "torchvision/resnet18"),
        ({"teacher": "timm/resnet18"}, "torchvision/resnet18"),
        ({"net": {"_target_": "timm.create_model", "model_name": "timm/resnet18"}}, "timm/resnet18"),
        ({"backbone_name": "timm/resnet18"}, "timm/resnet18"),
        ({"net": {"name": "timm/resnet18"}, "old": {"name": "torchvision/resnet18"}}, "torchvision/resnet18"),
        ({"teacher": {"name": "timm/resnet18"}, "teacher_name": "timm/resnet18"}, "torchvision/resnet18"),
        ({"architecture": "ResNet-18 of ours", "net": "vit"}, "torchvision/resnet18"),
    ],
)
def test_a_name_in_the_file_chooses_among_candidates(
    hyper_parameters: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """If several networks fit, a hyper-parameter that names one decides."""
    file = lightning(tmp_path, "torchvision/resnet18", **hyper_parameters)
    assert read_checkpoint(file, Given()).architecture == expected


@pytest.mark.parametrize("key", ["arch", "model"])
def test_a_name_beside_the_state_dict_chooses_among_candidates(key: str, tmp_path: Path) -> None:
    """Scripts without hyper-parameters store the name of the network in the file itself."""
    weights = build("torchvision/resnet18", 2).state_dict()
    torch.save({"state_dict": weights, key: "timm/resnet18"}, tmp_path / "file.ckpt")
    assert read_checkpoint(tmp_path / "file.ckpt", Given()).architecture == "timm/resnet18"


@pytest.mark.parametrize(
    "hyper_parameters",
    [
        {"classes": ("bus", "car")},
        {"class_names": ["bus", "car"]},
        {"class_to_idx": {"car": 1, "bus": 0}},
        {"idx_to_class": {0: "bus", 1: "car"}},
        {"id2label": {"0": "bus", "1": "car"}},
        {"classes": 2, "class_names": ["bus", "car"]},
        {"class_to_idx": {"car": np.int64(1), "bus": np.int64(0)}},
        {"class_to_idx": {"car": "1", "bus": "0"}},
        {"labels": ["image", "target", "id"], "class_names": ["bus", "car"]},
        {"labels": ["", "car"], "class_names": ["bus", "car"]},
        {"label2id": {"bus": 0, "car": 1}},
        {"idx2label": {0: "bus", 1: "car"}},
        {"label_names": ["bus", "car"]},
        {"target_names": ["bus", "car"]},
        {"labelToIndex": {"bus": 0, "car": 1}},
        {"categories": np.array(["bus", "car"])},
        {"data": {"class_path": "data.Images", "init_args": {"root": "x", "classes": ["bus", "car"]}}},
        {"cfg": argparse.Namespace(data={"class_names": ["bus", "car"]})},
        {"config": Config()},
        {"encoder": Encoder()},
        {"class_weights": [0.5, 0.5], "targets": ["q", "k", "v"], "classnames": ["bus", "car"]},
        {"teacher": {"classes": ["a", "b", "c"]}, "student": {"classes": ["bus", "car"]}},
    ],
)
def test_labels_are_found_under_every_usual_name(hyper_parameters: dict[str, Any], tmp_path: Path) -> None:
    """A list of names, or a map between names and indices, is found under any of the usual hyper-parameters."""
    assert read_checkpoint(lightning(tmp_path, **hyper_parameters), Given()).labels == ("bus", "car")


@pytest.mark.parametrize(
    "names",
    [
        {"bus": 0, "coach": 0, "car": 1},
        {"bus": 1, "car": 2},
        {"bus": 0, "car": 1, "note": "x"},
        {"bus": 0, "car": True},
    ],
    ids=["an index twice", "from 1", "something else in it", "no index"],
)
def test_unreadable_class_maps_are_reported(names: dict[str, Any], tmp_path: Path) -> None:
    """A map that does not name the classes 0, 1, 2, ... is not used, and the notes name it."""
    checkpoint = read_checkpoint(lightning(tmp_path, class_to_idx=names), Given())
    assert checkpoint.labels == ("class 0", "class 1")
    assert any("class_to_idx in the file is not a list or map" in note.sentence for note in checkpoint.notes)


def test_too_many_labels_in_the_file_are_explained(tmp_path: Path) -> None:
    """Names in the file for another number of classes are an error with both counts and what to do."""
    with pytest.raises(ModelError, match=r"has 2 classes but there are 3 labels in the file's classes") as refused:
        read_checkpoint(lightning(tmp_path, classes=["bus", "car", "tram"]), Given())
    assert refused.value.remedies == (Remedy("labels"),)


def test_another_input_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A hyper-parameter 'input' with another meaning leaves the published one."""
    checkpoint = read_checkpoint(lightning(tmp_path, input={"height": 224, "width": 224}), Given())
    assert checkpoint.input == published_input(ARCHITECTURE)


def test_the_arguments_of_a_command_are_hyper_parameters(tmp_path: Path) -> None:
    """The namespace that training commands such as timm's store names the network."""
    weights = build("timm/resnet18", 2).state_dict()
    torch.save({"state_dict": weights, "args": argparse.Namespace(model="timm/resnet18")}, tmp_path / "file.pt")
    assert read_checkpoint(tmp_path / "file.pt", Given()).architecture == "timm/resnet18"


def test_a_label_of_several_classes_is_reported(tmp_path: Path) -> None:
    """Two classes may share a name, as in ImageNet, but the notes say how to distinguish them."""
    notes = read_checkpoint(lightning(tmp_path), Given(labels="crane,crane")).notes
    assert any("'crane' names several classes: explain them by index" in note.sentence for note in notes)


def test_labels_of_the_data_module_are_found(tmp_path: Path) -> None:
    """Class names are found in Lightning's data module arguments, and at the top level of a plain file."""
    weights = build(ARCHITECTURE, 2).state_dict()
    data = {"datamodule_hyper_parameters": {"class_names": ["bus", "car"]}}
    for beside in (data, {"class_to_idx": {"bus": 0, "car": 1}}, {"config": {"data": {"classes": ["bus", "car"]}}}):
        torch.save({"state_dict": weights, "hyper_parameters": {"lr": 0.1}, **beside}, tmp_path / "file.ckpt")
        assert read_checkpoint(tmp_path / "file.ckpt", Given()).labels == ("bus", "car")
    torch.save({"model": {"state_dict": weights, "class_names": ["bus", "car"]}, "epoch": 3}, tmp_path / "file.ckpt")
    assert read_checkpoint(tmp_path / "file.ckpt", Given()).labels == ("bus", "car")


def test_attributes_of_a_whole_network_are_read(tmp_path: Path) -> None:
    """Tutorials put the classes on the network before they save it; timm puts the name and the input there."""
    network: Any = build("timm/test_resnet", 2)
    network.class_to_idx = {"bus": 0, "car": 1}
    network.pretrained_cfg = network.default_cfg = network.pretrained_cfg | {"mean": [0.1, 0.2, 0.3], "std": [0.5] * 3}
    for content in (network, {"model": network, "epoch": 3}):
        torch.save(content, tmp_path / "file.pt")
        checkpoint = read_checkpoint(tmp_path / "file.pt", Given())
        assert (checkpoint.labels, checkpoint.input.mean) == (("bus", "car"), (0.1, 0.2, 0.3))


def test_a_transform_in_the_file_is_the_input(tmp_path: Path) -> None:
    """A Compose in the data module's hyper-parameters becomes the input; the user's options override it."""
    steps = [transforms.Resize((70, 80)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.25] * 3)]
    content = {"state_dict": build(ARCHITECTURE, 2).state_dict()}
    content |= {"datamodule_hyper_parameters": {"val_transform": transforms.Compose(steps)}}
    torch.save(content, tmp_path / "file.ckpt")
    checkpoint = read_checkpoint(tmp_path / "file.ckpt", Given(input={"mean": (0, 0, 0)}))
    assert (checkpoint.input.resize, checkpoint.input.crop) == ((70, 80), (70, 80))
    assert (checkpoint.input.mean, checkpoint.input.std) == ((0, 0, 0), (0.25, 0.25, 0.25))


def test_averaged_weights_are_used_on_request(tmp_path: Path) -> None:
    """If the file has both kinds of weights, the state dict is the default and the notes offer the average."""
    raw, mean = (build(ARCHITECTURE, 2).state_dict() for _ in range(2))
    names = {f"net.{name}": tensor for name, tensor in raw.items()}
    names |= {f"ema.module.{name}": tensor for name, tensor in mean.items()}
    torch.save({"state_dict": names}, tmp_path / "file.ckpt")
    usual, averaged = (read_checkpoint(tmp_path / "file.ckpt", Given(weights=which)) for which in (None, "ema"))
    assert any(note.remedies == (Remedy("weights", "ema"),) for note in usual.notes)
    for checkpoint, expected in ((usual, raw), (averaged, mean)):
        assert all(tensor.equal(expected[name]) for name, tensor in checkpoint.network.state_dict().items())
    with pytest.raises(ModelError, match="no averaged weights"):
        read_checkpoint(lightning(tmp_path), Given(weights="ema"))


def test_skipped_tensors_are_reported(tmp_path: Path) -> None:
    """Tensors that are not part of the network are counted by their first name part."""
    file = lightning(tmp_path)
    content = torch.load(file, weights_only=True)
    content["state_dict"] |= {"loss.weight": torch.ones(2), "ema.a": torch.ones(1), "ema.b": torch.ones(1)}
    torch.save(content, file)
    assert Note("left out: 2 of ema, loss") in read_checkpoint(file, Given()).notes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given(labels="bus,car,tram"), "2 classes but there are 3 labels"),
        (Given(architecture="alexnet"), "They are those of torchvision/squeezenet"),
        (Given(architecture="nothing_like_it"), "Neither torchvision nor timm"),
        (Given(input={"resize": 64}), "must not be smaller than crop"),
        (Given(input={"std": (1, 0, 1)}), "above 0"),
    ],
)
def test_contradicting_options_are_explained(given: Given, message: str, tmp_path: Path) -> None:
    """Labels, architecture or input that do not fit the network are errors that say what to change."""
    with pytest.raises(ModelError, match=message):
        read_checkpoint(lightning(tmp_path), given)


def test_an_adapter_without_its_network_is_explained(tmp_path: Path) -> None:
    """The layers of PEFT are named, and what merges them."""
    for name in ("vit.layer.0.query.lora_A.weight", "classifier.modules_to_save.default.weight"):
        torch.save({f"base_model.model.{name}": torch.zeros(3, 3)}, tmp_path / "adapter.bin")
        with pytest.raises(ModelError, match=r"LoRA.*merge_and_unload"):
            read_checkpoint(tmp_path / "adapter.bin", Given())


def test_tensors_of_an_unknown_network_are_explained(tmp_path: Path) -> None:
    """A file of a network that neither library has is an error that names both options."""
    torch.save({"my.weight": torch.zeros(3, 3)}, tmp_path / "own.pt")
    with pytest.raises(ModelError, match=r"my\.weight") as refused:
        read_checkpoint(tmp_path / "own.pt", Given())
    assert refused.value.remedies == (Remedy("architecture"), Remedy("module"))


TIMMS = {  # of its train.py, which stores all of its arguments
    "model": "resnet18.a1_in1k",
    **dict.fromkeys(("crop_pct", "mean", "std", "input_size", "img_size", "num_classes", "gp", "in_chans")),
    "interpolation": "",
}


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ({}, {}),
        ({"img_size": 128, "crop_pct": 1.0, "interpolation": "bilinear"}, {"crop": (128, 128), "resize": 128}),
        ({"input_size": [3, 96, 96], "mean": [0.5], "std": [0.25]}, {"crop": (96, 96), "mean": (0.5,) * 3}),
    ],
)
def test_the_arguments_of_timms_script_say_how_images_are_prepared(
    said: dict[str, Any], changed: dict[str, Any], tmp_path: Path
) -> None:
    """They override what is published for the weights, as in the script itself, and the network is timm's."""
    weights = build("timm/resnet18", 2).state_dict()
    torch.save({"state_dict": weights, "args": argparse.Namespace(**TIMMS | said)}, tmp_path / "file.ckpt")
    checkpoint = read_checkpoint(tmp_path / "file.ckpt", Given())
    assert checkpoint.architecture == "timm/resnet18"
    expected = published_input("timm/resnet18.a1_in1k").model_dump() | changed
    assert {name: getattr(checkpoint.input, name) for name in changed} == changed
    assert said or checkpoint.input.model_dump() == expected


def test_the_arguments_of_torchvisions_script_say_how_images_are_prepared(tmp_path: Path) -> None:
    """Its reference script stores the sizes of validation images."""
    said = argparse.Namespace(model="resnet18", val_resize_size=96, val_crop_size=88, interpolation="bicubic")
    torch.save({"model": build("torchvision/resnet18", 2).state_dict(), "args": said}, tmp_path / "file.ckpt")
    found = read_checkpoint(tmp_path / "file.ckpt", Given())
    expected = published_input("torchvision/resnet18").model_dump() | {
        "resize": 96,
        "crop": (88, 88),
        "interpolation": "bicubic",
    }
    assert (found.architecture, found.input.model_dump()) == ("torchvision/resnet18", expected)


@pytest.mark.parametrize(
    ("said", "mean"),
    [
        ({"mean": [0.1, 0.2, 0.3], "std": (0.5, 0.5, 0.5)}, (0.1, 0.2, 0.3)),
        ({"data": {"img_mean": np.array([25.5, 51, 255]), "img_std": np.array([1.0, 2, 3])}}, (0.1, 0.2, 1.0)),
        ({"mean": [0.4], "std": [0.3]}, (0.4, 0.4, 0.4)),
        ({"MEAN": [51.0] * 3, "STD": [0.5] * 3}, None),
        ({"mean": [0.1, 0.2, 0.3], "std": [0, 1, 1]}, None),
        ({"mean": [0.1] * 3, "std": [1] * 3, "val": {"mean": [0.2] * 3, "std": [1] * 3}}, None),
        ({"mean": 0, "std": 1}, None),
    ],
)
def test_mean_and_std_in_the_hyper_parameters_are_those_of_images(
    said: dict[str, Any], mean: tuple[float, ...] | None, tmp_path: Path
) -> None:
    """One pair of three numbers, or of one, in units of [0, 1] or of levels, replaces the published one."""
    checkpoint = read_checkpoint(lightning(tmp_path, **said), Given())
    assert checkpoint.input.mean == pytest.approx(mean or published_input(ARCHITECTURE).mean)
    assert any("mean and std from hyper-parameters" in note.sentence for note in checkpoint.notes) == bool(mean)


def test_a_std_of_255_without_a_mean_is_in_levels() -> None:
    """Hyper-parameters that only divide values from 0 to 255 by 255 do not divide those from 0 to 1 once more."""
    assert said_normalization({"mean": [0, 0, 0], "std": [255, 255, 255]}) == {"mean": (0, 0, 0), "std": (1, 1, 1)}


@pytest.mark.parametrize(
    "said",
    [
        {"mean": [103.939, 116.779, 123.68], "std": [1, 1, 1]},
        {"mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395]},
        {"mean": [0.406, 0.456, 0.485], "std": [0.225, 0.224, 0.229]},
    ],
)
def test_a_mean_from_blue_to_red_is_not_applied_from_red_to_blue(said: dict[str, Any], tmp_path: Path) -> None:
    """Networks of Caffe and OpenCV take blue first: their answers would be wrong without a word."""
    file = lightning(tmp_path, **said)
    with pytest.raises(ModelError, match=r"order blue, green, red.*give your own class") as refused:
        read_checkpoint(file, Given())
    assert [remedy.field for remedy in refused.value.remedies] == ["module", "mean", "std"]
    assert read_checkpoint(file, Given(input={"mean": USUAL.mean, "std": USUAL.std})).input.mean == USUAL.mean


@pytest.mark.parametrize("said", [{"img_size": 128}, {"data": {"image_size": (128, 128)}}])
def test_another_size_in_the_hyper_parameters_is_reported(said: dict[str, Any], tmp_path: Path) -> None:
    """A size that differs from the published one does not go unnoticed; one that is set, or equal, is not reported."""
    set_sizes = (Remedy("resize", "128x128"), Remedy("crop", "128"))

    def remedies(given: Given, **hyper_parameters: Any) -> list[tuple[Remedy, ...]]:
        return [note.remedies for note in read_checkpoint(lightning(tmp_path, **hyper_parameters), given).notes]

    assert set_sizes in remedies(Given(), **said)
    assert set_sizes not in remedies(Given(input={"resize": 128, "crop": (128, 128)}), **said)
    assert set_sizes not in remedies(Given(), img_size=224, input_size=2048)


@pytest.mark.parametrize(
    ("said", "tag"),
    [
        ({"weights": "IMAGENET1K_V2"}, ".IMAGENET1K_V2"),
        ({"weights": "ResNet50_Weights.IMAGENET1K_V2"}, ".IMAGENET1K_V2"),
        ({"init_args": {"pretrained": "DEFAULT"}}, ".IMAGENET1K_V2"),
        ({"weights": ResNet50_Weights.IMAGENET1K_V2}, ".IMAGENET1K_V2"),
        ({"weights": ResNet50_Weights.IMAGENET1K_V1}, ".IMAGENET1K_V1"),
        ({"weights": "ResNet18_Weights.IMAGENET1K_V1", "teacher_weights": "IMAGENET1K_V2"}, ""),
        ({"weights": "imagenet", "phase": "DEFAULT"}, ""),
    ],
)
def test_the_input_is_that_of_the_weights_of_torchvision_that_the_file_names(
    said: dict[str, Any], tag: str, tmp_path: Path
) -> None:
    """Torchvision's second weights of a network were trained with other sizes than its first."""
    torch.save({"hyper_parameters": said, "state_dict": {"weight": torch.zeros(2)}}, tmp_path / "file.ckpt")
    stored = read_weights_file(tmp_path / "file.ckpt").hyper_parameters
    assert named_weights("torchvision/resnet50", stored) == f"torchvision/resnet50{tag}"
    assert published_input("torchvision/resnet50.IMAGENET1K_V2").resize == 232
    assert published_input("torchvision/resnet50.IMAGENET1K_V1").resize == 256


@pytest.mark.parametrize(
    ("name", "architecture", "resize"),
    [
        ("resnet18.gluon_in1k", "timm/resnet18", 256),
        ("hf_hub:timm/resnet18.a1_in1k", "timm/resnet18", 235),
        ("gluon_resnet18_v1b", "timm/resnet18", 256),
        ("torchvision/resnet18.IMAGENET1K_V1", "torchvision/resnet18", 256),
        ("resnet18.imagenet1k_v1", "torchvision/resnet18", 256),
    ],
)
def test_an_architecture_may_be_given_with_the_tag_of_its_weights(
    name: str, architecture: str, resize: int, tmp_path: Path
) -> None:
    """The preprocessing is that of the weights with the tag."""
    found = read_checkpoint(lightning(tmp_path, "torchvision/resnet18"), Given(architecture=name))
    assert (found.architecture, found.input.resize) == (architecture, resize)


def test_an_unknown_tag_is_explained(tmp_path: Path) -> None:
    """The error names the tags that exist."""
    with pytest.raises(ModelError, match=r"no published weights resnet18\.of_ours \(timm has .*resnet18\.a1_in1k"):
        read_checkpoint(lightning(tmp_path, "torchvision/resnet18"), Given(architecture="resnet18.of_ours"))
    with pytest.raises(ModelError, match="did you mean"):
        read_checkpoint(lightning(tmp_path, "torchvision/resnet18"), Given(architecture="resnt18.a1_in1k"))
