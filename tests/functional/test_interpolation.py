"""Points on a line, and the barrier and monotonicity of the loss along it, on paths with a known answer."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_landscape.functional.interpolation import (
    barrier_height,
    interpolate,
    is_monotone,
    line_alphas,
    rise_above_minimum,
)

THIRDS = (0.0, 0.5, 1.0)
LOSSES = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("points", [3, 4, 11, 101])
def test_positions_run_from_0_to_1_and_one_step_further(points):
    alphas = line_alphas(points)
    assert len(alphas) == points + 1
    assert alphas[0] == 0
    assert alphas[points - 1] == 1
    assert alphas[points] == points / (points - 1)


@pytest.mark.parametrize("points", [2, 0, -1])
def test_fewer_than_three_points_are_refused(points):
    with pytest.raises(ValueError, match=f"got {points}"):
        line_alphas(points)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64])
def test_at_0_and_1_the_points_equal_the_ends_exactly(dtype):
    generator = torch.Generator().manual_seed(0)
    start, end = ({"w": torch.randn(1000, generator=generator).to(dtype)} for _ in range(2))
    assert torch.equal(interpolate(start, end, 0.0)["w"], start["w"])
    assert torch.equal(interpolate(start, end, 1.0)["w"], end["w"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize(("alpha", "expected"), [(0.25, 1.5), (0.5, 2.0), (1.5, 4.0), (-0.5, 0.0)])
def test_a_quarter_of_the_way_from_1_to_3_is_one_and_a_half(dtype, alpha, expected):
    start, end = {"w": torch.ones(2, dtype=dtype)}, {"w": torch.full((2,), 3.0, dtype=dtype)}
    assert interpolate(start, end, alpha)["w"].tolist() == [expected, expected]


def test_points_have_the_precision_of_the_end():
    start, end = {"w": torch.ones(2, dtype=torch.float16)}, {"w": torch.full((2,), 2.0, dtype=torch.float64)}
    for alpha in (0.0, 0.5, 1.0):
        moved = interpolate(start, end, alpha)["w"]
        assert moved.dtype == torch.float64
        assert moved.tolist() == [1 + alpha, 1 + alpha]


@pytest.mark.parametrize("point", [{}, {"w": torch.zeros(0)}, {"w": torch.tensor(1.0)}])
def test_points_without_parameters_empty_tensors_and_scalars_are_interpolated(point):
    moved = interpolate(point, point, 0.5)
    assert moved.keys() == point.keys()
    assert all(torch.equal(moved[name], point[name]) for name in point)


def test_points_have_no_graph_and_do_not_share_memory_with_the_ends():
    start, end = {"w": torch.ones(2, requires_grad=True)}, {"w": torch.zeros(2, requires_grad=True)}
    for alpha in (0.0, 0.5, 1.0):
        assert not interpolate(start, end, alpha)["w"].requires_grad
    interpolate(start, end, 0.5)["w"].add_(1)
    assert start["w"].tolist() == [1, 1]
    assert end["w"].tolist() == [0, 0]


def test_points_with_different_parameters_are_refused_with_the_difference():
    with pytest.raises(ValueError, match=r"only one has \['a', 'b'\]"):
        interpolate({"a": torch.ones(1), "w": torch.ones(1)}, {"b": torch.ones(1), "w": torch.ones(1)}, 0.5)


@pytest.mark.parametrize(
    ("losses", "barrier"),
    [
        ((1.0, 3.0, 1.0), 2.0),
        ((1.0, 3.0, 2.0), 1.5),
        ((2.0, 1.0, 0.0), 0.0),
        ((2.0, 0.0, 2.0), 0.0),
        ((2.0, 1.5, 0.0), 0.5),  # concave: above the straight line although it falls from point to point
        ((-3.0, -1.0, -3.0), 2.0),
        ((1.0, math.nan, 1.0), math.inf),
        ((1.0, math.inf, 1.0), math.inf),
        ((math.nan, 1.0, 1.0), math.nan),
        ((1.0, 1.0, math.inf), math.nan),
    ],
)
def test_the_barrier_is_the_largest_rise_over_the_chord(losses, barrier):
    assert barrier_height(losses, THIRDS) == pytest.approx(barrier, nan_ok=True)


@given(st.lists(LOSSES, min_size=3, max_size=12), st.floats(-1e3, 1e3))
def test_adding_a_linear_function_does_not_change_the_barrier(losses, tilt):
    alphas = [i / (len(losses) - 1) for i in range(len(losses))]
    tilted = [loss + tilt * alpha for loss, alpha in zip(losses, alphas, strict=True)]
    assert barrier_height(tilted, alphas) == pytest.approx(barrier_height(losses, alphas), abs=1e-6)


@given(st.lists(LOSSES, min_size=3, max_size=12))
def test_a_barrier_is_never_negative_and_the_same_from_either_end(losses):
    alphas = [i / (len(losses) - 1) for i in range(len(losses))]
    barrier = barrier_height(losses, alphas)
    assert barrier >= 0
    assert barrier_height(losses[::-1], alphas) == pytest.approx(barrier, abs=1e-6)


@pytest.mark.parametrize(
    ("losses", "rise"),
    [
        ((2.0, 1.5, 0.0), 0.0),  # concave: above the straight line between the ends
        ((2.0, 0.5, 0.0), 0.0),
        ((1.0, 3.0, 1.0), 2.0),
        ((3.0, 1.0, 2.0), 1.0),
        ((2.0, 1.0, 1.5, 0.5, 1.25, 0.0), 0.75),  # of two humps, the higher above the lowest loss before it
        ((1.0, 2.0, 3.0), 2.0),
        ((2.0, 2.0 + 1e-6, 1.0), 0.0),  # float32 rounding
        ((-3.0, -1.0, -3.0), 2.0),
        ((1.0, math.nan, 1.0), math.inf),
        ((1.0, math.inf, 1.0), math.inf),
        ((math.nan, 1.0, 1.0), math.nan),
        ((1.0, 1.0, math.inf), math.nan),
    ],
)
def test_the_rise_is_the_largest_one_above_the_lowest_loss_before(losses, rise):
    assert rise_above_minimum(losses) == pytest.approx(rise, nan_ok=True)


@given(st.lists(LOSSES, min_size=3, max_size=12))
def test_a_loss_that_never_rises_has_no_rise_and_all_others_have_one(losses):
    assert rise_above_minimum(sorted(losses, reverse=True)) == 0
    assert (rise_above_minimum(losses) == 0) is is_monotone(losses)


@pytest.mark.parametrize(
    ("losses", "monotone"),
    [
        ((3.0, 2.0, 1.0), True),
        ((2.0, 2.0, 2.0), True),
        ((3.0, 1.0, 2.0), False),
        ((1.0, 2.0, 3.0), False),
        ((2.0, 2.0 + 1e-6, 1.0), True),  # float32 rounding
        ((2.0, 2.0 + 1e-5, 1.0), False),
        ((-1.0, -2.0, -3.0), True),
        ((math.inf, 2.0, 1.0), True),
        ((math.inf, 1.0, 2.0), False),
        ((2.0, 1.0, math.inf), False),
        ((2.0, math.inf, 1.0), False),
        ((2.0, math.nan, 1.0), False),
        ((math.nan, 2.0, 1.0), False),
        ((2.0, 1.0, math.nan), False),
    ],
)
def test_a_path_is_monotone_if_the_loss_never_rises(losses, monotone):
    assert is_monotone(losses) is monotone
