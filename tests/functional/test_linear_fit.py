"""A linear regression that is scored on samples left out."""

import pytest
import torch

from lightning_landscape.functional.linear_fit import MIN_SAMPLES, explained_when_left_out


def drawn(seed, samples=100, features=20):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, features, generator=generator), torch.randn(samples, 1, generator=generator)


def test_the_share_equals_that_of_regressions_that_are_fitted_without_each_sample(monkeypatch):
    monkeypatch.setattr("lightning_landscape.functional.linear_fit.PENALTIES", (0.5,))
    inputs, noise = drawn(0, samples=30, features=4)
    targets = inputs[:, :1] + noise
    x = (inputs - inputs.mean(0)).double()
    x = x / x.square().mean(0).sqrt()
    y = targets.double()
    penalty = 0.5 * float(torch.linalg.eigvalsh(x @ x.T).clamp(min=0).mean())
    errors, without = [], []
    for i in range(30):
        rest = torch.arange(30) != i
        # The intercept is free: a ridge regression in which the constant column has no penalty.
        columns = torch.cat([torch.ones(29, 1), x[rest]], 1)
        ridge = penalty * torch.diag(torch.tensor([0.0, 1, 1, 1, 1])).double()
        weights = torch.linalg.solve(columns.T @ columns + ridge, columns.T @ y[rest])
        errors.append(y[i] - torch.cat([torch.ones(1), x[i]]) @ weights)
        without.append(y[i] - y[rest].mean())
    share = 1 - sum(error**2 for error in errors) / sum(error**2 for error in without)
    assert explained_when_left_out(inputs, targets)[0] == pytest.approx(float(share), abs=1e-9)


def test_chance_explains_more_than_unrelated_inputs_do_in_all_but_few_draws():
    shares = [explained_when_left_out(*drawn(seed)) for seed in range(100)]
    assert sum(share > max(0.0, chance) for share, chance in shares) <= 8, "2 are expected"


def test_a_weak_relation_between_many_features_and_classes_is_found():
    inputs, noise = drawn(1, samples=256, features=64)
    classes = torch.nn.functional.one_hot((inputs[:, :1] + noise > 0).long()[:, 0])
    share, chance = explained_when_left_out(inputs, classes)
    assert share > 0.05 > chance


def test_samples_with_equal_inputs_count_once_so_that_they_do_not_predict_each_other():
    inputs, noise = drawn(2, samples=MIN_SAMPLES)
    share, chance = explained_when_left_out(inputs.repeat(8, 1), noise.repeat(8, 1))
    assert (share, chance) == explained_when_left_out(inputs, noise)


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (torch.randn(MIN_SAMPLES - 1, 3), torch.randn(MIN_SAMPLES - 1, 1)),
        (torch.ones(40, 3), torch.randn(40, 1)),
        (torch.randn(40, 3), torch.ones(40, 1)),
        (torch.full((40, 3), torch.nan), torch.randn(40, 1)),
        (torch.randn(40, 3), torch.full((40, 1), torch.inf)),
        (torch.zeros(0, 3), torch.zeros(0, 1)),
    ],
)
def test_without_enough_different_and_finite_numbers_there_is_no_share(inputs, targets):
    assert explained_when_left_out(inputs, targets) is None


def test_the_random_numbers_of_the_run_are_left_as_they_are():
    before = torch.get_rng_state()
    explained_when_left_out(*drawn(3))
    assert torch.equal(torch.get_rng_state(), before)
