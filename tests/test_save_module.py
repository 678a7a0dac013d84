"""A module that is in memory at the end of training, stored from Python."""

import re
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import transforms as v1

from save_model import save_model
from src.errors import ModelError
from src.runtimes.select import start
from src.store import bundle
from tests.places import ROOT

TRANSFORM = v1.Compose(
    [v1.Resize(18), v1.CenterCrop(16), v1.ToTensor(), v1.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.2))]
)


class Lit(pl.LightningModule):
    """A tiny network with what depends on the mode."""

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 3), last or nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores."""
        scores: Tensor = self.head(self.net(images))
        return scores

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss."""
        return functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.Adam(self.parameters(), 0.01)


def fitted(module: Lit, *callbacks: pl.Callback) -> Lit:
    """Train ``module`` for two steps."""
    torch.manual_seed(0)
    data = [(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])) for _ in range(2)]
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=None))  # type: ignore[arg-type]
    return module


def guides_callback() -> Any:
    """The callback of the guide."""
    guide = (ROOT / "docs" / "guides" / "your-own-model.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```py\n(.*?)```", guide, re.DOTALL)
    variables: dict[str, Any] = {}
    exec(code, variables)  # noqa: S102 - our own guide
    return variables["Store"]


@pytest.mark.filterwarnings("ignore")  # Lightning advises on worker processes, and torch on Lightning
def test_the_callback_of_the_guide_stores_what_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    """What is served prepares images as the transform did and answers as the module does."""
    callback = guides_callback()(name="in-memory", labels=["a", "b", "c"], transform=TRANSFORM)
    module = fitted(Lit(nn.LogSoftmax(dim=1)), callback)
    (tag,) = re.findall(r"stored (in-memory:\w+)", capsys.readouterr().out)
    loaded = bundle.load(tag)
    assert (loaded.manifest.architecture, loaded.manifest.labels) == ("module/Lit", ("a", "b", "c"))
    assert loaded.manifest.output.kind == "softmax"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    logits = start(loaded.folder, loaded.manifest, threads=1).evaluate(pixels).logits
    prepared = v1.Compose(TRANSFORM.transforms[2:])(Image.fromarray(pixels))
    expected = module.eval()(prepared[None]).softmax(1)[0].detach()
    np.testing.assert_allclose(torch.from_numpy(logits).softmax(0), expected, atol=1e-5)


def test_the_module_stays_as_it_is() -> None:
    """Its mode, what learns, its weights and what is called are as before; sigmoids at its end mean multi-label."""
    module = Lit(nn.Sigmoid()).train()
    module.net.eval()
    module.head[2].bias.requires_grad = False
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    modes = [one.training for one in module.modules()]
    with torch.inference_mode():
        tag = save_model(module, name="unchanged", version="1", labels="a,b,c", transform=TRANSFORM, layer="net.0")
    assert tag == "unchanged:1"
    manifest = bundle.load(tag).manifest
    assert (manifest.layer, manifest.output.kind) == ("net.0", "multilabel")
    assert [one.training for one in module.modules()] == modes
    assert [one.requires_grad for one in module.parameters()] == [True] * 4 + [True, False]
    assert "forward" not in vars(module)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


def test_what_does_not_fit_is_refused() -> None:
    """Labels of another number, a version that is there, and images of another size are one sentence each."""
    for changed, message in (
        ({"labels": ["a", "b"]}, "has 3 classes, but there are 2 labels"),
        ({"transform": v1.Compose([v1.Resize((2, 2)), v1.ToTensor()])}, "cannot take 3-channel images of 2 x 2 pixels"),
        ({"name": "no name!"}, "refused"),
    ):
        arguments: dict[str, Any] = {"name": "refused", "labels": "a,b,c", "transform": TRANSFORM, **changed}
        with pytest.raises(ModelError, match=message):
            save_model(Lit(), **arguments)
