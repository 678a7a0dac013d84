"""Networks that read only one token at the end."""

import pytest
import torch
from torch import nn

from src.checkpoints.network import build
from src.conversion.capture import capture
from src.conversion.cut import cut
from src.stages.input_spec import InputSpec

aten = torch.ops.aten
SIDE = 160
SPEC = InputSpec(resize=SIDE, crop=(SIDE, SIDE), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


class _Tokens(nn.Module):
    """Attention and an MLP over patches and a class token at index ``read``, which is the only one read."""

    def __init__(self, read: int) -> None:
        super().__init__()
        self.read = read
        self.patch: nn.Module = nn.Conv2d(3, 16, 32, 32)
        self.qkv = nn.Linear(16, 48)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.scale = nn.Parameter(torch.rand(16))
        self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.last = nn.Linear(16, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch(images).flatten(2).transpose(1, 2)
        token = self.token.expand(images.shape[0], -1, -1)
        tokens = torch.cat((token, patches) if self.read == 0 else (patches, token), dim=1)
        parts = self.qkv(tokens).reshape(images.shape[0], -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(*parts.unbind())
        tokens = tokens + mixed.transpose(1, 2).flatten(2)
        logits: torch.Tensor = self.last((tokens + self.scale * self.mlp(tokens))[:, self.read])
        return logits


def _rows(head: torch.fx.GraphModule, images: torch.Tensor) -> list[int]:
    """Return how many tokens each linear layer computes."""
    found: list[int] = []

    class Counting(torch.fx.Interpreter):
        def call_function(self, target: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
            result = super().call_function(target, args, kwargs)  # type: ignore[arg-type]
            if target is aten.linear.default and isinstance(result, torch.Tensor):
                found.append(result[0, ..., 0].numel())
            return result

    with torch.no_grad():
        Counting(head).run(images)
    return found


@pytest.mark.parametrize("read", [0, -1])
def test_only_the_token_that_is_read_is_computed_after_the_attention(read: int) -> None:
    """Logits and gradient stay the same, and linear layers after the attention compute one token instead of 26."""
    torch.manual_seed(0)
    network = _Tokens(read).eval().requires_grad_(requires_grad=False)
    parts = cut(capture(network, SPEC), SPEC, "patch")
    images = torch.randn(2, 3, SIDE, SIDE)
    features = parts.network()(images)[0]
    found, expected = features.clone().requires_grad_(), features.clone().requires_grad_()
    parts.head(found)[:, 1].sum().backward()
    network.patch = nn.Identity()
    logits = network(expected)
    logits[:, 1].sum().backward()
    torch.testing.assert_close(parts.head(features), logits, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-5, atol=1e-7)
    assert _rows(parts.head, features) == [26, 1, 1, 1]


def test_only_the_two_tokens_that_are_read_are_computed() -> None:
    """A distilled DeiT reads two tokens, and its last block computes only these."""
    torch.manual_seed(0)
    network = build("timm/deit_tiny_distilled_patch16_224", 3)
    spec = InputSpec(resize=224, crop=(224, 224), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    parts = cut(capture(network, spec), spec)
    images = torch.randn(1, 3, 224, 224)
    features, logits = parts.network()(images)
    torch.testing.assert_close(logits, network(images), rtol=1e-6, atol=1e-6)
    assert sorted(_rows(parts.head, features)) == [1] * 8 + [198]


def test_all_tokens_are_computed_if_all_are_read() -> None:
    """A network that averages its tokens is not changed."""
    torch.manual_seed(0)
    parts = cut(capture(build("timm/mixer_s32_224", 3), SPEC_224), SPEC_224, "blocks.6")
    features = parts.network()(torch.randn(1, 3, 224, 224))[0]
    assert max(_rows(parts.head, features)) > 1
    assert not parts.head.graph.find_nodes(op="call_function", target=aten.slice.Tensor)


SPEC_224 = InputSpec(resize=224, crop=(224, 224), interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
