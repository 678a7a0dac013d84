"""A network of torchvision or timm as a Lightning module that learns to classify images."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from src.checkpoints.carried import KEY, Carried
from src.checkpoints.network import RGB, build
from src.training.batches import Batch

__all__ = ["Classifier", "head_names"]

_WARM_UP: Final = 0.1  # share of all steps
_FINAL_RATE: Final = 0.01  # share of the learning rate
_NORMS: Final = (nn.modules.batchnorm._BatchNorm,)  # noqa: SLF001 - the only common base of the batch norms


class Classifier(pl.LightningModule):
    """A classifier that is trained with cross-entropy, AdamW and a cosine schedule.

    If an image may belong to several classes, the loss is the binary cross-entropy of each class.

    Its checkpoints are self-describing, and plain enough for ``torch.load(weights_only=True)``: ``hyper_parameters``
    has all arguments below in plain types, and the tensors are the network's, with the prefix ``network.``.

    Args:
        architecture: ``torchvision/<name>`` or ``timm/<name>``.
        labels: Name of each class, by index.
        input: Preprocessing of the images, ``InputSpec.model_dump(mode="json")``.
        output: What the outputs mean, ``OutputSpec.model_dump(mode="json")``; softmax if omitted.
        learning_rate: Highest learning rate of the head.
        backbone_rate: Learning rate of all other layers, as a share of the head's.
        weight_decay: Weight decay of AdamW, for weights of two or more dimensions.
        label_smoothing: Share of the target that is spread over all classes.
        frozen: Names of the network's first layers, which keep their weights. They run in sequence where batches are
            prepared, see :meth:`frozen_layers`; since they never change, many threads can run them at once.
        keep_statistics: Whether batch norms keep their running mean and variance, as suits pretrained networks.
        origin: What it was trained on, for the reader and to decide whether a run can be resumed.

    Raises:
        ModelError: The architecture does not exist.
    """

    def __init__(  # noqa: PLR0913 - all that a checkpoint stores about its training
        self,
        *,
        architecture: str,
        labels: Sequence[str],
        input: Mapping[str, Any],  # noqa: A002 - its name in checkpoints and in the manifest
        output: Mapping[str, Any] | None = None,
        learning_rate: float = 1e-3,
        backbone_rate: float = 1.0,
        weight_decay: float = 0.02,
        label_smoothing: float = 0.05,
        frozen: Sequence[str] = (),
        keep_statistics: bool = False,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.carried: Carried | None = None
        self.save_hyperparameters(
            {
                "architecture": architecture,
                "labels": list(labels),
                "input": dict(input),
                "output": dict(output or {"kind": "softmax"}),
                "learning_rate": learning_rate,
                "backbone_rate": backbone_rate,
                "weight_decay": weight_decay,
                "label_smoothing": label_smoothing,
                "frozen": list(frozen),
                "keep_statistics": keep_statistics,
                "origin": dict(origin or {}),
            }
        )
        # Convolutions are fastest in this layout: on a CPU, three times as fast as in the default one.
        self.network = build(architecture, len(labels), input.get("channels", RGB)).to(
            memory_format=torch.channels_last
        )
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.partition(".")[0] not in frozen)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add ``carried``, which identifies the training images, to every ``checkpoint``."""
        if self.carried:
            checkpoint[KEY] = self.carried.plain()

    def frozen_layers(self) -> list[nn.Module]:
        """Return the layers that do not learn, in the order in which they run."""
        return [getattr(self.network, name) for name in self.hparams["frozen"]]

    def learning_layers(self) -> nn.Module:
        """Return the network without its frozen layers, with the same weights: features -> logits."""
        part = copy.copy(self.network)
        frozen = {name: nn.Identity() for name in self.hparams["frozen"]}
        part._modules = {**self.network._modules, **frozen}  # noqa: SLF001 - assigning them would change the network
        return part

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (N, C) of ``images`` (N, channels, H, W), preprocessed according to ``input``."""
        logits: torch.Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits

    def train(self, mode: bool = True) -> "Classifier":  # noqa: FBT001, FBT002 - the signature is that of torch
        """Switch the mode of all layers, except that batch norms that keep their statistics stay in eval mode."""
        super().train(mode)
        if self.hparams["keep_statistics"]:
            for module in self.network.modules():
                if isinstance(module, _NORMS):
                    module.eval()
        return self

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the loss of ``batch``: the frozen layers' features of N images, and their classes."""
        return self._step("train", batch, self.hparams["label_smoothing"])

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log loss and accuracy of ``batch``, in full precision as in the service."""
        with torch.autocast(self.device.type, enabled=False):
            self._step("val", batch, 0.0)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's union of all forms
        """Return AdamW and the schedule: linear warm-up, then a cosine down to a hundredth."""
        optimizer = AdamW(self._parameter_groups())
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = LambdaLR(optimizer, lambda step: _rate(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _step(self, part: str, batch: Batch, smoothing: float) -> torch.Tensor:
        features, targets = batch
        logits = self.learning_layers()(features.contiguous(memory_format=torch.channels_last))
        loss = self._loss(logits.float(), targets, smoothing)
        logged = {f"{part}_loss": loss, f"{part}_accuracy": self.right(logits, targets).float().mean()}
        self.log_dict(logged, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(targets))
        return loss

    def right(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return for each of N images whether its class, or exactly the set of its classes, is predicted."""
        if self._is_multilabel:
            return ((logits > 0) == (targets > 0)).all(dim=1)
        return logits.argmax(1) == targets

    @property
    def _is_multilabel(self) -> bool:
        return bool(self.hparams["output"]["kind"] == "multilabel")

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        if self._is_multilabel:
            smoothed = targets * (1 - smoothing) + smoothing / 2
            return functional.binary_cross_entropy_with_logits(logits, smoothed)
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Group the parameters that learn by learning rate, of the head or of the rest, and by weight decay."""
        head = head_names(self.network)
        rate, decay = float(self.hparams["learning_rate"]), float(self.hparams["weight_decay"])
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                own_rate = rate if name in head else rate * float(self.hparams["backbone_rate"])
                groups.setdefault((own_rate, decay if parameter.ndim > 1 else 0.0), []).append(parameter)
        return [
            {"params": parameters, "lr": own_rate, "weight_decay": own_decay}
            for (own_rate, own_decay), parameters in groups.items()
        ]


def head_names(network: nn.Module) -> set[str]:
    """Return the names of the parameters of the last layer that has any."""
    last = [name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))][-1]
    return {name for name, _ in network.named_parameters() if name.rpartition(".")[0] == last}


def _rate(progress: float) -> float:
    """Return the share of the learning rate at ``progress`` in [0, 1] of the training."""
    if progress < _WARM_UP:
        return max(progress / _WARM_UP, _FINAL_RATE)
    angle = math.pi * min(1.0, (progress - _WARM_UP) / (1 - _WARM_UP))
    return _FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(angle)) / 2
