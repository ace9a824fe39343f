"""Copies of the run's optimizer take its steps, and new initial weights are drawn by seed, without a trace."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.enums import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from lightning_landscape.evidence import Restart
from lightning_landscape.module_surface.optimizer_copy import decay_of, fresh_optimizer, optimizer_copy
from lightning_landscape.probes import CopyTrials, Restarts
from lightning_landscape.trainer.lightning_host import LightningHost
from tests.module_surface.observers import Prober
from tests.zoo import SPECIMENS, Specimen, train
from tests.zoo.plain import Classifier, Perceptron
from tests.zoo.training import fingerprint, fit, make_trainer

# Copies of the run's optimizer


def network() -> nn.Module:
    """Two layers, of which the bias of the second is frozen."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
    module[1].bias.requires_grad_(requires_grad=False)
    module.automatic_optimization = True
    return module


def two_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Return parameter groups of both layers, with the frozen bias in the second."""
    return [{"params": list(module[0].parameters()), "lr": 0.03}, {"params": list(module[1].parameters())}]


OPTIMIZERS = {
    "SGD": lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
    "momentum": lambda m: torch.optim.SGD(two_groups(m), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda m: torch.optim.Adam(two_groups(m), lr=0.1, amsgrad=True),
    "AdamW": lambda m: torch.optim.AdamW(two_groups(m), lr=0.1, weight_decay=0.2),
    "fused AdamW": lambda m: torch.optim.AdamW(two_groups(m), lr=0.1, fused=True),
    "learning rate as a tensor": lambda m: torch.optim.Adam(m.parameters(), lr=torch.tensor(0.1), foreach=False),
    "RMSprop": lambda m: torch.optim.RMSprop(two_groups(m), lr=0.1, momentum=0.5),
    "part of the weights": lambda m: torch.optim.SGD(m[0].parameters(), lr=0.1, momentum=0.9),
}
CLIPPING = {
    "unclipped": (None, None),
    "by norm": (0.5, GradClipAlgorithmType.NORM),
    "by value": (0.1, GradClipAlgorithmType.VALUE),
    "by default": (0.5, None),
}


def trainer_of(optimizer: Any, value: float | None = None, algorithm: Any = None) -> Any:
    return SimpleNamespace(optimizers=[optimizer], gradient_clip_val=value, gradient_clip_algorithm=algorithm)


def host_of(module: nn.Module, *settings: Any) -> LightningHost:
    return LightningHost(trainer_of(*settings), module)


def gradients(module: nn.Module, steps: int, seed: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return [{name: torch.randn(p.shape, generator=generator) for name, p in named.items()} for _ in range(steps)]


def really_step(module: nn.Module, optimizer: Any, steps: list[dict[str, Tensor]], value: Any, algorithm: Any) -> None:
    """Clip the gradients of all parameters in the optimizer, then step, as Lightning does."""
    for gradient in steps:
        for name, parameter in module.named_parameters():
            parameter.grad = gradient[name].clone() if name in gradient else None
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if value is not None:
            by_value = algorithm == "value"
            (nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_)(parameters, value)
        optimizer.step()
    for parameter in module.parameters():
        parameter.grad = None


@pytest.mark.parametrize("clip", CLIPPING)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_copied_optimizer_goes_where_the_original_would_have_gone(name: str, clip: str):
    value, algorithm = CLIPPING[clip]
    module = network()
    optimizer = OPTIMIZERS[name](module)
    really_step(module, optimizer, gradients(module, 3, seed=1), value, algorithm)
    before = fingerprint([module.state_dict(), optimizer.state_dict()])
    flags = [p.requires_grad for p in module.parameters()]

    copy_with_factor = optimizer_copy(host_of(module, optimizer, value, algorithm))
    later = gradients(module, 5, seed=2)
    for _ in range(2):  # a second copy starts where the first one did
        step = copy_with_factor(1.0)
        point = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
        for gradient in later:
            given = copy.deepcopy(gradient)
            step(point, list(given.values()))
        assert fingerprint([module.state_dict(), optimizer.state_dict()]) == before
        assert [p.requires_grad for p in module.parameters()] == flags
        assert all(p.grad is None for p in module.parameters())

    really_step(module, optimizer, later, value, algorithm)
    for n, weight in point.items():
        assert torch.equal(weight, module.get_parameter(n)), n


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fresh_optimizer_goes_where_a_new_one_of_the_same_kind_would_go(name: str):
    module, other = network(), network()
    used, new = OPTIMIZERS[name](module), OPTIMIZERS[name](other)
    really_step(module, used, gradients(module, 3, seed=1), None, None)
    step, later = fresh_optimizer(host_of(module, used))(1.0), gradients(other, 5, seed=2)
    point = {n: p.detach().clone() for n, p in other.named_parameters() if p.requires_grad}
    for gradient in later:
        step(point, list(gradient.values()))
    really_step(other, new, later, None, None)
    for n, weight in point.items():
        assert torch.equal(weight, other.get_parameter(n)), n


def rates_of_fresh(module: nn.Module, optimizer: Any, typical: float | None, factor: float = 1.0) -> list[float]:
    """Return how far one step of plain descent moves the first weight of each layer, for a gradient of 1."""
    point = {n: torch.zeros_like(p) for n, p in module.named_parameters() if p.requires_grad}
    ones = [torch.ones_like(weight) for weight in point.values()]
    fresh_optimizer(host_of(module, optimizer), typical)(factor)(point, ones)
    return [-float(point[f"{layer}.weight"].flatten()[0]) for layer in (0, 1)]


@pytest.mark.parametrize(
    ("now", "typical", "expected"),
    [
        ((0.03, 0.1), None, (0.03, 0.1)),
        ((0.03, 0.1), 0.05, (0.03, 0.1)),  # in a warm-up, the present rate is larger than the median
        ((0.0003, 0.001), 0.1, (0.03, 0.1)),  # decayed
        ((0.0, 0.0), 0.1, (0.03, 0.1)),  # decayed to nothing: the schedule began with these rates
        ((0.0, 0.1), 0.1, (0.0, 0.1)),  # a group that does not learn by the user's choice
    ],
)
def test_a_fresh_optimizer_has_the_typical_rate_of_the_run_and_keeps_the_ratios_of_the_groups(now, typical, expected):
    module = network()
    optimizer = torch.optim.SGD(two_groups(module), lr=0.1)
    for group, rate in zip(optimizer.param_groups, now, strict=True):
        group["initial_lr"], group["lr"] = group["lr"], rate
    assert rates_of_fresh(module, optimizer, typical) == pytest.approx(expected)
    tenth = tuple(0.1 * rate for rate in expected)
    assert rates_of_fresh(module, optimizer, typical, factor=0.1) == pytest.approx(tenth)
    assert tuple(group["lr"] for group in optimizer.param_groups) == now


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.Adagrad, torch.optim.RMSprop])
def test_a_copy_of_a_state_that_is_not_finite_takes_finite_steps(kind: type[torch.optim.Optimizer]):
    module = network()
    optimizer = kind(module.parameters(), lr=0.1)
    point = {name: weight.detach().clone() for name, weight in module.named_parameters() if weight.requires_grad}
    for weight in module.parameters():
        weight.grad = torch.full_like(weight, torch.nan) if weight.requires_grad else None
    optimizer.step()
    host = LightningHost(
        SimpleNamespace(optimizers=[optimizer], gradient_clip_val=None, gradient_clip_algorithm=None), module
    )
    step = optimizer_copy(host)
    assert step is not None
    step(1.0)(point, [torch.ones_like(weight) for weight in point.values()])
    assert all(bool(weight.isfinite().all()) for weight in point.values())


def test_the_factor_scales_the_rate_of_every_group_and_of_no_group_of_the_original():
    module = network()
    optimizer = torch.optim.SGD(two_groups(module), lr=0.1)
    start = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
    (gradient,) = gradients(module, 1, seed=3)
    point = {n: weight.clone() for n, weight in start.items()}
    optimizer_copy(host_of(module, optimizer))(10.0)(point, list(gradient.values()))
    for n, rate in (("0.weight", 0.3), ("0.bias", 0.3), ("1.weight", 1.0)):
        torch.testing.assert_close(point[n], start[n] - rate * gradient[n])
    assert [group["lr"] for group in optimizer.param_groups] == [0.03, 0.1]


def test_a_copy_of_sparse_adam_takes_the_dense_gradients_of_trials():
    torch.manual_seed(0)
    table = nn.Embedding(6, 3, sparse=True)
    table.automatic_optimization = True
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    host = host_of(table, optimizer)
    point, gradient = {"weight": table.weight.detach().clone()}, torch.zeros(6, 3)
    gradient[2] = 1.0
    optimizer_copy(host)(1.0)(point, [gradient])
    moved = (point["weight"] - table.weight.detach()).abs().sum(1) > 0
    assert moved.tolist() == [False, False, True, False, False, False]


def test_lbfgs_several_optimizers_and_manual_optimization_have_no_optimizer_copy():
    module = network()
    lbfgs, sgd = torch.optim.LBFGS([module[0].weight]), torch.optim.SGD(module.parameters(), lr=0.1)
    assert optimizer_copy(host_of(module, lbfgs)) is None
    two = trainer_of(sgd)
    two.optimizers.append(sgd)
    assert optimizer_copy(LightningHost(two, module)) is None
    module.automatic_optimization = False
    assert optimizer_copy(host_of(module, sgd)) is None


def test_the_decay_of_a_run_is_its_largest_and_is_decoupled_only_with_adamw():
    parameters = [nn.Parameter(torch.ones(2))]
    assert decay_of(host_of(network(), torch.optim.SGD(parameters, lr=0.1))) == (0.0, False)
    assert decay_of(host_of(network(), torch.optim.Adam(parameters, weight_decay=0.1))) == (0.1, False)
    assert decay_of(host_of(network(), torch.optim.AdamW(parameters, weight_decay=0.1))) == (0.1, True)
    groups = [{"params": [nn.Parameter(torch.ones(1))], "weight_decay": 0.5}, {"params": parameters}]
    assert decay_of(host_of(network(), torch.optim.SGD(groups, lr=0.1, weight_decay=0.2))) == (0.5, False)
    assert decay_of(LightningHost(SimpleNamespace(optimizers=[]), network())) == (0.0, False)


class KeepsHooks(torch.optim.SGD):
    """Copies of it keep its attributes, hooks included."""

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)


@pytest.mark.parametrize("kind", [torch.optim.SGD, KeepsHooks])
def test_hooks_of_the_optimizer_do_not_run_in_steps_of_its_copy(kind: type[torch.optim.Optimizer]):
    module, calls = network(), Counter()
    optimizer = kind(module.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *args: calls.update(["before"]))
    optimizer.register_step_post_hook(lambda *args: calls.update(["after"]))
    steps = gradients(module, 3, seed=4)
    point = {n: p.detach().clone() for n, p in module.named_parameters() if p.requires_grad}
    step = optimizer_copy(host_of(module, optimizer))(1.0)
    for gradient in steps:
        step(point, list(gradient.values()))
    assert not calls

    really_step(module, optimizer, steps, None, None)
    assert calls == {"before": 3, "after": 3}
    assert all(torch.equal(weight, module.get_parameter(n)) for n, weight in point.items())


@pytest.fixture
def calls_of_global_hooks() -> Iterator[Counter[str]]:
    """Count the steps of all optimizers by hooks before and after them."""
    calls: Counter[str] = Counter()
    before = register_optimizer_step_pre_hook(lambda *args: calls.update(["before"]))
    after = register_optimizer_step_post_hook(lambda *args: calls.update(["after"]))
    yield calls
    before.remove()
    after.remove()


def test_hooks_of_all_optimizers_run_in_every_step_of_training_and_in_no_other(calls_of_global_hooks: Counter[str]):
    alone = train(SPECIMENS["Perceptron"])
    calls_alone = dict(calls_of_global_hooks)
    assert calls_alone["before"] == calls_alone["after"] > 0
    calls_of_global_hooks.clear()

    prober = Prober(CopyTrials(steps=3))
    assert train(SPECIMENS["Perceptron"], prober) == alone
    assert prober.readings
    assert "this optimizer" in prober.readings[0].gains
    assert calls_of_global_hooks == calls_alone


# New initial weights


class Varied(Classifier):
    """Has a linear layer, a frozen one, BatchNorm, a scale of ones, and a matrix that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.frozen = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 16)
        self.scale, self.bare = nn.Parameter(torch.ones(16)), nn.Parameter(torch.full((3, 16), 0.1))
        with torch.no_grad():
            self.bare[0, 0] = 0.5
        self.frozen.requires_grad_(requires_grad=False)

    def net(self, x: Tensor) -> Tensor:
        return self.frozen(self.norm(self.first(x))).tanh() * self.scale @ self.bare.T


def draw_weights(surface: Any) -> dict[str, Any]:
    before = float(surface.loss(surface.here))
    start = {name: weight.clone() for name, weight in surface.here.items()}
    drawn = [surface.run.reinitialize(seed) for seed in (0, 0, 1)]
    losses = [float(surface.loss(surface.here)), float(surface.loss(drawn[0])), float(surface.loss(drawn[1]))]
    same = all(torch.equal(start[name], surface.here[name]) for name in start)
    return {"before": before, "start": start, "drawn": drawn, "losses": losses, "same": same}


def test_weights_are_drawn_by_seed_and_nothing_else_changes():
    prober = Prober(draw_weights)
    specimen = Specimen(Varied, epochs=1)
    fit(specimen, make_trainer(specimen, prober), Varied())
    assert not prober.refusals
    for reading in prober.readings:
        one, again, other = reading["drawn"]
        assert reading["same"]
        assert reading["losses"][0] == reading["before"]
        assert reading["losses"][1] == reading["losses"][2]
        assert one.keys() == reading["start"].keys()
        assert all(torch.equal(one[name], again[name]) for name in one)
        assert not torch.equal(one["first.weight"], other["first.weight"])
        assert not torch.equal(one["bare"], other["bare"])
        assert torch.equal(one["norm.weight"], torch.ones(16))
        assert "frozen.weight" not in one
        assert float(one["first.weight"].abs().max()) <= 8**-0.5  # Linear draws from ±1/√fan_in
        assert 0.5 * 16**-0.5 < float(one["bare"].std()) < 2 * 16**-0.5


@pytest.mark.parametrize("name", ["Perceptron", "Convolutional", "HiddenState"])
def test_trials_and_restarts_leave_no_trace_in_the_run(name: str):
    prober = Prober(lambda surface: [CopyTrials(steps=3)(surface), Restarts(seeds=2, steps=3)(surface)])
    assert train(SPECIMENS[name], prober) == train(SPECIMENS[name])
    assert not prober.refusals
    trials, restart = prober.readings[-1]
    assert {"this optimizer", "mean of the path", "adam", "line search"} <= trials.gains.keys()
    assert isinstance(restart, Restart)


def test_the_copied_optimizer_of_a_run_goes_where_the_run_goes():
    """With the gradient of the batch that comes next, the first step of the copy equals the run's next step."""

    class Ahead(Prober):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.examine(trainer, pl_module)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.end = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    def next_step(surface: Any) -> dict[str, Tensor]:
        point = {name: weight.clone() for name, weight in surface.here.items()}
        leaves = {name: weight.clone().requires_grad_() for name, weight in point.items()}
        gradient = torch.autograd.grad(surface.loss(leaves), list(leaves.values()))
        surface.run.optimizer_copy(1.0)(point, gradient)
        return point

    def one_batch() -> Any:
        return torch.utils.data.DataLoader(SPECIMENS["Perceptron"].loader().dataset, batch_size=48)

    ahead = Ahead(next_step, batches=1)
    specimen = Specimen(Perceptron, loader=one_batch, epochs=3, trainer=lambda: {"gradient_clip_val": 0.05})
    fit(specimen, make_trainer(specimen, ahead), Perceptron())
    for name, weight in ahead.readings[-2].items():
        torch.testing.assert_close(weight, ahead.end[name], rtol=1e-6, atol=1e-7)
