"""The stuck runs of the split `second` have the mistakes that they were built with."""

import math
from collections import Counter

import pytest
import torch
from torch import Generator

from benchmarks.stuck_runs.configurations import SPLITS
from benchmarks.stuck_runs.networks import CausalAttention
from benchmarks.stuck_runs.training import run
from benchmarks.stuck_runs.truth import load_labels

SECOND = {c.name: c for c in SPLITS["second"]}


def trained(name, steps):
    problem = SECOND[name].problem(0)
    for _ in run(problem, 0, steps):
        pass
    return problem


def batch(name, step, seed=1):
    return SECOND[name].problem(0).batch(Generator().manual_seed(seed), step)


def test_the_share_of_configurations_with_their_intended_label_on_every_seed_is_high():
    labels = load_labels()
    kept = [c for c in SECOND.values() if all(labels[c.name, seed].label != "ambiguous" for seed in range(3))]
    assert len(kept) >= 0.9 * len(SECOND)
    assert min(Counter(c.kind for c in kept if c.stuck).values()) >= 1


def test_only_one_bias_of_the_frozen_network_moves():
    before, after = SECOND["all_frozen_but_a_bias"].problem(0).model, trained("all_frozen_but_a_bias", 5).model
    moved = [
        name
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    ]
    assert moved == ["2.bias"]


def test_the_labels_of_the_broken_pipeline_belong_to_their_digits_until_step_900():
    x, y = SECOND["pipeline_breaks"].problem(0).evaluation_data(0)
    label_of = {tuple(row): int(label) for row, label in zip(x.tolist(), y, strict=True)}

    def right(step):
        inputs, labels = batch("pipeline_breaks", step)
        return sum(label_of[tuple(row)] == int(label) for row, label in zip(inputs.tolist(), labels, strict=True))

    assert right(899) == 32
    assert right(900) < 16


def test_one_batch_is_nan_and_only_that_one():
    is_nan = {step: bool(batch("batch_of_nan", step)[0].isnan().all()) for step in (599, 600, 601)}
    assert is_nan == {599: False, 600: True, 601: False}


def test_one_batch_in_fifty_is_corrupt():
    sizes = [float(batch("corrupt_batches", 0, seed)[0].std()) for seed in range(300)]
    assert 1 <= sum(size > 2 for size in sizes) <= 15


def test_equal_units_stay_equal():
    weight = trained("equal_units", 50).model[0].weight
    assert torch.allclose(weight, weight[:1].expand_as(weight), atol=1e-6)


@pytest.mark.parametrize("name", ["closed_gates_and_head", "dead_second_layer"])
def test_the_output_does_not_depend_on_the_inputs(name):
    model = trained(name, 5).model
    with torch.no_grad():
        outputs = model(torch.randn(8, 20))
    assert torch.allclose(outputs, outputs[:1].expand_as(outputs), atol=1e-6)


def test_two_layers_of_attention_do_not_see_later_tokens():
    tokens = torch.zeros(1, 6, dtype=torch.long)
    changed = torch.cat([tokens[:, :3], tokens[:, 3:] + 1], 1)
    model = CausalAttention(3, 6, 8, layers=2)
    assert torch.allclose(model(tokens)[..., :3], model(changed)[..., :3], atol=1e-6)
    assert not torch.allclose(model(tokens)[..., 3:], model(changed)[..., 3:], atol=1e-6)


def test_the_second_half_of_what_is_said_twice_can_be_predicted_exactly():
    loss, (x, y) = SECOND["said_twice"].problem(0).loss, batch("said_twice", 0)
    assert torch.equal(x[:, :6], x[:, 6:])
    guess = torch.zeros(len(x), 6, 12)
    known = guess.scatter(1, y.roll(-1, 1)[:, None], 100.0)
    assert float(loss(guess, y)) == pytest.approx(math.log(6))
    assert float(loss(known, y)) == pytest.approx(0.0)
