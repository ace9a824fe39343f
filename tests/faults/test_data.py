"""F43-F45: unusual data, other precisions, and clocks that jump or stand still."""

from __future__ import annotations

import ast
import time
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from lightning_landscape.evidence import Curvature
from tests.faults.runs import (
    MONITORS,
    PROBING,
    Flat,
    Net,
    fit,
    fit_monitored,
    loader,
    reinitialize,
    trace,
    trainer,
    warnings_of,
)

PACKAGE = Path(__file__).parents[2] / "lightning_landscape"
every_monitor = pytest.mark.parametrize("name", MONITORS)


class Stream(IterableDataset):
    """Data without a length."""

    def __init__(self, shape):
        self.shape = shape

    def __iter__(self):
        for inputs, labels in loader(16):
            yield self.shape(inputs, labels)


Pair = namedtuple("Pair", ["inputs", "labels"])


@dataclass
class Sample:
    inputs: torch.Tensor
    labels: torch.Tensor
    note: str = "text"


class Opaque:
    """A batch without a length, without a known structure, and that cannot be copied."""

    __slots__ = ("inputs", "labels")

    def __init__(self, inputs, labels):
        self.inputs, self.labels = inputs, labels

    def __deepcopy__(self, memo):
        raise TypeError("not to be copied")


SHAPES = {
    "dict": lambda inputs, labels: {"inputs": inputs, "labels": labels, "names": ["a", None, 3]},
    "named tuple": Pair,
    "dataclass": Sample,
    "nested": lambda inputs, labels: {"inputs": inputs, "more": [({"labels": labels},)], "labels": labels},
    "opaque": Opaque,
}


def item(batch, name):
    return batch[name] if isinstance(batch, dict) else getattr(batch, name)


class ReadsShape(Net):
    def loss(self, batch):
        return super().loss((item(batch, "inputs"), item(batch, "labels")))


@every_monitor
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.filterwarnings("ignore:Trying to infer the `batch_size`")
def test_f43_batches_of_any_structure_from_data_without_a_length_are_evaluated_or_skipped_with_a_reason(name, shape):
    def data():
        return DataLoader(Stream(SHAPES[shape]), batch_size=None)

    monitor = MONITORS[name]()
    messages = fit_monitored(monitor, ReadsShape, steps=60, data=data())
    assert monitor._state.steps == 60
    assert all("is skipped" in text for text in messages)
    assert not monitor._guard.failures
    if name in ("landscape", "interpolation"):
        assert bool(monitor._state.readings.lines()) is not bool(messages)
    if shape != "opaque":
        assert messages == []


@every_monitor
def test_f43_an_empty_batch_causes_no_failure(name):
    class Tolerant(Net):
        def loss(self, batch):
            return super().loss(batch) if len(batch[0]) > 1 else self.net[0].weight.sum() * 0.0

    batches = [(inputs[: 0 if i % 3 == 2 else 8], labels[: 0 if i % 3 == 2 else 8]) for i, (inputs, labels) in
               enumerate(loader(16))]  # fmt: skip
    monitor = MONITORS[name]()
    messages = fit_monitored(monitor, Tolerant, data=DataLoader(batches, batch_size=None))
    assert monitor._state.steps == 40
    assert not monitor._guard.failures
    assert all("is skipped" in text for text in messages)


@every_monitor
@pytest.mark.parametrize("clock", ["backwards", "still"])
def test_f45_a_clock_that_jumps_or_stands_still_changes_nothing(name, clock, monkeypatch):
    ticks = iter(range(10**9, 0, -3600)) if clock == "backwards" else iter(lambda: 10**9, None)
    expected = trace(fit(Net()))
    monitor = MONITORS[name]()
    run = trainer(monitor)
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    if clock == "still":
        monkeypatch.setattr(time, "perf_counter", lambda: 1.0)
    module = Net()
    reinitialize(module)
    assert warnings_of(lambda: run.fit(module, loader())) == []
    monkeypatch.undo()
    assert trace(run)["weights"] == expected["weights"]
    assert not monitor._guard.failures
    if name in PROBING:
        assert monitor._state.readings.lines() or monitor._state.readings.latest(Curvature)


def test_f45_no_duration_is_measured_with_a_clock_that_can_be_set():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if path.name == "records.py":  # the age of a record of another process is that of its file
                    continue
                assert (node.value.id, node.attr) not in {("time", "time"), ("time", "clock"), ("time", "time_ns")}, (
                    path
                )


@every_monitor
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_f44_in_any_precision_gradient_norms_are_close_to_those_in_float32(name, precision):
    monitor, single = MONITORS[name](), MONITORS[name]()
    messages = fit_monitored(monitor, precision=precision)
    assert all("is skipped" in text for text in messages)
    assert not monitor._guard.failures
    fit(Net(), single)
    pairs = zip(monitor._state.gradients.history, single._state.gradients.history, strict=True)
    for norms, expected in pairs:
        assert [norm for norm in norms if norm is not None] == pytest.approx(expected, rel=0.2)


@every_monitor
@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_f44_verdicts_do_not_depend_on_the_unit_of_the_loss(name, unit):
    class InUnits(Flat):
        def loss(self, batch):
            return super().loss(batch) * unit

    def verdicts(make):
        monitor = MONITORS[name]()
        warnings_of(lambda: fit(make(), monitor, steps=120))
        return [(v.cause, v.step, v.since, v.stuck) for v in monitor.verdicts]

    assert verdicts(InUnits) == verdicts(Flat)
