"""How far the weights go, from a few entries of them."""

import pytest
import torch

from lightning_landscape.examination.weight_samples import MOST_ENTRIES, MOST_SAMPLES, WeightSamples, sample_of


def test_a_sample_of_a_small_model_has_all_entries_and_one_of_a_large_model_some_of_each_tensor():
    assert sample_of([torch.arange(3.0), torch.arange(2.0)]).tolist() == [0.0, 1.0, 2.0, 0.0, 1.0]
    large = sample_of([torch.zeros(5000), torch.ones(3000)])
    assert len(large) <= MOST_ENTRIES
    assert float(large.mean()) == pytest.approx(3 / 8, abs=0.01)


def test_the_reach_is_the_largest_distance_over_the_norm_since_a_step():
    samples = WeightSamples()
    for step, value in ((0, 30.0), (40, 12.0), (80, 9.0)):
        samples.add(step, [torch.tensor([value])])
    assert samples.reach([torch.tensor([10.0])], since=1) == (2, 40, pytest.approx(0.2))
    assert samples.reach([torch.tensor([10.0])], since=81) is None
    assert samples.reach([torch.tensor([0.0])], since=0) is None


def test_samples_are_bounded_and_those_of_another_model_are_dropped():
    samples = WeightSamples()
    for step in range(100):
        samples.add(step, [torch.tensor([float(step)])])
    assert samples.reach([torch.tensor([1.0])], since=0)[:2] == (MOST_SAMPLES, 100 - MOST_SAMPLES)
    assert samples.reach([torch.tensor([1.0, 2.0])], since=0) is None
    samples.add(100, [torch.zeros(2)])
    assert samples.reach([torch.ones(2)], since=0)[:2] == (1, 100)


def test_samples_survive_a_checkpoint():
    samples, resumed = WeightSamples(), WeightSamples()
    samples.add(3, [torch.ones(2)])
    resumed.load_state_dict(samples.state_dict())
    assert resumed.reach([torch.zeros(2) + 2], since=0) == samples.reach([torch.zeros(2) + 2], since=0)


def test_the_fastest_stretch_is_between_the_samples_with_the_largest_distance_for_a_step():
    samples = WeightSamples()
    assert samples.fastest_stretch() is None
    for step, value in ((10, 0.0), (20, 1.0), (30, 9.0), (60, 20.0)):
        samples.add(step, [torch.tensor([value])])
    assert samples.fastest_stretch() == (20, 30)
