"""Targets are found by evaluating real training steps, and exchanged between the samples of batches."""

from __future__ import annotations

import contextlib
from collections import OrderedDict, UserDict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_landscape.evidence import InputUse
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import host_surface
from lightning_landscape.module_surface.entries import varies, with_entries
from lightning_landscape.module_surface.meter import Meter
from lightning_landscape.module_surface.pairing import mispaired
from lightning_landscape.module_surface.roles import MAX_REPLACED_ENTRIES
from lightning_landscape.probes import input_use
from lightning_landscape.surface import Roles, cost_of
from lightning_landscape.trainer.lightning_host import LightningHost

# Roles


class Module(LightningModule):
    """A module with two layers and a table of labels, whose training step is a function given by the test."""

    def __init__(self, step: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 4))
        self.table = nn.Embedding(16, 4)
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.step = step

    def training_step(self, batch: Any) -> Tensor:
        return self.step(self, batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


@dataclass
class Seen:
    roles: Roles | None
    use: InputUse | None
    forward_passes: float
    announced: float


class RoleObserver(Callback):
    """Find the roles and measure the use of the inputs at the end of the last step."""

    def __init__(self, batches: int) -> None:
        self.probe_set = ProbeSet(batches)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.probe_set.capture(pl_module, batch, batch_idx)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if trainer.global_step == trainer.max_steps:
            meter = Meter()
            with host_surface(LightningHost(trainer, pl_module), self.probe_set, meter=meter) as surface:
                before, announced = meter.gradients, cost_of(input_use, surface)
                use = input_use(surface)
                spent = meter.gradients - before
                roles = surface.pairing.roles() if surface.pairing is not None else None
                assert meter.gradients == before + spent  # the roles are found once
                self.seen = Seen(roles, use, 3 * spent, 3 * announced)


def seen(step: Callable[[Any, Any], Tensor], batch: Callable[[], Any], module: Any = Module, batches: int = 4) -> Seen:
    """Train with this step for a few batches and return what was found at the end."""
    seed_everything(0, verbose=False)
    observer = RoleObserver(batches)
    trainer = Trainer(
        max_steps=batches,
        accelerator="cpu",
        callbacks=[observer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module(step), DataLoader([batch() for _ in range(batches)], batch_size=None))
    return observer.seen


def x() -> Tensor:
    return torch.randn(6, 4)


def y() -> Tensor:
    return torch.randint(0, 4, (6,))


def classify(model: Any, inputs: Tensor, labels: Tensor, **settings: Any) -> Tensor:
    return F.cross_entropy(model.net(inputs), labels, **settings)


class Pair(NamedTuple):
    inputs: Tensor
    answer: Tensor


@dataclass
class Record:
    answer: Tensor
    inputs: Tensor


@dataclass(slots=True)
class Slotted:
    answer: Tensor
    inputs: Tensor


@dataclass(frozen=True)
class Frozen:
    answer: Tensor
    inputs: Tensor


class Graph:
    """An object with entries by key, as the graphs of PyTorch Geometric are, that is no mapping."""

    def __init__(self, **entries: Any) -> None:
        self.__dict__.update(entries)

    def keys(self) -> list[str]:
        return list(self.__dict__)

    def __getitem__(self, key: str) -> Any:
        return self.__dict__[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.__dict__[key] = value

    def __copy__(self) -> Graph:
        return Graph(**self.__dict__)


def by_key(model: Any, batch: Any) -> Tensor:
    return classify(model, batch["inputs"], batch["answer"])


def by_name(model: Any, batch: Any) -> Tensor:
    return classify(model, batch.inputs, batch.answer)


def denoise(model: Any, inputs: Tensor) -> Tensor:
    return F.mse_loss(model.net(inputs + torch.randn_like(inputs)), inputs)


def masked_sequence(model: Any, batch: Any) -> Tensor:
    """Mask the inputs beyond the lengths."""
    inputs, lengths, labels = batch
    return classify(model, inputs * (torch.arange(4) < lengths[:, None]), labels)


def two_tasks(model: Any, batch: Any) -> Tensor:
    inputs, (labels, numbers) = batch
    outputs = model.net(inputs)
    return F.cross_entropy(outputs, labels) + F.mse_loss(outputs, numbers)


def weighted(model: Any, batch: Any) -> Tensor:
    inputs, labels, weights = batch
    return (classify(model, inputs, labels, reduction="none") * weights).mean()


def siamese(model: Any, batch: Any) -> Tensor:
    one, other, same = batch
    return F.mse_loss((model.net(one) * model.net(other)).sum(-1), same)


def contrastive(model: Any, batch: Any) -> Tensor:
    one, other = batch
    return F.cross_entropy(model.net(one) @ model.net(other).T, torch.arange(6))


def on_a_graph(model: Any, batch: Any) -> Tensor:
    nodes, edges, labels, known = batch
    outputs = model.net(nodes.index_add(0, edges[1], nodes[edges[0]]))
    return F.cross_entropy(outputs[known], labels[known])


def window(model: Any, batch: Any) -> Tensor:
    """Forecast the column that `y_idx` selects, which is no target although its name begins like one."""
    series = batch["temporal"][..., int(batch["y_idx"][0])]
    return F.mse_loss(model.net(series[:, :4] + torch.randn(6, 4)), series[:, 4:])


def language(model: Any, batch: Any) -> Tensor:
    states = model.net(model.table(batch["input_ids"]))
    return F.cross_entropy((states[:, :-1] @ model.table.weight.T).flatten(0, 1), batch["labels"][:, 1:].flatten())


def tokens(*, padded: bool = False) -> dict[str, Tensor]:
    ids = torch.randint(0, 16, (6, 5))
    labels = ids.clone()
    if padded:
        labels[:, :2] = -100
    return {"labels": labels, "input_ids": ids}


class Scored(nn.Module):
    """A loss that is a layer with a weight, and returns a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs * self.scale, labels)


class WithLossModule(Module):
    def __init__(self, step: Any) -> None:
        super().__init__(step)
        self.loss = Scored()


class Constant(Module):
    """A module whose weights are all zero, so that its outputs are constant."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()


def packed(model: Any, batch: Any) -> Tensor:
    """Raise an error if the lengths are not in descending order."""
    inputs, lengths, labels = batch
    steps = nn.utils.rnn.pack_padded_sequence(inputs[:, :, None].expand(-1, -1, 4), lengths, batch_first=True)
    return (model.net(steps.data).mean() - labels.float()).square().mean()


TARGETS = {
    "inputs and labels": (lambda m, b: classify(m, *b), lambda: (x(), y()), [(1,)]),
    "labels first": (lambda m, b: classify(m, b[1], b[0]), lambda: [y(), x()], [(0,)]),
    "lengths between": (masked_sequence, lambda: (x(), torch.randint(1, 5, (6,)), y()), [(2,)]),
    "lengths in falling order": (
        packed,
        lambda: (x(), torch.randint(1, 5, (6,)).sort(descending=True).values, y()),
        [(2,)],
    ),
    "two tasks": (two_tasks, lambda: (x(), (y(), x())), [(1,)]),
    "weights of the samples": (weighted, lambda: (x(), y(), torch.rand(6)), [(2,), (1,)]),
    "an index that is not used": (lambda m, b: classify(m, *b[:2]), lambda: (x(), y(), torch.arange(6)), [(1,)]),
    "a pair and whether it is one": (siamese, lambda: (x(), x(), torch.rand(6)), [(2,)]),
    "namedtuple": (by_name, lambda: Pair(x(), y()), [("answer",)]),
    "dataclass": (by_name, lambda: Record(y(), x()), [("answer",)]),
    "slots": (by_name, lambda: Slotted(y(), x()), [("answer",)]),
    "dict": (by_key, lambda: {"answer": y(), "inputs": x()}, [("answer",)]),
    "ordered dict": (by_key, lambda: OrderedDict(answer=y(), inputs=x()), [("answer",)]),
    "mapping": (by_key, lambda: UserDict({"answer": y(), "inputs": x()}), [("answer",)]),
    "keys of a graph": (by_key, lambda: Graph(answer=y(), inputs=x()), [("answer",)]),
    "features by name": (
        lambda m, b: classify(m, b[0]["a"] + b[0]["b"], b[1]),
        lambda: ({"a": x(), "b": x()}, y()),
        [(1,)],
    ),
    "one dict in a list": (lambda m, b: by_key(m, b[0]), lambda: [{"answer": y(), "inputs": x()}], [(0, "answer")]),
    "batches of two loaders": (
        lambda m, b: by_key(m, b["one"]) + by_key(m, b["other"]),
        lambda: {name: {"inputs": x(), "answer": y()} for name in ("one", "other")},
        [("other", "answer"), ("one", "answer")],
    ),
    "graph": (on_a_graph, lambda: (x(), torch.randint(0, 6, (2, 9)), y(), torch.arange(6) < 4), [(3,), (2,)]),
    "lists of samples": (
        lambda m, b: sum(classify(m, i[None], torch.tensor([t["class"]])) for i, t in zip(*b, strict=True)),
        lambda: ([torch.randn(4) for _ in range(6)], [{"class": int(label)} for label in y()]),
        [(1,)],
    ),
    "two numbers a label": (lambda m, b: F.mse_loss(m.net(b[0]), b[1]), lambda: (x(), x()), [(1,)]),
}


@pytest.mark.parametrize("name", TARGETS)
def test_an_entry_that_changes_the_loss_and_no_layer_is_a_target(name):
    step, batch, targets = TARGETS[name]
    found = seen(step, batch)
    assert list(found.roles.targets) == targets
    assert found.roles.inputs_vary
    assert found.use.paired


ALONE = {
    "labels are ignored": (lambda m, b: denoise(m, b[0]), lambda: (x(), y())),
    "inputs come last": (lambda m, b: denoise(m, b[1]), lambda: (y(), x())),
    "labels are ignored in a dict": (lambda m, b: denoise(m, b["x"]), lambda: {"label": y(), "x": x()}),
    "labels go through a layer": (lambda m, b: denoise(m, b[0] + m.table(b[1])), lambda: (x(), y())),
    "pair without a label": (contrastive, lambda: (x(), x())),
    "y_idx": (window, lambda: {"temporal": torch.randn(6, 8, 2), "y_idx": torch.zeros(6, dtype=torch.long)}),
    "labels are the inputs": (language, tokens),
    "labels are the inputs but for what is ignored": (language, lambda: tokens(padded=True)),
    "one tensor": (denoise, x),
    "one tensor in a list": (lambda m, b: denoise(m, b[0]), lambda: [x()]),
    "the same tensor twice": (lambda m, b: F.mse_loss(m.net(b[0]), b[1]), lambda: (same := x(), same)),
    "labels of one class": (lambda m, b: classify(m, *b), lambda: (x(), torch.zeros(6, dtype=torch.long))),
}


@pytest.mark.parametrize("name", ALONE)
def test_a_loss_of_the_inputs_alone_has_no_target(name):
    found = seen(*ALONE[name])
    assert found.roles == Roles(())
    assert found.use.unpaired
    assert found.use.share == 0


def test_a_target_of_which_the_batch_has_an_unused_copy_is_found():
    def batch() -> Any:
        return {"label": (labels := y()), "inputs": x(), "answer": labels.clone()}

    assert seen(by_key, batch).roles.targets == (("answer",),)


def test_inputs_shifted_by_one_position_are_targets():
    def step(model, batch):
        return F.cross_entropy(
            (model.net(model.table(batch[0])) @ model.table.weight.T).flatten(0, 1), batch[1].flatten()
        )

    assert seen(step, lambda: ((ids := torch.randint(0, 16, (6, 5)))[:, :-1], ids[:, 1:])).roles.targets == ((1,),)


def test_of_a_model_with_constant_outputs_the_target_is_found_and_the_inputs_are_not_used():
    found = seen(lambda m, b: classify(m, *b), lambda: (x(), y()), Constant)
    assert found.roles.targets == ((1,),)
    assert found.use.share == pytest.approx(0, abs=1e-6)
    assert not found.use.unpaired


def test_of_a_step_that_uses_no_input_the_target_is_found():
    found = seen(lambda m, b: classify(m, torch.ones(6, 4), b[1]), lambda: (x(), y()))
    assert found.roles == Roles(((1,),))


def test_the_target_of_a_loss_with_weights_is_found():
    def step(model, batch):
        return model.loss(model.net(batch[0]), batch[1])

    assert seen(step, lambda: (x(), y()), WithLossModule).roles.targets == ((1,),)


FUNCTIONAL = {
    "the last one": (lambda m, b: F.cross_entropy(b[0] @ m.weight, b[1]), lambda: (x(), y()), [(1,)]),
    "by its name": (
        lambda m, b: F.cross_entropy(b["x"] @ m.weight, b["label"]),
        lambda: {"label": y(), "x": x()},
        [("label",)],
    ),
    "not the weights": (
        lambda m, b: (F.cross_entropy(b["a"] @ m.weight, b["b"], reduction="none") * b["sample_weight"]).mean(),
        lambda: {"a": x(), "b": y(), "sample_weight": torch.rand(6)},
        [("b",)],
    ),
    "inputs that are compared with themselves": (
        lambda m, b: (b[0] @ m.weight - b[0]).square().mean(),
        lambda: (x(), y()),
        [],
    ),
    "the target alone": (lambda m, b: F.cross_entropy(m.weight.sum(0).expand(6, 4), b[1]), lambda: (x(), y()), [(1,)]),
}


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_where_no_layer_is_called_names_and_positions_decide(name):
    step, batch, targets = FUNCTIONAL[name]
    assert list(seen(step, batch).roles.targets) == targets


@pytest.mark.parametrize("batch", [lambda: SimpleNamespace(x=x(), y=y()), lambda: (x(), "text")[0].to_sparse()])
def test_of_a_batch_of_an_unknown_class_no_targets_are_found(batch):
    def step(model, batch):
        return classify(model, batch.x, batch.y) if hasattr(batch, "x") else denoise(model, batch.to_dense())

    found = seen(step, batch)
    assert found.use is None or found.use.unpaired


@pytest.mark.parametrize(
    ("inputs", "vary"),
    [(lambda: torch.ones(6, 4), False), (lambda: torch.ones(6, 4) * torch.rand(1), True), (x, True)],
)
def test_inputs_that_are_equal_in_all_batches_do_not_vary(inputs, vary):
    assert seen(lambda m, b: classify(m, *b), lambda: (inputs(), y())).use.varied is vary


def test_the_cost_is_a_few_forward_passes_and_equals_the_announced_cost():
    def step(model, batch):
        return classify(model, sum(batch[f"x{i}"] for i in range(30)), batch["label"])

    found = seen(step, lambda: {"label": y()} | {f"x{i}": x() for i in range(30)})
    assert found.roles.targets == (("label",),)
    assert found.forward_passes == pytest.approx(found.announced)
    assert found.announced == pytest.approx(1 + MAX_REPLACED_ENTRIES + 2 * 2)
    assert seen(denoise, x).forward_passes == pytest.approx(2)


def test_the_use_of_inputs_is_not_measured_if_the_step_refuses_other_targets():
    def step(model, batch):
        if batch[1].tolist() != sorted(batch[1].tolist()):
            raise ValueError("not sorted")
        return classify(model, *batch)

    found = seen(step, lambda: (x(), torch.tensor([0, 0, 1, 1, 2, int(torch.randint(2, 4, ()))])))
    assert found.use is None


def test_the_use_of_inputs_is_measured_on_equal_batches_too():
    seed_everything(1, verbose=False)
    inputs = torch.randn(64, 4)

    class Trained(Module):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.03)

    def use(module: Any) -> InputUse:
        return seen(lambda m, b: classify(m, *b), lambda: (inputs, inputs.argmax(1)), module, batches=20).use

    assert use(Trained).share > 0.1
    assert use(Constant).share == pytest.approx(0, abs=1e-6)
    assert use(Constant).paired


# Exchanged targets


def captured(*batches: Any) -> Any:
    probe_set = ProbeSet(len(batches))
    for index, batch in enumerate(batches):
        probe_set.capture(nn.Identity(), batch, index)
    halves = probe_set.halves
    both = [None] * len(batches)
    both[0::2], both[1::2] = halves
    return tuple(both)


X, Y, U, V = (torch.arange(8.0) + shift for shift in (0, 10, 100, 110))


def with_other_targets(batches: Any, *targets: Any) -> list[Any]:
    return [batch.batch for batch in mispaired(batches, targets)]


def test_each_sample_gets_the_target_of_another_sample_of_another_batch():
    first, second = with_other_targets(captured((X, Y), (U, V)), (1,))
    assert first[0].tolist() == X.tolist()
    assert sorted(first[1].tolist()) == V.tolist()
    assert sorted(second[1].tolist()) == Y.tolist()
    assert all(first[1] != V)
    assert type(first) is tuple


def test_several_targets_are_exchanged_together():
    ((_, (labels, numbers)),) = with_other_targets(captured((X, (Y, V))), (1,))
    assert (numbers - labels).tolist() == [100.0] * 8
    assert all(labels != Y)
    ((_, labels, weights),) = with_other_targets(captured((X, Y, V)), (1,), (2,))
    assert (weights - labels).tolist() == [100.0] * 8


@pytest.mark.parametrize(
    ("batch", "target"),
    [
        ([X, Y], (1,)),
        ({"labels": Y, "x": X}, ("labels",)),
        (Pair(X, Y), ("answer",)),
        (Record(Y, X), ("answer",)),
        ([{"labels": Y, "x": X}], (0, "labels")),
        (UserDict(labels=Y, x=X), ("labels",)),
        (([X[i : i + 2] for i in range(8)], [{"t": float(t)} for t in Y]), (1,)),
        (([X[i : i + 2] for i in range(8)], list("abcdefgh")), (1,)),
    ],
    ids=["list", "dict", "namedtuple", "dataclass", "nested", "mapping", "dicts", "texts"],
)
def test_the_target_is_exchanged_in_a_copy_of_the_same_kind(batch, target):
    def at(value: Any, place: Any) -> Any:
        for key in place:
            value = getattr(value, key) if isinstance(key, str) and hasattr(value, key) else value[key]
        return list(value)

    (original,) = captured(batch)
    (made,) = with_other_targets((original,), target)
    assert type(made) is type(batch)
    assert at(made, target) != at(batch, target) == at(original.batch, target)
    assert sorted(map(str, at(made, target))) == sorted(map(str, at(batch, target)))


def test_entries_in_slots_and_frozen_fields_are_replaced_in_a_copy():
    for kind in (Slotted, Frozen):
        batch = kind(Y, X)
        made = with_entries(batch, {("answer",): V})
        assert (type(made), made.answer is V, made.inputs is X, batch.answer is Y) == (kind, True, True, True)


def test_a_batch_of_one_sample_can_only_exchange_with_another_batch():
    ((_, target),) = with_other_targets(captured((X[:1], Y[:1])), (1,))
    assert target.tolist() == [10.0]
    first, second = with_other_targets(captured((X[:1], Y[:1]), (U[:1], V[:1])), (1,))
    assert (first[1].tolist(), second[1].tolist()) == ([110.0], [10.0])


def test_a_batch_of_another_length_exchanges_among_its_own_samples():
    first, second = with_other_targets(captured((X, Y), (U[:2], V[:2])), (1,))
    assert sorted(first[1].tolist()) == Y.tolist()
    assert second[1].tolist() == [111.0, 110.0]


def test_equal_batches_exchange_among_their_own_samples():
    for _, target in with_other_targets(captured((X, Y), (X, Y)), (1,)):
        assert all(target != Y)


def test_where_tensors_differ_in_length_the_target_is_exchanged_as_a_whole():
    nodes, edges = torch.rand(5, 2), torch.zeros(2, 9)
    first, _ = with_other_targets(captured((nodes, edges, Y[:3]), (nodes, edges, V[:3])), (2,))
    assert first[2].tolist() == V[:3].tolist()


def test_a_batch_without_the_target_is_not_changed():
    first, second = with_other_targets(captured((X, Y), (U,)), (1,))
    assert sorted(first[1].tolist()) == Y.tolist()
    assert second[0].tolist() == U.tolist()


def test_exchanging_targets_does_not_change_the_original_batches():
    batches = captured((X.clone(), Y.clone()), (U.clone(), V.clone()))
    mispaired(batches, [(1,)])
    assert batches[0].batch[1].tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("values", "vary"),
    [
        ([torch.ones(3, 2)], False),
        ([torch.ones(3, 2), torch.ones(2, 2)], False),
        ([torch.ones(3, 2), 2 * torch.ones(3, 2)], True),
        ([torch.rand(3, 2)], True),
        ([X[:1], U[:1]], True),
        ([X[:1], X[:1]], False),
        ([X[:1]], True),
        ([{"a": torch.ones(3), "b": X[:3]}], True),
        ([torch.ones(3, 2), torch.ones(3, 4)], True),
        ([torch.ones(0, 2)], True),
        (["text"], True),
        ([torch.eye(3).to_sparse()], True),
        ([torch.tensor(3.0)], True),
    ],
)
def test_samples_vary_within_a_batch_or_between_batches(values, vary):
    assert varies(values) is vary


def test_the_search_ends_in_a_batch_that_contains_itself():
    batch: list[Any] = [x(), y()]
    batch.append(batch)
    with contextlib.suppress(RecursionError):  # Lightning may fail to move such a batch to the device
        assert seen(lambda m, b: classify(m, *b[:2]), lambda: batch).roles is not None
