"""Training is the same to the bit, whoever watches; and a careless probe would have been caught."""

from __future__ import annotations

import functools

import pytest
import torch
from lightning.pytorch import Callback

from tests.callbacks.observers import OBSERVERS
from tests.zoo import SPECIMENS, Trace, train


@functools.cache
def alone(name: str) -> Trace:
    return train(SPECIMENS[name])


@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.ProbeSkippedWarning")  # some have no curvature
@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("name", SPECIMENS)
def test_observed_training_is_identical_to_the_bit(name: str, observer: str):
    watching = OBSERVERS[observer]()

    assert train(SPECIMENS[name], watching).differences(alone(name)) == []

    if hasattr(watching, "readings"):
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


def test_training_itself_is_reproducible():
    assert train(SPECIMENS["HiddenState"]).differences(alone("HiddenState")) == []
