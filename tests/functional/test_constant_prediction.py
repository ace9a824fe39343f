"""The loss of the best constant prediction, against the formulas."""

import pytest
import torch
from torch.nn import functional

from lightning_landscape.functional.constant_prediction import best_constant_loss

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])
NUMBERS = torch.randn(16, 2, generator=GENERATOR)


def test_cross_entropy_of_the_class_shares_is_their_entropy():
    shares = torch.tensor([6, 1, 1]) / 8
    loss, best, *_ = best_constant_loss(functional.cross_entropy, torch.zeros(8, 3), LABELS, {})
    assert loss == pytest.approx(torch.tensor(3.0).log().item())
    assert best == pytest.approx(-(shares * shares.log()).sum().item() + 2 / 16)  # Miller's correction for 3 classes


@pytest.mark.parametrize(
    "settings", [{"label_smoothing": 0.2}, {"weight": torch.tensor([1.0, 3.0, 0.5])}, {"ignore_index": 2}]
)
def test_no_constant_is_better_than_the_class_shares(settings):
    _, best, *_ = best_constant_loss(functional.cross_entropy, torch.zeros(8, 3), LABELS, settings)
    logits = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(logits.expand(8, 3), LABELS, **settings)
        loss.backward()
        return loss

    optimizer.step(closure)
    classes = 1 if "ignore_index" in settings else 2
    samples = 7 if "ignore_index" in settings else 8
    assert best - classes / (2 * samples) == pytest.approx(closure().item(), abs=1e-4)


def test_cross_entropy_per_pixel_and_with_probabilities_as_targets():
    pixels = LABELS[:, None, None].expand(8, 2, 2)
    of_pixels = best_constant_loss(functional.cross_entropy, torch.zeros(8, 3, 2, 2), pixels, {})
    of_shares = best_constant_loss(functional.cross_entropy, torch.zeros(8, 3), functional.one_hot(LABELS).float(), {})
    of_labels = best_constant_loss(functional.cross_entropy, torch.zeros(8, 3), LABELS, {})
    assert of_shares == pytest.approx(of_labels)
    assert of_pixels[1] == pytest.approx(of_labels[1] - 2 / 16 + 2 / 64)  # four times as many targets


def test_squared_error_of_the_means_is_the_variance():
    _, best, *_ = best_constant_loss(functional.mse_loss, torch.zeros(16, 2), NUMBERS, {"reduction": "sum"})
    assert best == pytest.approx(NUMBERS.var(0, correction=1).mean().item(), rel=1e-5)


def test_absolute_error_of_the_medians():
    _, best, *_ = best_constant_loss(functional.l1_loss, torch.zeros(16, 2), NUMBERS, {})
    assert best == pytest.approx((NUMBERS - NUMBERS.median(0).values).abs().mean().item() * 16 / 15)


def test_binary_cross_entropy_of_the_share_is_its_entropy():
    target = torch.tensor([1.0] * 6 + [0.0] * 2)
    entropy = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log()).item()
    for function in (functional.binary_cross_entropy_with_logits, functional.binary_cross_entropy):
        assert best_constant_loss(function, torch.full((8,), 0.5), target, {})[1] == pytest.approx(entropy + 1 / 16)


def test_weighted_positives():
    target, weight = torch.tensor([1.0] * 2 + [0.0] * 6), torch.tensor(3.0)
    function = functional.binary_cross_entropy_with_logits
    _, best, *_ = best_constant_loss(function, torch.zeros(8), target, {"pos_weight": weight})
    assert best == pytest.approx(function(torch.zeros(8), target, pos_weight=weight).item() + 1 / 16)  # 2 · 3 is 6


@pytest.mark.parametrize(
    ("function", "prediction", "target"),
    [
        (functional.mse_loss, torch.zeros(8, 1), torch.zeros(8)),
        (functional.mse_loss, torch.zeros(4, 2), torch.zeros(4, 2)),
        (functional.mse_loss, torch.zeros(()), torch.zeros(())),
        (functional.mse_loss, torch.full((8, 2), torch.nan), torch.zeros(8, 2)),
        (functional.smooth_l1_loss, torch.zeros(8, 2), torch.zeros(8, 2)),
    ],
    ids=["broadcast", "few samples", "a number", "nan", "another loss"],
)
def test_where_no_constant_can_be_compared_there_is_none(function, prediction, target):
    assert best_constant_loss(function, prediction, target, {}) is None


@pytest.mark.parametrize("samples", [16, 64])
def test_the_constant_is_on_average_about_as_good_as_on_all_data(samples):
    generator, means = torch.Generator().manual_seed(1), []
    for _ in range(400):
        labels = torch.multinomial(torch.tensor([0.7, 0.1, 0.1, 0.1]), samples, replacement=True, generator=generator)
        _, best, *_ = best_constant_loss(functional.cross_entropy, torch.zeros(samples, 4), labels, {})
        means.append(best)
    assert sum(means) / len(means) == pytest.approx(0.9404, rel=0.06)  # the entropy of these shares


def test_of_more_classes_than_targets_show_equal_probabilities_are_the_constant():
    found = best_constant_loss(functional.cross_entropy, torch.zeros(8, 5), LABELS, {})
    assert found.constant == found.loss == pytest.approx(torch.tensor(5.0).log().item())
    assert not found.fitted
    assert best_constant_loss(functional.cross_entropy, torch.zeros(8, 4), LABELS, {}).fitted


def test_the_error_is_that_of_the_difference_which_samples_that_are_harder_for_both_do_not_raise():
    target = torch.tensor([0.0, 0.0, 0.0, 0.0, 8.0, 8.0, 8.0, 8.0])
    constant = best_constant_loss(functional.mse_loss, torch.full((8,), 4.0), target, {})
    other = best_constant_loss(functional.mse_loss, torch.full((8,), 5.0), target, {})
    assert constant.error == 0
    assert other.error == pytest.approx(torch.tensor([9.0] * 4 + [-7.0] * 4).std().item() / 8**0.5)


def test_no_class_shares_are_worse_than_equal_probabilities():
    even = torch.arange(8) % 4
    assert best_constant_loss(functional.cross_entropy, torch.zeros(8, 4), even, {}).constant == pytest.approx(
        torch.tensor(4.0).log().item()
    )
