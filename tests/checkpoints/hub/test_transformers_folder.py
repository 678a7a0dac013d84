"""Folders as transformers saves them: each kind of its image classifiers, small and untrained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from src.checkpoints.checkpoint import read_checkpoint
from src.checkpoints.given import Given
from src.conversion.draft import draft
from src.errors import ModelError, Remedy
from src.stages.decoded_image import DecodedImage
from src.stages.output_spec import OutputSpec
from src.stages.transform import transform

hf: Any = transformers  # it has types that need hints of ours for each line
LABELS = ("cat", "dog", "owl")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
WINDOWS = {
    "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4,
}  # fmt: skip
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
SQUARE = {"height": 32, "width": 32}


def _stretched(processor: Callable[..., Any], **options: Any) -> Any:
    return processor(size=SQUARE, **options)


def _cropped(processor: Callable[..., Any], shorter: int, side: int, **options: Any) -> Any:
    return processor(size={"shortest_edge": shorter}, crop_size={"height": side, "width": side}, **options)


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "vit": lambda: (hf.ViTConfig(**SMALL), _stretched(hf.ViTImageProcessor)),
    "vit, no normalize": lambda: (hf.ViTConfig(**SMALL), _stretched(hf.ViTImageProcessor, do_normalize=False)),
    "vit, no rescale": lambda: (hf.ViTConfig(**SMALL), _stretched(hf.ViTImageProcessor, do_rescale=False)),
    "vit, colors swapped": lambda: (hf.ViTConfig(**SMALL), _cropped(hf.MobileViTImageProcessor, 40, 32)),
    "deit": lambda: (
        hf.DeiTConfig(**SMALL), hf.DeiTImageProcessor(size={"height": 39, "width": 42}, crop_size=SQUARE),
    ),
    "beit": lambda: (hf.BeitConfig(**SMALL), hf.BeitImageProcessor(size={"height": 37, "width": 37}, crop_size=SQUARE)),
    "data2vec": lambda: (hf.Data2VecVisionConfig(**SMALL), _stretched(hf.BeitImageProcessor, do_center_crop=False)),
    "swin": lambda: (hf.SwinConfig(**WINDOWS), _stretched(hf.ViTImageProcessor, resample=3)),
    "swin 2": lambda: (hf.Swinv2Config(**WINDOWS), _stretched(hf.ViTImageProcessor, resample=3)),
    "convnext": lambda: (hf.ConvNextConfig(**STAGES), hf.ConvNextImageProcessor(size={"shortest_edge": 32})),
    "convnext 2": lambda: (
        hf.ConvNextV2Config(**STAGES), hf.ConvNextImageProcessor(size={"shortest_edge": 33}, crop_pct=0.9),
    ),
    "resnet": lambda: (
        hf.ResNetConfig(embedding_size=8, layer_type="basic", **STAGES),
        hf.ConvNextImageProcessor(size={"shortest_edge": 32}, resample=2),
    ),
    "regnet": lambda: (
        hf.RegNetConfig(embedding_size=8, groups_width=4, **STAGES),
        hf.ConvNextImageProcessor(size={"shortest_edge": 32}),
    ),
    "dinov2": lambda: (hf.Dinov2Config(**SMALL), _cropped(hf.BitImageProcessor, 37, 32)),
    "dinov2 with registers": lambda: (hf.Dinov2WithRegistersConfig(**SMALL), _cropped(hf.BitImageProcessor, 38, 32)),
    "mobilevit, colors swapped": lambda: (
        hf.MobileViTConfig(
            image_size=64, hidden_sizes=[16] * 3, neck_hidden_sizes=[8] * 6 + [16], num_attention_heads=2
        ),
        _cropped(hf.MobileViTImageProcessor, 72, 64),
    ),
    "mobilenet 1": lambda: (hf.MobileNetV1Config(depth_multiplier=0.2), _cropped(hf.MobileNetV1ImageProcessor, 40, 32)),
    "mobilenet 2": lambda: (hf.MobileNetV2Config(depth_multiplier=0.2), _cropped(hf.MobileNetV2ImageProcessor, 40, 33)),
    "levit": lambda: (
        hf.LevitConfig(
            image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[2] * 3, depths=[1] * 3, key_dim=[8] * 3
        ),
        _cropped(hf.LevitImageProcessor, 64, 64),
    ),
    "focalnet": lambda: (
        hf.FocalNetConfig(image_size=32, patch_size=2, embed_dim=8, depths=[1, 1], focal_levels=[1, 1],
                          focal_windows=[3, 3], hidden_sizes=[8, 16]),
        _cropped(hf.BitImageProcessor, 32, 32),
    ),
    "pvt": lambda: (
        hf.PvtConfig(image_size=32, hidden_sizes=[8, 16, 16, 16], depths=[1] * 4, num_attention_heads=[1] * 4),
        _stretched(hf.PvtImageProcessor),
    ),
    "poolformer": lambda: (hf.PoolFormerConfig(**STAGES), _cropped(hf.PoolFormerImageProcessor, 32, 32)),
    "siglip": lambda: (hf.SiglipConfig(vision_config=SMALL), _stretched(hf.SiglipImageProcessor)),
    "segformer": lambda: (
        hf.SegformerConfig(num_attention_heads=[1, 1, 2, 2], **STAGES), _stretched(hf.SegformerImageProcessor),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    hf.utils.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()


def _network(config: Any) -> Any:
    """Return an untrained network whose answers are not nearly zero."""
    torch.manual_seed(0)
    config.num_labels = len(LABELS)
    config.id2label, config.label2id = dict(enumerate(LABELS)), {label: index for index, label in enumerate(LABELS)}
    classes = hf.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    network = (classes[0] if isinstance(classes, tuple) else classes)(config).eval()
    for tensor in network.parameters():
        if tensor.ndim > 1:
            torch.nn.init.normal_(tensor, 0, 0.2)
    for name, tensor in network.named_buffers():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    return network


def written(folder: Path, kind: str = "vit") -> tuple[Any, Any]:
    """Return a network of transformers and its processor, both saved to ``folder`` by the library."""
    config, processor = KINDS[kind]()
    network = _network(config)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return network, processor


def _changed(folder: Path, **config: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_transformers_gives_the_librarys_answers(kind: str, tmp_path: Path) -> None:
    """Labels, prepared pixels (within one level) and logits equal the library's, without any options."""
    network, processor = written(tmp_path, kind)
    checkpoint = read_checkpoint(tmp_path, Given())
    image = Image.radial_gradient("L").resize((171, 133)).convert("RGB")
    image.paste((200, 90, 30), (20, 30, 90, 60))
    theirs = processor(image, return_tensors="pt")["pixel_values"]
    pixels = transform(DecodedImage(image, *image.size), checkpoint.input).pixels
    ours = torch.from_numpy(checkpoint.input.normalize(pixels))[None]
    expected = theirs.flip(1) if "swapped" in kind else theirs
    levels = (ours - expected).abs() * torch.tensor(checkpoint.input.std).reshape(-1, 1, 1) * 255
    assert levels.max() < 1.01
    with torch.inference_mode():
        torch.testing.assert_close(checkpoint.network(expected), network(theirs).logits, rtol=0, atol=1e-4)
    assert checkpoint.labels == LABELS


def test_a_folder_of_transformers_is_verified_like_every_network(tmp_path: Path) -> None:
    """It is captured, cut, converted, explained and verified, to be served without torch."""
    written(tmp_path, "vit, colors swapped")
    with draft(read_checkpoint(tmp_path, Given())) as drafted:
        assert drafted.verification.captured < 1e-4
        assert drafted.agreement.probability < 1e-4
        assert not drafted.manifest.note


def test_weights_under_old_names_are_read(tmp_path: Path) -> None:
    """Tensors that transformers has renamed since are found, as transformers finds them."""
    network, _ = written(tmp_path)
    names = load_file(tmp_path / "model.safetensors").keys()
    assert names != network.state_dict().keys(), "nothing was renamed: the test proves nothing"
    pixels = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        ours = read_checkpoint(tmp_path, Given()).network(pixels)
        torch.testing.assert_close(ours, network(pixels).logits, rtol=0, atol=1e-5)


def test_weights_of_torch_save_are_read(tmp_path: Path) -> None:
    """A folder with pytorch_model.bin is read like one with safetensors."""
    written(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert read_checkpoint(tmp_path, Given()).labels == LABELS


def test_an_assumed_input_is_reported(tmp_path: Path) -> None:
    """If the folder does not describe the preprocessing, the notes say what is assumed and how to change it."""
    written(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    checkpoint = read_checkpoint(tmp_path, Given())
    (assumed,) = [note for note in checkpoint.notes if "assumed" in note.sentence]
    assert Remedy("resize") in assumed.remedies
    assert checkpoint.input.crop == (32, 32)


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    """LABEL_0, LABEL_1, ... do not count as names."""
    written(tmp_path)
    _changed(tmp_path, id2label={str(index): f"LABEL_{index}" for index in range(3)})
    assert read_checkpoint(tmp_path, Given()).labels == ("class 0", "class 1", "class 2")


def test_code_in_the_folder_is_not_run(tmp_path: Path) -> None:
    """Python files in a folder, and their names in its configuration, are never run."""
    network, _ = written(tmp_path)
    trace = tmp_path / "trace"
    (tmp_path / "modeling_own.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    names = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForImageClassification": "modeling_own.Own",
        "AutoImageProcessor": "modeling_own.OwnProcessor",
    }
    _changed(tmp_path, auto_map=names)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": names}))
    pixels = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        ours = read_checkpoint(tmp_path, Given()).network(pixels)
        torch.testing.assert_close(ours, network(pixels).logits, rtol=0, atol=1e-5)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert"}, "no image classifier of the kind 'bert'"),
        ({"model_type": "their_own"}, "no image classifier of the kind 'their_own'"),
        ({"architectures": ["ViTForMaskedImageModeling"]}, "only ViTForImageClassification of vit classifies"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantized"),
        ({"problem_type": "regression"}, "says regression"),
        ({"num_channels": 4}, "4 input channels"),
        ({"hidden_size": 32}, "ViTForImageClassification"),
        ({"num_hidden_layers": 3}, r"do not fit ViTForImageClassification: .* is missing"),
        ({"num_hidden_layers": "many"}, r"rejects config\.json"),
    ],
)
def test_an_unsupported_configuration_is_explained(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A network that is not a classifier, or does not fit the weights, is refused with the reason."""
    written(tmp_path)
    _changed(tmp_path, **config)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(tmp_path, Given())


def test_a_multilabel_configuration_is_followed(tmp_path: Path) -> None:
    """If config.json says that classes are not exclusive, each gets its own probability."""
    written(tmp_path)
    _changed(tmp_path, problem_type="multi_label_classification")
    assert read_checkpoint(tmp_path, Given()).output == OutputSpec(kind="multilabel")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_resize": False}, "ViTImageProcessor.*images are not resized"),
        ({"size": {"shortest_edge": 40}, "do_center_crop": False}, "ViTImageProcessor.*aspect ratio"),
        ({"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 40, "width": 40}},
         "ViTImageProcessor.*must not be smaller than crop"),
        ({"image_processor_type": "EfficientNetImageProcessor", "rescale_offset": True}, "EfficientNetImageProcessor"),
        ({"image_processor_type": "OwnImageProcessor"}, "OwnImageProcessor|processor"),
    ],
)  # fmt: skip
def test_an_unsupported_processor_is_refused_by_name(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """A processor that prepares images differently is not approximated."""
    written(tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(ModelError, match=message):
        read_checkpoint(tmp_path, Given())


def test_surplus_tensors_are_reported(tmp_path: Path) -> None:
    """Tensors that transformers would leave out are left out and counted."""
    written(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"pooler.weight": torch.ones(2)}, file)
    assert any("left out: pooler" in note.sentence for note in read_checkpoint(tmp_path, Given()).notes)


def test_a_checkpoint_without_configuration_is_explained(tmp_path: Path) -> None:
    """A Lightning checkpoint of a transformers network is refused: its tensors do not show the number of heads."""
    network = _network(hf.ViTConfig(**SMALL))
    torch.save({"state_dict": {f"vit.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "file.ckpt")
    with pytest.raises(ModelError, match=r"save_pretrained\(FOLDER\)") as refused:
        read_checkpoint(tmp_path / "file.ckpt", Given())
    assert refused.value.remedies == (Remedy("module"),)
