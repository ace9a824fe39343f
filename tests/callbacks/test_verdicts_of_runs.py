"""Verdicts of `LandscapeMonitor` on small runs in which a part of the evidence alone would be misleading."""

from __future__ import annotations

import copy
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
    """A module with these parts, this loss of a batch, and this optimizer."""

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
    """Return the monitor after a run of this many steps."""
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


def test_the_starting_point_includes_weights_that_are_frozen_during_the_run():
    class Freezes(Run):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.body.requires_grad_(self.global_step < 320)

    body, head = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16)), nn.Linear(16, 4)
    data, found = classes(), []
    with torch.no_grad():
        initial = float(F.cross_entropy(head(body(data[0])), data[1]))

    def starting_point_of(surface: LossSurface) -> StartingPoint | None:
        found.append(starting_point(surface))
        return found[-1]

    run = Freezes(
        lambda run, x, y: F.cross_entropy(run.head(run.body(x)), y) + 10.0,
        lambda run: torch.optim.SGD(run.parameters(), lr=0.2),
        body=body,
        head=head,
    )
    watched(run, data, 800, 32, LandscapeMonitor(budget=None, probes=(starting_point_of,)))
    assert not body[0].weight.requires_grad
    assert found[-1].loss == pytest.approx(10.0 + initial, abs=0.1)
    assert found[-1].now < 10.5


def ridge() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(64, 8)
    return inputs, inputs @ torch.randn(8, 1) + torch.randn(64, 1)


def squares(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(run.net(x), y)


def test_weights_at_rest_between_the_gradient_and_the_weight_decay_have_settled():
    run = Run(squares, lambda run: torch.optim.SGD(run.parameters(), lr=0.1, weight_decay=0.1), net=nn.Linear(8, 1))
    monitor = watched(run, ridge(), 1000, 64)
    assert run.net.weight.grad.norm() > 0.1
    assert {verdict.cause for verdict in monitor.verdicts} == {Cause.SETTLED}
    assert not alarms(monitor)


def test_weights_at_rest_with_a_learning_rate_of_0_are_not_updating_despite_a_weight_decay():
    run = Run(squares, lambda run: torch.optim.SGD(run.parameters(), lr=0.0, weight_decay=0.1), net=nn.Linear(8, 1))
    assert [verdict.cause for verdict in alarms(watched(run, ridge(), 400, 64))] == [Cause.NOT_UPDATING]


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def network(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, outputs))


def line() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(512, 8)
    return inputs, inputs @ torch.randn(8, 1) + 0.3 * torch.randn(512, 1)


def over_a_hundred(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return squares(run, x, y) + 100


class Teacher(Run):
    """Has a teacher, the moving average of its network, which has no gradient and is in no optimizer."""

    def on_train_batch_end(self, *args: Any) -> None:
        with torch.no_grad():
            for teacher, student in zip(self.target.parameters(), self.net.parameters(), strict=True):
                teacher.lerp_(student, 0.05)


def taught(run: Any, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        aim = run.target(x)
    return over_a_hundred(run, x, y) + 0.1 * F.mse_loss(run.net(x), aim)


@pytest.mark.parametrize("data", [line, classes])
@pytest.mark.parametrize("batch_size", [32, 256])
def test_a_part_that_the_loss_does_not_use_makes_a_note_and_no_alarm(data, batch_size):
    outputs = 1 if data is line else 4
    run = Run(
        over_a_hundred if data is line else lambda run, x, y: F.cross_entropy(run.net(x), y) + 100,
        lambda run: adam(run.parameters()),
        net=network(outputs),
        off=nn.Linear(8, 64),
    )
    monitor = watched(run, data(), 600, batch_size)
    assert monitor.verdicts
    assert not alarms(monitor)
    assert monitor.report.count("of the parameters received no gradient") == 1


def test_a_teacher_that_is_in_no_optimizer_makes_a_note_and_no_alarm():
    net = network(1)
    run = Teacher(taught, lambda run: adam(run.net.parameters()), net=net, target=copy.deepcopy(net))
    monitor = watched(run, line(), 600, 32)
    assert monitor.verdicts
    assert not alarms(monitor)
    assert monitor.report.count("no optimizer holds 50% of the trainable parameters") == 1


def of_copies(run: Any) -> torch.optim.Optimizer:
    return adam([nn.Parameter(parameter.detach().clone()) for parameter in run.parameters()])


def of_the_last_bias(run: Any) -> torch.optim.Optimizer:
    return adam([run.net[2].bias])


def of_all(run: Any) -> torch.optim.Optimizer:
    return adam([parameter for parameter in run.parameters() if parameter.requires_grad])


def cut_off(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(run.net(x).detach() + run.shift.bias, y) + run.constant


def plain(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(run.net(x), y) + run.constant


@pytest.mark.parametrize("constant", [0.0, 100.0])
@pytest.mark.parametrize(
    ("loss", "optimizer", "frozen"),
    [(plain, of_copies, False), (cut_off, of_all, False), (plain, of_the_last_bias, False), (plain, of_all, True)],
    ids=["an optimizer of copies", "a body cut off", "an optimizer of a bias", "all but a bias frozen"],
)
def test_the_cause_is_not_updating_where_the_needed_weights_are_not_trained(loss, optimizer, frozen, constant):
    run = Run(loss, optimizer, net=network(4), shift=nn.Linear(1, 4))
    run.constant = constant
    if frozen:
        run.requires_grad_(requires_grad=False)
        run.net[2].bias.requires_grad_()
    assert [verdict.cause for verdict in alarms(watched(run, classes(), 600, 32))] == [Cause.NOT_UPDATING]
