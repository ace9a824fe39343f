"""Training with a callback that probes is the same to the bit as training without; a careless callback is detected."""

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
    "Convolutional",  # BatchNorm and dropout: each forward pass changes buffers and draws random numbers
    "HiddenState",  # state in attributes of many types, with random generators of its own
    "Adversaries",  # manual optimization: two optimizers, toggled in turn
    "AccumulatedAndClipped",  # a probe may run while gradients are only partly accumulated
    "UsesTrainer",  # reads and changes the trainer, the logger and the learning rate
    "CompiledPart",  # a call with inputs of another kind compiles another graph
    "MeanTeacher",  # the step itself changes weights in place
    "Streamed",  # data without a length, drawn from the global random number generator
)
"""Specimens that each observer is tested on. Observers evaluate a module only through a surface, which is tested on all
specimens."""


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
    callback = OBSERVERS[observer]()

    assert train(SPECIMENS[name], callback).differences(alone(name)) == []

    if hasattr(callback, "refusals"):
        refusal = SPECIMENS[name].refusal
        assert bool(callback.readings) is (refusal is None), callback.refusals
        assert all(refusal is not None and refusal in text for text in callback.refusals), callback.refusals


class Careless(Callback):
    """Evaluates the module in the second step without undoing what the evaluation changes."""

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
    ("callback", "name", "expected"),
    [
        (PlainStep, "Convolutional", {"weights", "metrics", "rows", "streams", "batches", "hidden"}),
        (PlainStep, "WithMetrics", {"metrics", "streams"}),
        (PlainStep, "HiddenState", {"weights", "hidden"}),
        (PlainStep, "UsesTrainer", {"rows", "hidden"}),
        (PlainStep, "ContrastiveQueue", {"weights", "hidden"}),
        (PlainStep, "MeanTeacher", {"weights"}),
        (PlainStep, "ClassState", {"weights", "hidden"}),
        (GlobalDraw, "Convolutional", {"streams", "weights"}),
        (GlobalDraw, "Streamed", {"streams", "batches", "weights"}),
        (Backward, "AccumulatedAndClipped", {"weights", "optimizers"}),
        (TrainMode, "FrozenBackbone", {"weights"}),
    ],
)
def test_a_careless_probe_is_detected(callback: type[Callback], name: str, expected: set[str]):
    assert expected <= set(train(SPECIMENS[name], callback()).differences(alone(name)))


def test_the_specimens_that_every_observer_is_tested_on_are_in_the_zoo():
    assert SPECIMENS.keys() >= set(DIFFERENT_IN_KIND)


def test_training_itself_is_reproducible():
    assert train(SPECIMENS["HiddenState"]).differences(alone("HiddenState")) == []
