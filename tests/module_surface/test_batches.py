from __future__ import annotations

from collections import UserDict, deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from lightning_landscape.module_surface.batches import ProbeSet
from tests.zoo.batches import Attributes, Extended, Frozen, Slotted

MODULE = nn.Sequential(nn.Linear(2, 2), nn.Dropout())


def filled(*batches: Any, **settings: Any) -> ProbeSet:
    probe_set = ProbeSet(**settings)
    for index, batch in enumerate(batches):
        probe_set.capture(MODULE, batch, index)
    return probe_set


def test_halves_share_no_batch_and_the_latest_are_held():
    measure, judge = filled(*(torch.full((2,), float(i)) for i in range(6)), max_batches=4).halves

    assert [batch.batch_idx for batch in measure] == [2, 4]
    assert [batch.batch_idx for batch in judge] == [3, 5]


def test_one_batch_leaves_nothing_to_judge_on():
    measure, judge = filled(torch.zeros(3)).halves

    assert (len(measure), len(judge)) == (1, 0)


def test_what_is_held_is_independent_of_the_batch_and_of_what_an_evaluation_does_to_it():
    batch = {"x": [torch.zeros(2), "name"]}
    ((held,), _) = filled(batch).halves
    batch["x"][0].add_(1)
    held.copy()["x"].pop(0).add_(2)

    assert torch.equal(held.copy()["x"][0], torch.zeros(2))


def test_tensors_shared_within_a_batch_stay_shared():
    shared = torch.zeros(2)
    ((held,), _) = filled({"a": shared, "b": shared}).halves
    fresh = held.copy()

    assert fresh["a"] is fresh["b"]
    assert held.nbytes == shared.nbytes


def test_bytes_are_bounded_by_leaving_out_the_oldest():
    probe_set = filled(*(torch.zeros(100) for _ in range(4)), max_bytes=900)

    assert len(probe_set) == 2
    assert probe_set.nbytes == 800


def test_a_batch_that_is_too_large_is_left_out_and_its_size_is_known():
    probe_set = filled(torch.zeros(1000), max_bytes=900)

    assert len(probe_set) == 0
    assert probe_set.left_out == 4000


class Required(dict[str, Any]):
    __getattr__ = dict.__getitem__


@dataclass
class Labelled:
    inputs: torch.Tensor
    labels: torch.Tensor


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        ((torch.zeros(5, 2), torch.zeros(5)), 5),
        ({"x": torch.zeros(3, 1), "scale": 2.0}, 3),
        (Labelled(torch.zeros(4, 2), torch.zeros(4)), 4),
        ((torch.zeros(5, 2), torch.zeros(7)), None),
        (["a", "b"], None),
        (Slotted(torch.zeros(4, 2), torch.zeros(4)), 4),
        ([Frozen(Slotted(torch.zeros(4, 2), torch.zeros(4)), Extended(4))], 4),
        (UserDict(x={torch.zeros(3)}, y=deque([torch.zeros(3)])), 3),
        (Attributes(x=torch.zeros(3)), 3),
        (SimpleNamespace(x=torch.zeros(3), data=TensorDataset(torch.zeros(7))), 3),
        ([Required(x=torch.zeros(3), nbytes="many")], 3),
        (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged), 2),
    ],
)
def test_the_number_of_samples_is_what_all_tensors_agree_on(batch: Any, samples: int | None):
    ((held,), _) = filled(batch).halves

    assert held.samples == samples


def test_a_batch_that_contains_itself_has_the_samples_of_its_tensors():
    batch: dict[str, Any] = {"x": torch.zeros(3)}
    batch["all"] = [batch]
    ((held,), _) = filled(batch).halves

    assert held.samples == 3
    assert held.copy()["all"][0]["x"] is not batch["x"]


def test_what_is_in_a_batch_and_cannot_be_copied_is_known():
    ((held,), _) = filled((torch.zeros(3), {"more": (number for number in range(3))})).halves

    assert held.uncopied == {"batch[1]['more']": "generator"}


def test_training_flags_are_those_of_the_step():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    module[0].eval()
    probe_set = ProbeSet()
    probe_set.capture(module, torch.zeros(2), 0)
    ((held,), _) = probe_set.halves

    assert held.training == {"": True, "0": False, "1": True}


def test_a_batch_that_the_step_draws_itself_is_captured_afterwards():
    probe_set = ProbeSet()
    probe_set.capture(MODULE, None, 0)
    probe_set.capture_drawn(torch.ones(2), 0)
    probe_set.capture(MODULE, torch.zeros(2), 1)
    probe_set.capture_drawn(torch.full((2,), 9.0), 1)

    assert [float(held.batch.sum()) for half in probe_set.halves for held in half] == [2.0, 0.0]


@pytest.mark.parametrize("settings", [{"max_batches": 0}, {"max_bytes": 0}])
def test_settings_that_hold_nothing_are_refused(settings: dict[str, int]):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        ProbeSet(**settings)
