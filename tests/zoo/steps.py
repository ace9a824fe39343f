"""Modules that define `landscape_loss`, or whose `training_step` has an unusual signature."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.plain import Classifier
from tests.zoo.specimen import specimen

TOTALS = {"calls": 0}


@specimen(reference=lambda module, batch: module.landscape_loss(batch))
class OwnLoss(Classifier):
    """The step counts its calls in a global variable; `landscape_loss` defines the loss without that count."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)

    def on_train_start(self) -> None:
        TOTALS["calls"] = 0

    def landscape_loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        TOTALS["calls"] += 1
        return self.landscape_loss(batch) * (1 + 0.01 * TOTALS["calls"])


@specimen()
class AnyArguments(Classifier):
    """The signature of the step does not name its arguments, as after decoration."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, *args: Any) -> Tensor:
        batch, batch_idx = args
        return F.cross_entropy(self.net(batch[0]), batch[1]) * (1 + 0.1 * batch_idx)
