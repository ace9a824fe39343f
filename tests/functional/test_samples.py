"""The spread of samples, the agreement of neighbours and saturated softmax rows, on numbers known by hand."""

import pytest
import torch

from lightning_landscape.functional.samples import neighbours_agree, saturated_rows, spread


def test_the_spread_does_not_depend_on_the_unit():
    rows = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    assert spread(1e-3 * rows) == pytest.approx(spread(rows))


def test_the_spread_of_a_small_difference_beside_a_large_common_vector_is_small():
    rows = torch.tensor([[100.0, 100.0], [102.0, 100.0]])
    assert spread(rows) == pytest.approx((0.5 / 10101) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("rows", [torch.zeros(1, 3), torch.zeros(0, 3), torch.tensor([[1.0], [torch.nan]])])
def test_there_is_no_spread_of_one_sample_or_of_nan(rows):
    assert spread(rows) is None


def test_all_zeros_are_one_vector():
    assert spread(torch.zeros(3, 2)) == 0.0


def test_labels_that_follow_the_rows_agree_and_shuffled_labels_do_not():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(100) % 4
    rows = 5 * torch.randn(4, 3, generator=generator)[labels] + torch.randn(100, 3, generator=generator)
    assert neighbours_agree(rows, labels[:, None]) > 10
    assert abs(neighbours_agree(rows, labels[torch.randperm(100, generator=generator)][:, None])) < 3


def test_numbers_that_follow_the_rows_agree():
    rows = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    assert neighbours_agree(rows, rows[:, :1].square()) > 5


def test_repeated_samples_do_not_agree_with_themselves():
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    labels = (torch.arange(50) * 7 % 5).repeat(2)[:, None]
    assert neighbours_agree(rows, labels) < 3


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        (torch.randn(4, 2), torch.zeros(4, 1).long()),
        (torch.randn(4, 2), torch.zeros(3, 1).long()),
        (torch.zeros(4, 2), torch.tensor([[0], [1], [0], [1]])),
        (torch.full((4, 2), torch.nan), torch.tensor([[0], [1], [0], [1]])),
    ],
    ids=["equal targets", "other samples", "equal rows", "nan"],
)
def test_without_differences_there_is_no_agreement(rows, targets):
    assert neighbours_agree(rows, targets) is None


def test_masked_entries_do_not_saturate_a_row():
    logits = torch.tensor([[0.0, -1e9, -torch.inf], [0.0, 0.5, -1e9], [0.0, 40.0, -torch.inf]])
    assert saturated_rows(logits, 1) == pytest.approx(1 / 2)  # the first row has one entry left and is left out


def test_a_row_of_one_entry_is_no_softmax():
    assert saturated_rows(torch.zeros(3, 1), 1) is None
