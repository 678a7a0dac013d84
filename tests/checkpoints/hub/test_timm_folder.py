"""Folders as timm uploads them to the hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import timm.data
import torch
from PIL import Image
from safetensors.torch import save_file

from src.checkpoints.checkpoint import Checkpoint, read_checkpoint
from src.checkpoints.given import Given
from src.errors import ModelError, Remedy
from src.stages.decoded_image import DecodedImage
from src.stages.transform import transform

LABELS = ["cat", "dog", "owl"]
models: Any = timm.models  # it has no types
data: Any = timm.data


def written(folder: Path, name: str = "test_resnet", **arguments: Any) -> tuple[torch.nn.Module, Path]:
    """Return a network of timm, and a folder that timm saved it to."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **arguments).eval()
    models.save_for_hf(network, folder, model_config={"label_names": LABELS}, safe_serialization=True)
    return network, folder


def _changed(folder: Path, **config: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


def _answers(checkpoint: Checkpoint, network: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits for a sample from the checkpoint and from timm, each with its own preprocessing."""
    image = Image.radial_gradient("L").resize((301, 211)).convert("RGB")
    theirs = data.create_transform(**data.resolve_model_data_config(network), is_training=False)(image)[None]
    pixels = transform(DecodedImage(image, *image.size), checkpoint.input).pixels
    ours = torch.from_numpy(checkpoint.input.normalize(pixels))[None]
    with torch.inference_mode():
        return checkpoint.network(ours), network(theirs)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("test_resnet", {}),
        ("test_vit", {"img_size": 192}),
        ("test_vit2", {"global_pool": "avg"}),
        ("test_efficientnet", {}),
        ("test_convnext", {}),
        ("test_byobnet", {}),
        ("test_mambaout", {}),
    ],
)
def test_a_folder_of_timm_gives_timms_answers(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    """Labels, preprocessing and logits equal timm's for the same folder, without any options."""
    network, folder = written(tmp_path, name, **arguments)
    checkpoint = read_checkpoint(folder, Given())
    assert (checkpoint.architecture, checkpoint.labels) == (f"timm/{name}", tuple(LABELS))
    torch.testing.assert_close(*_answers(checkpoint, network), rtol=0, atol=1e-4)


def test_naming_the_file_reads_its_folder(tmp_path: Path) -> None:
    """Given model.safetensors, the files beside it are read, too."""
    _, folder = written(tmp_path)
    assert read_checkpoint(folder / "model.safetensors", Given()).labels == tuple(LABELS)


def test_options_override_the_folder(tmp_path: Path) -> None:
    """The user's labels and fields of the input take precedence."""
    _, folder = written(tmp_path)
    checkpoint = read_checkpoint(folder, Given(labels="a,b,c", input={"mean": (0, 0, 0)}))
    assert (checkpoint.labels, checkpoint.input.mean) == (("a", "b", "c"), (0, 0, 0))


@pytest.mark.parametrize("said", [{"network": "head"}, {"activation": "relu"}, {"stem": "cifar"}])
def test_an_option_that_a_folder_answers_itself_is_refused(said: dict[str, Any], tmp_path: Path) -> None:
    """It would have no effect."""
    _, folder = written(tmp_path)
    with pytest.raises(ModelError, match=r"config\.json .* omit the option"):
        read_checkpoint(folder, Given(**said))


def test_the_old_flat_configuration_is_read(tmp_path: Path) -> None:
    """A configuration in one flat object, as timm first wrote it, is read."""
    _, folder = written(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    flat = {**config.pop("pretrained_cfg"), **config, "mean": [0.5, 0.5, 0.5]}
    (folder / "config.json").write_text(json.dumps(flat))
    checkpoint = read_checkpoint(folder, Given())
    assert (checkpoint.labels, checkpoint.input.mean) == (tuple(LABELS), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "their_own"}, "Neither torchvision nor timm has"),
        ({"architecture": "test_vit"}, r"do not fit timm/test_vit.*They are those of timm/test_resnet"),
        ({"num_classes": None, "pretrained_cfg": {}}, "how many classes"),
        ({"num_classes": 4}, r"do not fit"),
        ({"model_args": {"checkpoint_path": "/etc/passwd"}}, "checkpoint_path='/etc/passwd', which is not supported"),
        ({"model_args": {"pretrained": True}}, "pretrained=True, which is not supported"),
        ({"model_args": {"depth": -1, "no_such": 3}}, "cannot build test_resnet"),
        ({"label_names": ["cat"]}, "3 classes but there are 1 labels"),
    ],
)
def test_an_inconsistent_folder_is_explained(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A configuration that does not fit the weights, or asks for more than a network, is refused."""
    _, folder = written(tmp_path)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(_changed(folder, **config), Given())


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"input_size": [3, 192, 96]}, "cover 192x96 is not supported"), ({"crop_mode": "border"}, "'border' is not")],
)
def test_preprocessing_that_is_not_supported_is_refused_until_the_user_states_another(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """The aspect ratio stays in timm here, and stretching instead would change the answers."""
    _, folder = written(tmp_path)
    published = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    with pytest.raises(ModelError, match=message) as refused:
        read_checkpoint(_changed(folder, pretrained_cfg=published | changed), Given())
    assert refused.value.remedies == (Remedy("architecture", "timm/test_resnet"),)
    stated = {"resize": (192, 96), "crop": (192, 96)}
    checkpoint = read_checkpoint(folder, Given(architecture="timm/test_resnet", input=stated))
    assert checkpoint.input.resize == (192, 96)


def test_a_file_without_a_configuration_is_recognized(tmp_path: Path) -> None:
    """A safetensors file without a configuration is recognized by its tensors."""
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "model.safetensors")
    assert read_checkpoint(tmp_path, Given()).architecture == "timm/test_resnet"
