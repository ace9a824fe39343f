"""Common networks with common settings of the trainer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import torchmetrics
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from tests.zoo.specimen import specimen


class Classifier(LightningModule):
    """Base class of most modules: cross-entropy of `net`, AdamW, a validation step that draws random numbers."""

    net: nn.Module

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("noise", torch.rand(()))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 3e-3)


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 3))


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 4)),
        nn.Conv2d(1, 8, 2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout2d(0.3),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(120, 3),
    )


@specimen()
class Perceptron(Classifier):
    """A multilayer perceptron, with nothing that is hard to evaluate."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron()


@specimen()
class Convolutional(Classifier):
    """A convolutional network with BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.net = convolutional()


@specimen()
class WithMetrics(Classifier):
    """Metrics of torchmetrics, whose states are plain attributes, not buffers; one of them is a list that grows."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=3)
        self.auroc = torchmetrics.AUROC("multiclass", num_classes=3)
        self.both = torchmetrics.MetricCollection([
            torchmetrics.Precision("multiclass", num_classes=3),
            torchmetrics.Recall("multiclass", num_classes=3),
        ])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        logits = self.net(batch[0])
        self.accuracy(logits, batch[1])
        self.auroc.update(logits.softmax(-1), batch[1])
        self.both(logits, batch[1])
        self.log("accuracy", self.accuracy, on_epoch=True)
        self.log("auroc", self.auroc, on_step=False, on_epoch=True)
        self.log_dict(self.both, on_step=False, on_epoch=True)
        loss = F.cross_entropy(logits, batch[1])
        self.log("loss", loss, prog_bar=True, on_epoch=True)
        return loss


@specimen(trainer=lambda: {"accumulate_grad_batches": 3, "gradient_clip_val": 0.5})
class AccumulatedAndClipped(Perceptron):
    """A probe may run while gradients are only partly accumulated."""


@specimen()
class OwnClipping(Perceptron):
    """The module overrides `configure_gradient_clipping`."""

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        self.clip_gradients(optimizer, gradient_clip_val=0.05, gradient_clip_algorithm="value")


@specimen(trainer=lambda: {"precision": "bf16-mixed"})
class BrainFloat(Convolutional):
    """The step runs under autocast to bfloat16."""


@specimen(
    trainer=lambda: {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))]}
)
class ScaledGradients(Perceptron):
    """fp16 with a GradScaler, whose state includes a count of steps."""


@specimen(trainer=lambda: {"precision": "64-true"})
class DoublePrecision(Perceptron):
    """The trainer sets the default dtype to float64 while the step runs."""


@specimen()
class SecondOrder(Perceptron):
    """L-BFGS calls the training step three times per batch."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


@specimen()
class FrozenBackbone(Classifier):
    """Frozen layers whose BatchNorm stays in eval mode while the other layers are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.net = convolutional()
        for layer in self.net[:3]:
            layer.requires_grad_(requires_grad=False)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.net[2].eval()
