"""Published properties of the loss landscapes of small networks are reproduced on real data."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.phenomena import edge_of_stability, index_along_training, line, trained


@pytest.mark.parametrize("learning_rate", [0.5, 1.0])
def test_gradient_descent_settles_at_the_edge_of_stability(learning_rate: float):
    run = edge_of_stability(learning_rate, steps=2800, every=100)
    assert run.sharpness[0] < 0.9 * 2 / learning_rate
    assert run.settled == pytest.approx(2 / learning_rate, rel=0.05)


def test_the_share_of_negative_eigenvalues_falls_with_the_loss_and_stays_above_zero():
    rows = index_along_training([0, 20, 160, 640])
    for (loss, index, _), (later_loss, later_index, _) in pairwise(rows):
        assert later_loss < loss
        assert later_index < index
    assert rows[-1][0] < 0.05
    assert rows[-1][1] > 0.1


def test_the_line_from_initial_to_trained_weights_is_monotone_and_a_barrier_separates_two_runs():
    run, other = (trained(seed=seed, steps=900, snapshots=1) for seed in (0, 1))
    _, losses = line(run, run.snapshots[0], run.snapshots[-1], 26)
    assert all(later <= earlier for earlier, later in pairwise(losses))
    _, between = line(run, other.snapshots[-1], run.snapshots[-1], 26)
    assert max(between) > 0.1 + max(between[0], between[-1])
