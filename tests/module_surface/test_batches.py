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


def test_halves_share_no_batch_and_the_latest_batches_are_kept():
    measured, held_out = filled(*(torch.full((2,), float(i)) for i in range(6)), max_batches=4).halves

    assert [batch.batch_idx for batch in measured] == [2, 4]
    assert [batch.batch_idx for batch in held_out] == [3, 5]


def test_of_a_single_batch_there_is_no_held_out_batch():
    measured, held_out = filled(torch.zeros(3)).halves

    assert (len(measured), len(held_out)) == (1, 0)


def test_changes_of_the_batch_or_of_a_copy_do_not_change_the_captured_batch():
    batch = {"x": [torch.zeros(2), "name"]}
    ((captured,), _) = filled(batch).halves
    batch["x"][0].add_(1)
    captured.copy()["x"].pop(0).add_(2)

    assert torch.equal(captured.copy()["x"][0], torch.zeros(2))


def test_tensors_shared_within_a_batch_stay_shared():
    shared = torch.zeros(2)
    ((captured,), _) = filled({"a": shared, "b": shared}).halves
    copy = captured.copy()

    assert copy["a"] is copy["b"]
    assert captured.nbytes == shared.nbytes


def test_the_oldest_batches_are_removed_to_keep_within_max_bytes():
    probe_set = filled(*(torch.zeros(100) for _ in range(4)), max_bytes=900)

    assert len(probe_set) == 2
    assert probe_set.nbytes == 800


def test_a_batch_that_is_too_large_is_not_kept_and_its_size_is_recorded():
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
def test_the_number_of_samples_is_the_length_that_all_tensors_share(batch: Any, samples: int | None):
    ((captured,), _) = filled(batch).halves

    assert captured.samples == samples


def test_a_batch_that_contains_itself_has_the_samples_of_its_tensors():
    batch: dict[str, Any] = {"x": torch.zeros(3)}
    batch["all"] = [batch]
    ((captured,), _) = filled(batch).halves

    assert captured.samples == 3
    assert captured.copy()["all"][0]["x"] is not batch["x"]


def test_objects_in_a_batch_that_cannot_be_copied_are_recorded():
    ((captured,), _) = filled((torch.zeros(3), {"more": (number for number in range(3))})).halves

    assert captured.uncopied == {"batch[1]['more']": "generator"}


def test_the_training_flags_of_the_step_are_captured():
    module = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    module[0].eval()
    probe_set = ProbeSet()
    probe_set.capture(module, torch.zeros(2), 0)
    ((captured,), _) = probe_set.halves

    assert captured.training == {"": True, "0": False, "1": True}


def test_a_batch_that_the_step_draws_itself_is_captured_afterwards():
    probe_set = ProbeSet()
    probe_set.capture(MODULE, None, 0)
    probe_set.capture_drawn(torch.ones(2), 0)
    probe_set.capture(MODULE, torch.zeros(2), 1)
    probe_set.capture_drawn(torch.full((2,), 9.0), 1)

    assert [float(captured.batch.sum()) for half in probe_set.halves for captured in half] == [2.0, 0.0]


@pytest.mark.parametrize("settings", [{"max_batches": 0}, {"max_bytes": 0}])
def test_settings_that_leave_room_for_no_batch_are_refused(settings: dict[str, int]):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        ProbeSet(**settings)
