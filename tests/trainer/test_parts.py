"""The parts of a module and the tensors of its optimizers, for small modules whose numbers are known by hand."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_landscape.trainer.held_tensors import read_held_tensors
from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.parts import read_parts


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4, bias=False), nn.Linear(4, 2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(0.5)

    def forward(self, inputs):
        return self.head(self.body(inputs))


class Host(LightningHost):
    """A run of an optimizer at a known step, without a Trainer."""

    def __init__(self, module, *optimizers, strategy="SingleDeviceStrategy"):
        super().__init__(SimpleNamespace(optimizers=list(optimizers)), module)
        self.strategy = strategy

    @property
    def step(self):
        return 7

    @property
    def strategy_names(self):
        return frozenset({self.strategy})


def weights(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def trained(model, *groups, **settings):
    """Return the host after one step, and the weights before it."""
    initial = weights(model)
    optimizer = torch.optim.SGD([dict(group) for group in groups], **{"lr": 0.1, **settings})
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return Host(model, optimizer), initial


def by_name(parts):
    return {part.name: part for part in parts.parts}


def test_the_numbers_of_each_part():
    model = Model()
    host, initial = trained(model, {"params": model.body.parameters()}, {"params": model.head.parameters(), "lr": 0.0})
    read = read_parts(host, initial)
    body, head = by_name(read)["body"], by_name(read)["head"]
    assert read.step == 7
    assert (body.share, head.share) == (12 / 22, 10 / 22)
    assert (body.learning_rate, head.learning_rate) == (0.1, 0.0)
    assert (body.group, head.group) == (0, 1)
    # The gradient of each of the 12 weights is 1, so a step of 0.1 leads from 0.5 to 0.4.
    assert body.grad_norm == pytest.approx(12**0.5)
    assert body.norm_ratio == pytest.approx(0.8)
    assert body.distance == pytest.approx(0.2)
    assert (head.distance, head.unmoved, head.norm_ratio) == (0.0, True, 1.0)
    assert body.trainable
    assert body.held
    assert body.reached
    assert [group.parts for group in read.groups] == [("body",), ("head",)]
    assert [(group.optimizer, group.index) for group in read.groups] == [(0, 0), (0, 1)]


def test_parameters_of_one_layer_that_are_treated_differently_are_two_parts():
    model = Model()
    model.head.bias.requires_grad_(requires_grad=False)
    host, initial = trained(model, {"params": model.parameters()})
    _, weight, bias = read_parts(host, initial).parts
    assert weight.name == bias.name == "head"
    assert (weight.trainable, weight.unmoved, weight.reached) == (True, False, True)
    assert (bias.trainable, bias.unmoved, bias.reached) == (False, True, False)


def test_without_initial_weights_the_distance_is_unknown():
    host, initial = trained(model := Model(), {"params": model.parameters()})
    assert {(part.distance, part.norm_ratio) for part in read_parts(host).parts} == {(None, None)}
    model.head = nn.Linear(4, 5)
    head = by_name(read_parts(host, initial))["head"]
    assert (head.distance, head.held) == (None, False)


def test_without_any_gradient_it_is_unknown_whether_a_part_is_reached():
    model = Model()
    host, initial = trained(model, {"params": model.parameters()})
    model.zero_grad()
    assert {part.reached for part in read_parts(host, initial).parts} == {None}
    model.body.weight.grad = torch.zeros(4, 3)
    read = by_name(read_parts(host, initial))
    assert (read["body"].reached, read["body"].grad_norm) == (True, 0.0)
    assert (read["head"].reached, read["head"].grad_norm) == (False, None)


def test_the_smallest_change_is_a_change():
    model = Model()
    with torch.no_grad():
        model.body.weight.zero_()
    host, initial = trained(model, {"params": model.parameters(), "lr": 0.0})
    with torch.no_grad():
        model.body.weight[0, 0] = 1e-30
        model.head.weight[0, 0] = 0.5 + 1e-7
    body, weight, bias = read_parts(host, initial).parts
    assert body.distance == math.inf
    assert 0 < weight.distance < 1e-6
    assert bias.distance == 0.0


def test_layers_in_evaluation_mode_and_frozen_layers_are_known():
    model = Model()
    host, initial = trained(model, {"params": model.parameters()})
    model.body.eval()
    model.body.requires_grad_(requires_grad=False)
    body = by_name(read_parts(host, initial, {"body.weight": 5}))["body"]
    assert (body.in_training_mode, body.trainable, body.frozen_since) == (False, False, 5)


def test_a_parameter_in_two_optimizers_has_the_larger_rate():
    model = Model()
    host, _ = trained(model, {"params": model.parameters(), "lr": 0.0})
    host.optimizers.append(torch.optim.AdamW(model.body.parameters(), lr=0.2, weight_decay=0.3))
    read = read_parts(host)
    assert by_name(read)["body"].learning_rate == 0.2
    assert by_name(read)["head"].learning_rate == 0.0
    assert read.groups[1].weight_decay == 0.3


def test_a_schedule_shows_in_the_base_rate():
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert read_parts(Host(model, optimizer)).groups[0].base_rate is None
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    group = read_parts(Host(model, optimizer)).groups[0]
    assert (group.learning_rate, group.base_rate) == (0.0, 0.1)


def test_unusual_parameters_are_read():
    model = nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.LazyLinear(2))
    model.complex = nn.Parameter(torch.full((2,), 3 + 4j))
    model.integers = nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False)
    optimizer = torch.optim.SGD([model[0].weight], lr=0.1)
    model[0](torch.tensor([1, 2])).sum().backward()
    read = by_name(read_parts(Host(model, optimizer)))
    assert read["0"].grad_norm == pytest.approx(6**0.5)
    assert read["complex"].norm == pytest.approx(50**0.5)
    assert "integers" not in read
    assert read_parts(Host(nn.Module())).parts == ()


# Tensors that the optimizers lack, or hold although the module does not have them.


def reached(module):
    module(torch.ones(1, 3)).sum().backward()
    return module


def test_unheld_parameters_that_were_frozen_at_the_start_are_told_apart():
    model = reached(Model())
    host = Host(model, torch.optim.SGD(model.head.parameters(), lr=0.1))
    assert read_held_tensors(host, was_frozen=lambda name: name.startswith("body")).unfrozen == ("body",)
    assert read_held_tensors(host).unfrozen == ()
    for parameter in model.body.parameters():
        parameter.grad = None
    assert read_held_tensors(host, was_frozen=lambda name: True).unfrozen == ()


def test_an_optimizer_of_a_copy_holds_replaced_tensors():
    model = reached(Model())
    host = Host(model, torch.optim.SGD(copy.deepcopy(model).requires_grad_().parameters(), lr=0.1))
    for group in host.optimizers[0].param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    held = read_held_tensors(host, weights(model))
    assert (held.replaced, held.outside, held.outside_share) == (("body", "head"), 3, 1.0)
    assert held.unheld_share == held.unheld_with_gradient == 1.0


def test_a_replaced_layer_of_another_size_is_known_from_the_start():
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = set(map(id, model.parameters()))
    model.body, model.head = nn.Linear(3, 6), nn.Linear(6, 2)
    host = Host(reached(model), optimizer)
    assert read_held_tensors(host).replaced == ()
    assert read_held_tensors(host, was_parameter=lambda tensor: id(tensor) in first).replaced == ("body", "head")


def test_layers_that_something_else_moves_are_not_replaced():
    model = Model()
    initial = weights(model)
    host = Host(reached(model), torch.optim.SGD(copy.deepcopy(Model()).parameters(), lr=0.1))
    assert read_held_tensors(host, initial).replaced
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    assert read_held_tensors(host, initial).replaced == ()


@pytest.mark.parametrize("strategy", ["DeepSpeedStrategy", "FSDPStrategy"])
def test_nothing_is_said_if_the_optimizers_hold_tensors_of_their_own(strategy):
    model = reached(Model())
    assert read_held_tensors(Host(model, torch.optim.SGD(Model().parameters(), lr=0.1), strategy=strategy)) is None


def test_tensors_beside_the_module_are_not_replaced_ones():
    model = Model()
    proxies = nn.Parameter(torch.ones(2, 4))
    optimizer = torch.optim.SGD([*model.parameters(), proxies], lr=0.1)
    held = read_held_tensors(Host(reached(model), optimizer))
    assert (held.unheld, held.outside, held.replaced) == ((), 1, ())
    proxies.grad = torch.ones(2, 4)
    assert read_held_tensors(Host(model, optimizer)).outside == 0


def test_a_target_network_is_not_held_and_gets_no_gradient():
    model = nn.ModuleDict({"q": Model(), "target": Model()})
    reached(model["q"])
    held = read_held_tensors(Host(model, torch.optim.SGD(model["q"].parameters(), lr=0.1)))
    assert held.unheld == ("target.body", "target.head")
    assert (held.unheld_share, held.unheld_with_gradient, held.replaced) == (0.5, 0.0, ())


def test_without_optimizers_nothing_is_missing():
    held = read_held_tensors(Host(reached(Model())))
    assert (held.unheld, held.unheld_share) == ((), 0.0)


def test_a_layer_that_is_replaced_during_the_run_is_one_although_it_differs_from_the_initial_weights():
    model = Model()
    host, initial = trained(model, {"params": model.parameters()})
    first = set(map(id, model.parameters()))
    before = list(model.parameters())
    model.body = nn.Linear(3, 4)
    model.body(torch.ones(1, 3)).sum().backward()
    for tensor in before:
        tensor.grad = None
    held = read_held_tensors(host, initial, lambda tensor: id(tensor) in first)
    assert held.replaced == ("body",)
