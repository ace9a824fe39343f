"""Modules with state that the loss depends on, in every place where Python code can have state."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor, nn

from tests.zoo.plain import Classifier
from tests.zoo.specimen import specimen


class History:
    """A plain object with a reference to the module and a lock."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.lock = module, threading.Lock()
        self.sums: list[float] = []


@specimen()
class HiddenState(Classifier):
    """State in a list, a deque, a counter, a tensor, a plain object with a lock and four kinds of random generators."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)
        self.outputs: list[Tensor] = []
        self.recent: deque[Tensor] = deque(maxlen=4)
        self.calls = 0
        self.mean = torch.zeros(8)
        self.torch_generator = torch.Generator().manual_seed(3)
        self.numpy_generator = np.random.default_rng(4)
        self.history = History(self)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, labels = batch
        self.mean.mul_(0.9).add_(0.1 * inputs.mean(0))
        self.calls += 1
        with self.history.lock:
            self.history.sums.append(float(inputs.sum()))
        inputs.add_(0.1 * torch.randn(inputs.shape, generator=self.torch_generator))
        drawn = float(self.numpy_generator.normal()) + random.random() + np.random.rand()
        loss = F.cross_entropy(self.net(inputs - self.mean), labels) * (1 + 0.01 * self.calls)
        loss = loss + 1e-3 * len(self.recent) + 1e-3 * drawn * self.net.bias.sum()
        loss = loss + 1e-4 * float(np.mean(self.history.sums)) * self.net.weight.sum()
        self.recent.append(loss.detach())
        self.outputs.append(loss.detach())
        self.log("loss", loss)
        return loss

    def on_train_epoch_end(self) -> None:
        self.epoch_loss = torch.stack(self.outputs).mean()
        self.outputs.clear()


@specimen()
class UsesTrainer(Classifier):
    """The step reads and changes the trainer, logger and learning rate; a scheduler monitors a training metric."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        self.calls = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.calls += 1
        strength = min(1.0, self.global_step / 10)
        decay = sum(p.pow(2).sum() for p in self.parameters())
        loss = F.cross_entropy(self.net(batch[0]), batch[1]) + 1e-3 * strength * decay
        self.logger.experiment.add_scalar("calls", loss.detach(), self.calls)
        self.trainer.marker = getattr(self.trainer, "marker", 0) + 1
        for group in self.optimizers().param_groups:  # a warm-up by hand
            group["lr"] = 0.1 * min(1.0, self.calls / 5)
            self.log("lr", group["lr"])
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "loss"}}


@specimen()
class CachedLogger(Classifier):
    """The module has its logger's `experiment` in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)

    def on_fit_start(self) -> None:
        self.board = self.logger.experiment

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.board.add_scalar("own", loss.detach(), batch_idx)
        return loss


@specimen()
class MeanTeacher(Classifier):
    """A frozen copy of the network, whose weights the step changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 3))
        self.teacher = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 3))
        self.teacher.requires_grad_(requires_grad=False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.data.mul_(0.9).add_(fast.data, alpha=0.1)
        logits = self.student(batch[0])
        with torch.no_grad():
            target = self.teacher(batch[0])
        return F.cross_entropy(logits, batch[1]) + F.mse_loss(logits, target)


@specimen()
class ContrastiveQueue(Classifier):
    """Negatives come from a queue to which every step writes; a second encoder is not a registered submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 6))
        self.hidden_encoder = [nn.Linear(8, 6)]
        self.register_buffer("queue", F.normalize(torch.randn(6, 32), dim=0))
        self.register_buffer("head", torch.zeros(1, dtype=torch.long))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        query = F.normalize(self.encoder(batch[0]), dim=1)
        key = F.normalize(self.hidden_encoder[0](batch[0] + 0.05 * torch.randn_like(batch[0])), dim=1).detach()
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ self.queue.clone()], 1)
        head = int(self.head)
        self.queue[:, head : head + len(key)] = key.T
        self.head[0] = (head + len(key)) % 32
        return F.cross_entropy(logits / 0.2, torch.zeros(len(query), dtype=torch.long))


class Scaled(nn.Module):
    """A layer whose class has a list of the means of its inputs, with a slot that counts calls."""

    __slots__ = ("calls",)
    means: ClassVar[list[float]] = []

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.means.append(float(inputs.detach().mean()))
        return inputs * (1 + 1e-2 * len(self.means) + 1e-2 * self.calls)


class Counted(Classifier):
    calls = 0
    batch_indices: ClassVar[list[int]] = []
    best: ClassVar[dict[str, Any]] = {}


@specimen()
class ClassState(Counted):
    """State in the attributes of classes: changed in place, assigned anew, and added during training."""

    recent: ClassVar[deque[float]] = deque(maxlen=3)
    kinds: ClassVar[Counter[int]] = Counter()
    indices: ClassVar[set[int]] = set()
    total: ClassVar[Tensor] = torch.zeros(())
    drift: ClassVar[Tensor] = torch.zeros(8)
    draws: ClassVar[torch.Generator] = torch.Generator()
    notes: ClassVar[SimpleNamespace] = SimpleNamespace(losses=[])

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 3), Scaled())

    @property
    def factor(self) -> float:
        return 1 + 1e-2 * self.calls

    def on_train_start(self) -> None:
        """Reset the state of the classes, so that each run begins with the same state."""
        kind = type(self)
        for state in (
            Scaled.means,
            kind.batch_indices,
            kind.best,
            kind.recent,
            kind.kinds,
            kind.indices,
            kind.notes.losses,
        ):
            state.clear()
        kind.drift.zero_()
        kind.draws.manual_seed(5)
        kind.calls, kind.total = 0, torch.zeros(())
        if "latest" in vars(kind):
            del kind.latest

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        kind = type(self)
        kind.calls += 1
        kind.batch_indices.append(batch_idx)
        kind.kinds[batch_idx] += 1
        kind.indices.add(len(kind.indices))
        kind.drift.add_(batch[0].mean(0))
        noise = 0.1 * torch.randn(batch[0].shape, generator=kind.draws)
        loss = F.cross_entropy(self.net(batch[0] + noise + 0.1 * kind.drift), batch[1]) * self.factor
        loss = loss + 1e-3 * (len(kind.batch_indices) + len(kind.indices) + kind.kinds[0] + getattr(kind, "latest", 0))
        loss = loss + 1e-3 * (float(kind.total) + len(kind.recent) + kind.best.get("loss", 0.0))
        kind.latest = batch_idx
        kind.total = kind.total + loss.detach()
        kind.recent.append(float(loss.detach()))
        kind.notes.losses.append(float(loss.detach()))
        kind.best["loss"] = min(kind.notes.losses)
        return loss


def quiet_trainer() -> Trainer:
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(accelerator="cpu", devices=1, **off)


@specimen()
class SecondTrainer(Classifier):
    """A second trainer for predictions in an attribute, with its parts, and an object that refers to a third one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)
        self._pred_trainer = quiet_trainer()
        self.loop, self.strategy = self._pred_trainer.fit_loop, self._pred_trainer.strategy
        self.predictor = SimpleNamespace(trainer=quiet_trainer(), calls=0)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.predictor.calls += 1
        offset = self._pred_trainer.global_step + self.loop.epoch_loop.batch_idx + self.predictor.trainer.current_epoch
        loss = F.cross_entropy(self.net(batch[0]), batch[1]) + 1e-3 * (offset + self.predictor.calls)
        return loss + 0.0 * len(self.strategy.optimizers)
