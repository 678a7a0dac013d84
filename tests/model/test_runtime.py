"""The backbone in its engine."""

import pytest
import torch

from src.model.network import build
from src.model.runtime import start
from src.model.split import split

SIZE = (64, 64)


def test_features_are_those_of_the_backbone_without_gradients() -> None:
    """The runtime gives the backbone's own features, and they carry no graph."""
    parts = split(build("torchvision/resnet18", 2), SIZE)
    picture = torch.randn(1, 3, *SIZE)
    runtime = start(parts, "cpu", 1)
    features = runtime.features(picture)
    assert torch.equal(features, parts.backbone(picture))
    assert not features.requires_grad


@pytest.mark.parametrize("threads", [1, 2, 64])
def test_cores_are_shared_out_between_the_threads(threads: int) -> None:
    """Threads of requests times threads of torch are no more than there were cores, and at least one each."""
    before, cores = torch.get_num_threads(), 4
    torch.set_num_threads(cores)
    try:
        start(split(build("torchvision/squeezenet1_1", 2), SIZE), "cpu", threads)
        assert torch.get_num_threads() == max(1, cores // threads)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_is_used_where_there_is_one() -> None:
    """With device auto the network runs on the GPU and answers as on the CPU."""
    network, picture = build("torchvision/resnet18", 2), torch.randn(1, 3, *SIZE)
    expected = network(picture)
    runtime = start(split(network, SIZE), "auto", 1)
    assert runtime.device.type == "cuda"
    assert torch.allclose(runtime.head(runtime.features(picture)).cpu(), expected, atol=1e-3)
