"""The losses of earlier weights and the present ones on the same batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lightning_landscape.probes import same_batches
from lightning_landscape.surface import LossSurface, cost_of


def batch(center):
    return lambda at: ((at["x"] - center) ** 2).sum()


TRAINING, HELD_OUT = tuple(map(batch, (0.0, 1.0, 2.0))), tuple(map(batch, (3.0, 4.0)))
SURFACE = LossSurface(
    batch(0.0),
    {"x": torch.tensor([1.0])},
    anchors={"step 10": {"x": torch.tensor([3.0])}, "step 20": {"x": torch.tensor([2.0])}},
    batch_losses=TRAINING,
    held_out_losses=HELD_OUT,
)


def test_each_point_is_evaluated_on_each_batch():
    reading = same_batches(SURFACE)
    assert reading.points == ("step 10", "step 20", "now")
    assert reading.losses == (
        (9.0, 4.0, 1.0, 0.0, 1.0),
        (4.0, 1.0, 0.0, 1.0, 4.0),
        (1.0, 0.0, 1.0, 4.0, 9.0),
    )


def test_the_cost_is_a_forward_pass_for_each_point_and_batch_and_a_budget_leaves_batches_out():
    assert cost_of(same_batches, SURFACE) == 5.0
    assert cost_of(same_batches, SURFACE.with_budget(4)) == 4.0
    assert len(same_batches(SURFACE.with_budget(4)).losses[0]) == 4


@pytest.mark.parametrize(
    "surface",
    [
        SURFACE.with_budget(3),  # three batches
        replace(SURFACE, anchors={"step 10": SURFACE.anchors["step 10"]}),
        replace(SURFACE, held_out_losses=()),
    ],
)
def test_too_little_to_compare_gives_no_reading(surface):
    assert same_batches(surface) is None
