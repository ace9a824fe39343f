"""Which entries of the batches the linear regression takes."""

import pytest
import torch

from lightning_landscape.probes import linear_fit
from lightning_landscape.probes.linear_fit import MAX_FEATURES, MAX_SAMPLES
from lightning_landscape.surface import LossSurface, Pairing, Roles, RunContext, cost_of

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(4, 32, 3, 4, generator=GENERATOR)  # four batches of 32 samples
NUMBERS = INPUTS.flatten(2)[..., :2].sum(-1)


def fit(targets, inputs=INPUTS, roles=((1,),), **known):
    entries = [{(0,): x, (1,): y} for x, y in zip(inputs, targets, strict=True)]
    run = RunContext(entries=lambda: entries)
    pairing = Pairing((), lambda: Roles(roles), lambda paths: (), tries=3)
    return linear_fit(
        LossSurface(lambda at: at["w"].sum(), {"w": torch.ones(2)}, run=run, **{"pairing": pairing, **known})
    )


@pytest.mark.parametrize(
    "targets", [NUMBERS, NUMBERS[..., None], (NUMBERS > 0).long(), torch.stack([NUMBERS, -NUMBERS], -1)]
)
def test_numbers_and_classes_are_predicted_from_all_batches(targets):
    reading = fit(targets)
    assert reading.helps
    assert reading.explained > 0.4
    assert reading.samples == 128


def test_labels_that_belong_to_other_inputs_are_not_predicted():
    assert not fit(NUMBERS.flip(1)).helps


def test_of_many_samples_and_features_the_latest_and_every_nth_are_taken():
    inputs = torch.randn(4, 100, 3 * MAX_FEATURES, generator=GENERATOR)
    assert fit(inputs[..., 0], inputs).samples == MAX_SAMPLES


@pytest.mark.parametrize(
    "case",
    [
        {"targets": NUMBERS, "pairing": None},
        {"targets": NUMBERS, "roles": ()},
        {"targets": NUMBERS, "roles": ((0,), (1,))},
        {"targets": NUMBERS[:, :1]},  # one target for a whole batch
        {"targets": torch.arange(128).reshape(4, 32)},  # as many classes as samples
    ],
)
def test_there_is_no_reading_without_one_target_for_each_input(case):
    assert fit(**case) is None


def test_it_costs_the_forward_passes_that_find_the_targets():
    pairing = Pairing((), lambda: Roles(()), lambda paths: (), tries=3)
    assert cost_of(linear_fit, LossSurface(lambda at: at["w"].sum(), {"w": torch.ones(2)}, pairing=pairing)) == 1.0
