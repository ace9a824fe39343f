"""Training is the same to the bit, whoever watches; and a careless probe would have been caught."""

from __future__ import annotations

import functools

import pytest
import torch
from lightning.pytorch import Callback

from tests.module_surface.observers import IN_FULL, OBSERVERS
from tests.zoo import SPECIMENS, Trace, train


@functools.cache
def alone(name: str) -> Trace:
    return train(SPECIMENS[name])


DIFFERENT_IN_KIND = (
    "Convolutional",  # BatchNorm and dropout: buffers and random streams that every forward pass moves
    "HiddenState",  # state in attributes of every sort, with generators of its own
    "Adversaries",  # steps by hand: two optimizers, toggled in turn
    "AccumulatedAndClipped",  # gradients are half-way there when the probe comes
    "UsesTrainer",  # reads and writes the trainer, the logger and the learning rate
    "CompiledPart",  # a call that is not as before compiles another graph
    "MeanTeacher",  # weights that the step itself moves, in place
    "Streamed",  # data without a length, drawn from the global random stream
)
"""on which each observer is tried; everything that an observer does to a module it does through a surface, which is
tried on all"""


@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.ProbeSkippedWarning")  # some have no curvature
@pytest.mark.parametrize(
    ("name", "observer"),
    [
        (name, observer)
        for name in SPECIMENS
        for observer in OBSERVERS
        if observer in IN_FULL or name in DIFFERENT_IN_KIND
    ],
)
def test_observed_training_is_identical_to_the_bit(name: str, observer: str):
    watching = OBSERVERS[observer]()

    assert train(SPECIMENS[name], watching).differences(alone(name)) == []

    if hasattr(watching, "refusals"):
        refusal = SPECIMENS[name].refusal
        assert bool(watching.readings) is (refusal is None), watching.refusals
        assert all(refusal is not None and refusal in said for said in watching.refusals), watching.refusals


class Careless(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batch = batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == 1:
            self.probe(pl_module)


class PlainStep(Careless):
    def probe(self, pl_module):
        with torch.no_grad():
            pl_module.training_step(self.batch, 0)


class GlobalDraw(Careless):
    def probe(self, pl_module):
        torch.randn(1)


class Backward(Careless):
    def probe(self, pl_module):
        pl_module.training_step(self.batch, 0).backward()


class TrainMode(Careless):
    def probe(self, pl_module):
        with torch.no_grad():
            pl_module.train().net(self.batch[0])


@pytest.mark.parametrize(
    ("careless", "name", "shown_in"),
    [
        (PlainStep, "Convolutional", {"weights", "metrics", "rows", "streams", "diary", "hidden"}),
        (PlainStep, "WithMetrics", {"metrics", "streams"}),
        (PlainStep, "HiddenState", {"weights", "hidden"}),
        (PlainStep, "UsesTrainer", {"rows", "hidden"}),
        (PlainStep, "ContrastiveQueue", {"weights", "hidden"}),
        (PlainStep, "MeanTeacher", {"weights"}),
        (PlainStep, "ClassState", {"weights", "hidden"}),
        (GlobalDraw, "Convolutional", {"streams", "weights"}),
        (GlobalDraw, "Streamed", {"streams", "diary", "weights"}),
        (Backward, "AccumulatedAndClipped", {"weights", "optimizers"}),
        (TrainMode, "FrozenBackbone", {"weights"}),
    ],
)
def test_a_careless_probe_is_caught(careless: type[Callback], name: str, shown_in: set[str]):
    assert shown_in <= set(train(SPECIMENS[name], careless()).differences(alone(name)))


def test_the_specimens_for_every_observer_are_in_the_zoo():
    assert SPECIMENS.keys() >= set(DIFFERENT_IN_KIND)


def test_training_itself_is_reproducible():
    assert train(SPECIMENS["HiddenState"]).differences(alone("HiddenState")) == []
