"""Norms and inner products of tensors of every kind, against numbers computed by hand."""

import pytest
import torch

from lightning_landscape.functional.norms import BLOCK, distance, global_norm, group_names, inner_product, tensor_norms

PAIR = torch.tensor([3.0, 4.0])


def sparse(positions, values, dtype=torch.float32):
    return torch.sparse_coo_tensor([positions], torch.tensor(values, dtype=dtype), (9,), check_invariants=True)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128]
)
@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 1, 1)])
def test_the_norm_of_3_and_4_is_5_in_every_precision(dtype, shape):
    (norm,) = tensor_norms([PAIR.to(dtype).reshape(shape)])
    assert norm == 5
    assert norm.dtype in (torch.float32, torch.float64)


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wide", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_no_tensor_loses_digits_among_others_of_lower_precision(low, wide):
    exact = torch.tensor([1 + 2.0**-20], dtype=wide)
    assert tensor_norms([PAIR.to(low), exact]).tolist() == [5.0, 1 + 2.0**-20]


def test_squares_that_overflow_float16_do_not_overflow_the_norm():
    assert tensor_norms([torch.full((4,), 60000.0, dtype=torch.float16)]).item() == 120000


def test_a_sum_of_many_small_bfloat16_values_is_not_lost():
    assert global_norm([torch.ones(2**16, dtype=torch.bfloat16)]).item() == 256


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_entries_of_a_sparse_gradient_at_the_same_place_add_up(dtype):
    assert tensor_norms([sparse([1, 1, 5], [1.0, 2.0, 4.0], dtype), PAIR]).tolist() == [5, 5]


def test_an_empty_sparse_gradient_has_norm_0():
    assert tensor_norms([sparse([], [])]).tolist() == [0]


def test_a_complex_entry_counts_as_its_two_real_ones():
    assert tensor_norms([torch.tensor([3 + 4j])]).item() == 5
    assert inner_product([torch.tensor([1 + 2j])], [torch.tensor([3 + 4j])]).item() == 11


def test_a_tensor_without_entries_has_norm_0():
    assert tensor_norms([torch.zeros(0), PAIR, torch.zeros(0, 3)]).tolist() == [0, 5, 0]


def test_without_tensors_there_are_no_norms_and_the_global_norm_is_0():
    assert tensor_norms([]).tolist() == []
    assert global_norm([]).item() == 0
    assert inner_product([], []).item() == 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_the_norm_of_a_tensor_that_is_not_finite_is_not_finite(bad):
    norms = tensor_norms([PAIR, torch.tensor([1.0, bad])])
    assert norms.isfinite().tolist() == [True, False]
    assert not global_norm([PAIR, torch.tensor([bad])]).isfinite()


def test_the_global_norm_is_that_of_the_concatenated_tensors():
    tensors = [torch.tensor([[1.0, 2.0]]), torch.tensor([2.0, 4.0]), torch.tensor(12.0)]
    assert global_norm(tensors).item() == 13
    assert global_norm(tensors).shape == ()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_of_low_precision_are_summed_in_float32(dtype):
    many = torch.full((4096,), 1.0, dtype=dtype)
    assert inner_product([many], [many]).item() == 4096  # bfloat16 would stop at 256
    large = torch.full((2,), 300.0, dtype=dtype)
    assert inner_product([large], [large]).item() == 180000


def test_the_inner_product_is_summed_over_tensors_of_any_shape():
    left, right = [PAIR, torch.tensor([[2.0]])], [torch.tensor([1.0, -1.0]), torch.tensor([[5.0]])]
    assert inner_product(left, right).item() == 9


def test_inner_products_of_different_numbers_of_tensors_are_refused():
    with pytest.raises(ValueError, match="argument 2"):
        inner_product([PAIR], [PAIR, PAIR])


@pytest.mark.parametrize(
    ("names", "limit", "groups"),
    [
        ([], 32, []),
        (["weight", "bias"], 32, ["weight", "bias"]),
        (["a.w", "a.b"], 32, ["a", "a"]),
        (["a.0.w", "a.1.w", "b.w"], 32, ["a.0", "a.1", "b"]),
        (["a.0.w", "a.1.w", "b.w"], 2, ["a", "a", "b"]),
        (["w", "a.0.w", "a.1.w"], 3, ["w", "a.0", "a.1"]),
        (["x.a.w", "x.b.w", "x.c.w"], 2, ["x.a … x.b", "x.a … x.b", "x.c"]),
    ],
)
def test_groups_are_the_modules_of_the_deepest_level_within_the_limit(names, limit, groups):
    assert group_names(names, limit) == groups


@pytest.mark.parametrize("layers", [1, 2, 31, 32, 33, 64, 65, 1000])
def test_models_of_any_depth_have_at_most_32_groups_that_separate_first_and_last_layer(layers):
    groups = group_names([f"net.{i}.{kind}" for i in range(layers) for kind in ("weight", "bias")])
    distinct = list(dict.fromkeys(groups))
    assert len(distinct) <= 32
    assert (distinct[0] == distinct[-1]) is (layers == 1)
    assert groups == sorted(groups, key=distinct.index)  # neighbours stay together


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_a_limit_below_two_groups_is_refused(limit):
    with pytest.raises(ValueError, match=f"got {limit}"):
        group_names(["a.w"], limit)


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (BLOCK,), (2 * BLOCK + 3,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_the_distance_is_the_norm_of_the_difference_however_many_blocks_it_takes(shape, dtype):
    left, right = torch.randn(2, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    expected = tensor_norms([left - right])[0]
    assert distance(left, right) == pytest.approx(expected.item(), rel=1e-5)


def test_the_distance_of_tensors_with_another_layout_compares_equal_positions():
    left = torch.arange(24.0).reshape(2, 3, 2, 2)
    assert distance(left.contiguous(memory_format=torch.channels_last), left) == 0
