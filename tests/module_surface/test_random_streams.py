"""Random numbers drawn inside the training step: which of them are the same in two evaluations, and which are not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.evidence import Trials
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.probes.trials import CopyTrials
from lightning_landscape.surface import LossSurface
from tests.module_surface.observers import Prober
from tests.zoo import Specimen
from tests.zoo.plain import Classifier, perceptron
from tests.zoo.specimen import labelled
from tests.zoo.training import fit, make_trainer

BATCHES = 8


class NoisyLoss(Classifier):
    """Adds a random number, which no weight changes, to the loss of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1]) + torch.rand(())


class PermutedLabels(NoisyLoss):
    """Permutes the labels anew in each step, so that there is nothing to learn."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1][torch.randperm(len(batch[1]))])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 3e-3)


def whole() -> DataLoader[Any]:
    """Return a loader whose only batch is the whole data, so that each epoch is one step with the batch index 0."""
    data = labelled(samples=24)
    return DataLoader(TensorDataset(*data.tensors), batch_size=len(data))


def probed(module: type[Classifier], probe: Any) -> Any:
    """Return what the probe measures after eight epochs of one batch."""
    seed_everything(3, verbose=False)
    prober = Prober(probe, batches=BATCHES)
    specimen = Specimen(module, loader=whole, epochs=BATCHES)
    fit(specimen, make_trainer(specimen, prober), module())
    return prober.readings[-1]


def test_each_captured_batch_has_random_numbers_of_its_own_where_every_batch_is_the_whole_data():
    def losses(surface: LossSurface) -> list[list[float]]:
        return [[float(loss(surface.here)) for loss in of] for of in (surface.batch_losses, surface.held_out_losses)]

    measured, held_out = probed(NoisyLoss, losses)
    assert len(measured) == len(held_out) == BATCHES // 2
    assert len({*measured, *held_out}) == BATCHES


def test_a_batch_has_the_same_random_numbers_at_any_weights_and_in_any_order():
    def differences(surface: LossSurface) -> list[float]:
        with surface.at_anchor("initial") as initial:
            first = [float(loss(initial)) - float(loss(surface.here)) for loss in surface.batch_losses]
            second = [float(loss(initial)) - float(loss(surface.here)) for loss in reversed(surface.batch_losses)]
        assert first == second[::-1]
        return first

    of_batches = probed(NoisyLoss, differences)
    assert of_batches == pytest.approx([of_batches[0]] * (BATCHES // 2), abs=1e-6)


def test_trials_gain_nothing_from_labels_that_each_step_permutes_anew():
    reading = probed(PermutedLabels, CopyTrials())
    assert isinstance(reading, Trials)
    assert reading.gain("learning rate x10") < 0.05
    assert reading.gain("adam") < 0.05


def test_the_streams_begin_anew_with_each_round_of_captures_so_that_a_resumed_run_draws_the_same():
    def streams(probe_set: ProbeSet) -> list[int]:
        measured, held_out = probe_set.halves
        return sorted(batch.stream for batch in (*measured, *held_out))

    def capture(probe_set: ProbeSet) -> ProbeSet:
        for _ in range(3):
            probe_set.capture(torch.nn.Identity(), torch.zeros(2), 0)
        return probe_set

    used = capture(ProbeSet(4))
    used.clear()
    assert streams(capture(used)) == streams(capture(ProbeSet(4))) == [0, 1, 2]
    assert streams(capture(used)) == [2, 3, 4, 5]
