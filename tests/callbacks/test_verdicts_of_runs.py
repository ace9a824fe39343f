"""What `LandscapeMonitor` says of whole small runs, where a part of the evidence alone would mislead it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import Cause, LandscapeMonitor
from lightning_landscape.evidence import StartingPoint, Verdict
from lightning_landscape.probes import starting_point
from lightning_landscape.surface import LossSurface

pytestmark = pytest.mark.filterwarnings("ignore::lightning_landscape.errors.LandscapeWarning")


class Run(L.LightningModule):
    """Parts by their names, the loss of a batch, and the optimizer."""

    def __init__(
        self,
        loss: Callable[[Any, Tensor, Tensor], Tensor],
        optimizer: Callable[[Any], torch.optim.Optimizer],
        **parts: nn.Module,
    ) -> None:
        super().__init__()
        self.loss, self.optimizer = loss, optimizer
        for name, part in parts.items():
            setattr(self, name, part)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.loss(self, *batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self)


def watched(
    run: L.LightningModule,
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int,
    monitor: LandscapeMonitor | None = None,
) -> LandscapeMonitor:
    """The monitor after so many steps."""
    monitor = LandscapeMonitor(budget=None) if monitor is None else monitor
    trainer = L.Trainer(
        max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[monitor],
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    shuffled = None if batch_size == len(data[0]) else generator
    trainer.fit(run, DataLoader(TensorDataset(*data), batch_size, shuffle=shuffled is not None, generator=generator))
    return monitor


def alarms(monitor: LandscapeMonitor) -> list[Verdict]:
    return [verdict for verdict in monitor.verdicts if verdict.stuck]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def classes() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(256, 8)
    return inputs, inputs[:, :4].argmax(1)


def test_the_share_of_the_start_is_that_of_all_weights_though_a_body_is_frozen_in_mid_run():
    class Freezes(Run):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.body.requires_grad_(self.global_step < 320)

    body, head = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16)), nn.Linear(16, 4)
    data, found = classes(), []
    with torch.no_grad():
        initial = float(F.cross_entropy(head(body(data[0])), data[1]))

    def kept(surface: LossSurface) -> StartingPoint | None:
        found.append(starting_point(surface))
        return found[-1]

    run = Freezes(
        lambda run, x, y: F.cross_entropy(run.head(run.body(x)), y) + 10.0,
        lambda run: torch.optim.SGD(run.parameters(), lr=0.2),
        body=body,
        head=head,
    )
    watched(run, data, 800, 32, LandscapeMonitor(budget=None, probes=(kept,)))
    assert not body[0].weight.requires_grad
    assert found[-1].loss == pytest.approx(10.0 + initial, abs=0.1)
    assert found[-1].now < 10.5


def ridge() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(64, 8)
    return inputs, inputs @ torch.randn(8, 1) + torch.randn(64, 1)


def squares(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(run.net(x), y)


def test_full_batch_descent_that_rests_against_its_weight_decay_has_settled():
    run = Run(squares, lambda run: torch.optim.SGD(run.parameters(), lr=0.1, weight_decay=0.1), net=nn.Linear(8, 1))
    monitor = watched(run, ridge(), 1000, 64)
    assert run.net.weight.grad.norm() > 0.1
    assert {verdict.cause for verdict in monitor.verdicts} == {Cause.SETTLED}
    assert not alarms(monitor)


def test_weights_that_rest_at_a_rate_of_0_are_not_updating_whatever_their_weight_decay():
    run = Run(squares, lambda run: torch.optim.SGD(run.parameters(), lr=0.0, weight_decay=0.1), net=nn.Linear(8, 1))
    assert [verdict.cause for verdict in alarms(watched(run, ridge(), 400, 64))] == [Cause.NOT_UPDATING]
