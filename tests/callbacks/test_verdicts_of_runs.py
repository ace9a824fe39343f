"""The verdicts of `LandscapeMonitor` on small runs for which one reading alone would give a wrong verdict."""

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
    """A run with the given loss of a batch, optimizer and submodules."""

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


def monitor_of_run(
    run: L.LightningModule,
    data: tuple[Tensor, Tensor],
    steps: int,
    batch_size: int,
    monitor: LandscapeMonitor | None = None,
) -> LandscapeMonitor:
    """Train for `steps` optimizer steps and return the monitor."""
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


def class_data() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(256, 8)
    return inputs, inputs[:, :4].argmax(1)


def test_the_loss_at_the_starting_point_uses_the_initial_values_of_layers_that_were_frozen_during_the_run():
    class Freezes(Run):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            self.body.requires_grad_(self.global_step < 80)
            if self.global_step == 80:  # from now on the loss stands still, so that the run is diagnosed
                self.optimizers().param_groups[0]["lr"] = 1e-6

    body, head = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16)), nn.Linear(16, 4)
    data, readings = class_data(), []
    with torch.no_grad():
        initial = float(F.cross_entropy(head(body(data[0])), data[1]))

    def recording(surface: LossSurface) -> StartingPoint | None:
        readings.append(starting_point(surface))
        return readings[-1]

    run = Freezes(
        lambda run, x, y: F.cross_entropy(run.head(run.body(x)), y) + 10.0,
        lambda run: torch.optim.SGD(run.parameters(), lr=0.2),
        body=body,
        head=head,
    )
    monitor_of_run(run, data, 800, 32, LandscapeMonitor(budget=None, probes=(recording,)))
    assert not body[0].weight.requires_grad
    assert readings[-1].loss == pytest.approx(10.0 + initial, abs=0.1)
    assert readings[-1].now < 10.5


def ridge_data() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(64, 8)
    return inputs, inputs @ torch.randn(8, 1) + torch.randn(64, 1)


def squares(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(run.net(x), y)


def test_full_batch_descent_that_rests_where_gradient_and_weight_decay_cancel_has_settled():
    run = Run(squares, lambda run: torch.optim.SGD(run.parameters(), lr=0.1, weight_decay=0.1), net=nn.Linear(8, 1))
    monitor = monitor_of_run(run, ridge_data(), 1000, 64)
    assert run.net.weight.grad.norm() > 0.1
    assert {verdict.cause for verdict in monitor.verdicts} == {Cause.SETTLED}
    assert not alarms(monitor)


def test_weights_with_a_learning_rate_of_0_are_not_updating_even_with_weight_decay():
    run = Run(squares, lambda run: torch.optim.SGD(run.parameters(), lr=0.0, weight_decay=0.1), net=nn.Linear(8, 1))
    assert [verdict.cause for verdict in alarms(monitor_of_run(run, ridge_data(), 400, 64))] == [Cause.NOT_UPDATING]


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.01)


def network(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, outputs))


def regression_data() -> tuple[Tensor, Tensor]:
    inputs = torch.randn(512, 8)
    return inputs, inputs @ torch.randn(8, 1) + 0.3 * torch.randn(512, 1)


def squares_plus_100(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return squares(run, x, y) + 100


class WithTeacher(Run):
    """Its target network is a moving average of `net`, which gets no gradient and is in no optimizer."""

    def on_train_batch_end(self, *args: Any) -> None:
        with torch.no_grad():
            for teacher, student in zip(self.target.parameters(), self.net.parameters(), strict=True):
                teacher.lerp_(student, 0.05)


def loss_with_teacher(run: Any, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        target = run.target(x)
    return squares_plus_100(run, x, y) + 0.1 * F.mse_loss(run.net(x), target)


@pytest.mark.parametrize("data", [regression_data, class_data])
@pytest.mark.parametrize("batch_size", [32, 256])
def test_an_unused_layer_of_a_run_that_learns_is_a_note_and_no_alarm(data, batch_size):
    outputs = 1 if data is regression_data else 4
    run = Run(
        squares_plus_100 if data is regression_data else lambda run, x, y: F.cross_entropy(run.net(x), y) + 100,
        lambda run: adam(run.parameters()),
        net=network(outputs),
        off=nn.Linear(8, 64),
    )
    monitor = monitor_of_run(run, data(), 600, batch_size)
    assert not alarms(monitor)
    assert monitor.report.count("[LL206 part-without-gradient]") == 1


def test_a_teacher_that_is_in_no_optimizer_is_a_note_and_no_alarm():
    net = network(1)
    run = WithTeacher(loss_with_teacher, lambda run: adam(run.net.parameters()), net=net, target=copy.deepcopy(net))
    monitor = monitor_of_run(run, regression_data(), 600, 32)
    assert not alarms(monitor)
    assert monitor.report.count("[LL206 unheld-parameters]") == 1


def test_a_large_part_of_a_run_that_learns_is_in_no_optimizer_and_that_is_said_at_the_start_and_at_the_end(capsys):
    run = Run(squares_plus_100, lambda run: adam(run.net[2].parameters()), net=network(1))
    monitor = monitor_of_run(run, regression_data(), 600, 32)
    assert not alarms(monitor)
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if "of the trainable parameters: `net.0`. The loss gives them a gradient" in line]
    assert len(lines) == 2
    assert lines[0].startswith("lightning_landscape: No optimizer holds")
    assert lines[1].startswith("lightning_landscape: no alarm in 600 steps")


def test_a_large_part_at_a_learning_rate_of_0_is_said_at_the_start_and_at_the_end(capsys):
    def optimizer(run):
        head, body = run.net[2].parameters(), run.net[0].parameters()
        return torch.optim.Adam([{"params": head, "lr": 0.01}, {"params": body, "lr": 0.0}])

    monitor = monitor_of_run(Run(squares_plus_100, optimizer, net=network(1)), regression_data(), 600, 32)
    assert not alarms(monitor)
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if "The learning rate of `net.0`" in line and "gives them a gradient" in line]
    assert len(lines) == 2
    assert lines[1].startswith("lightning_landscape: no alarm in 600 steps")


def optimizer_of_copies(run: Any) -> torch.optim.Optimizer:
    return adam([nn.Parameter(parameter.detach().clone()) for parameter in run.parameters()])


def optimizer_of_the_last_bias(run: Any) -> torch.optim.Optimizer:
    return adam([run.net[2].bias])


def optimizer_of_all(run: Any) -> torch.optim.Optimizer:
    return adam([parameter for parameter in run.parameters() if parameter.requires_grad])


def loss_without_the_network(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(run.net(x).detach() + run.shift.bias, y) + run.constant


def loss_of_the_network(run: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(run.net(x), y) + run.constant


@pytest.mark.parametrize("constant", [0.0, 100.0])
@pytest.mark.parametrize(
    ("loss", "optimizer", "frozen"),
    [
        (loss_of_the_network, optimizer_of_copies, False),
        (loss_without_the_network, optimizer_of_all, False),
        (loss_of_the_network, optimizer_of_the_last_bias, False),
        (loss_of_the_network, optimizer_of_all, True),
    ],
    ids=["the optimizer has copies", "the network is detached", "the optimizer has one bias", "all but a bias frozen"],
)
def test_if_the_weights_that_matter_are_not_trained_the_alarm_is_not_updating(loss, optimizer, frozen, constant):
    run = Run(loss, optimizer, net=network(4), shift=nn.Linear(1, 4))
    run.constant = constant
    if frozen:
        run.requires_grad_(requires_grad=False)
        run.net[2].bias.requires_grad_()
    assert [verdict.cause for verdict in alarms(monitor_of_run(run, class_data(), 600, 32))] == [Cause.NOT_UPDATING]
