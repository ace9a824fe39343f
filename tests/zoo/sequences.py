"""Recurrent networks."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.plain import Classifier
from tests.zoo.specimen import specimen


@specimen()
class TruncatedLSTM(Classifier):
    """The hidden state after one batch is the initial state for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(1, 16, 2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(16, 3)
        self.state: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        outputs, state = self.recurrent(batch[0].unsqueeze(-1), self.state)
        self.state = tuple(part.detach() for part in state)
        return F.cross_entropy(self.head(outputs[:, -1]), batch[1])


@specimen()
class GatedRecurrent(Classifier):
    """A GRU, which has a list of its weights in addition to its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(1, 12, bidirectional=True, batch_first=True)
        self.head = nn.Linear(24, 3)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        outputs, _ = self.recurrent(batch[0].unsqueeze(-1))
        logits = self.head(outputs.mean(1))
        return {"loss": F.cross_entropy(logits, batch[1]), "logits": logits.detach()}
