"""The trace and the density of Hessians with a known spectrum, and memory budgets."""

from __future__ import annotations

import gc
import re
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional import hessian_extremes, hessian_trace, lanczos, spectral_density
from lightning_landscape.functional.hessian.differences import PASS
from lightning_landscape.functional.hessian.differentiation import Batch, forward_bytes, leaves_of
from lightning_landscape.functional.hessian.operator import WORKING_VECTORS, Method, Problem
from lightning_landscape.functional.hessian.products import exact_hessian

N = 400


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def spectrum() -> Tensor:
    """Ten outliers over a bulk of which a tenth is negative, as in neural networks."""
    bulk = torch.linspace(-0.02, 0.18, N - 10, dtype=torch.float64)
    return torch.cat([bulk, torch.linspace(1, 10, 10, dtype=torch.float64)])


@pytest.fixture(scope="module")
def matrix(spectrum: Tensor) -> Tensor:
    rotation = torch.linalg.qr(gaussian(N, N))[0]
    return (rotation * spectrum) @ rotation.T


@pytest.fixture(scope="module")
def quadratic(matrix: Tensor):
    return lambda params: 0.5 * params["w"] @ matrix.to(params["w"].dtype) @ params["w"]


@pytest.mark.parametrize("seed", range(5))
def test_the_trace_is_within_four_standard_errors_of_the_sum_of_the_eigenvalues(quadratic, spectrum, seed: int):
    found = hessian_trace(quadratic, {"w": gaussian(N, seed=1)}, products=60, seed=seed)
    assert found.products == 60
    assert abs(found.value - float(spectrum.sum())) < 4 * found.error


def test_the_error_of_the_trace_is_that_of_hutchinsons_estimator(quadratic, matrix: Tensor):
    off_diagonal = matrix - torch.diag(matrix.diagonal())
    expected = float((2 * off_diagonal.square().sum() / 400).sqrt())
    found = hessian_trace(quadratic, {"w": gaussian(N, seed=1)}, products=400 - 1)
    assert found.error == pytest.approx(expected, rel=0.2)


def test_the_values_over_many_seeds_scatter_by_the_error_about_the_trace(quadratic, spectrum: Tensor):
    found = [hessian_trace(quadratic, {"w": gaussian(N, seed=1)}, products=16, seed=seed) for seed in range(60)]
    deviations = torch.tensor([(one.value - float(spectrum.sum())) / one.error for one in found])
    assert abs(float(deviations.mean())) < 0.5
    assert 0.7 < float(deviations.square().mean().sqrt()) < 1.5


def test_the_trace_of_a_diagonal_hessian_has_no_error():
    curvatures = torch.linspace(-1, 2, 100)
    found = hessian_trace(lambda p: 0.5 * (curvatures * p["w"] ** 2).sum(), {"w": torch.ones(100)}, products=8)
    assert found.value == pytest.approx(50.0, rel=1e-5)
    assert found.error == pytest.approx(0.0, abs=1e-4)


class TwoPlayers(torch.autograd.Function):
    """½|w|², but with a rotation added to the gradient, so that it is not the gradient of any loss."""

    @staticmethod
    def forward(ctx, w):
        ctx.save_for_backward(w)
        return 0.5 * w.square().sum()

    @staticmethod
    def backward(ctx, outer):
        (w,) = ctx.saved_tensors
        pairs = w.view(-1, 2)
        return outer * (w + torch.stack([pairs[:, 1], -pairs[:, 0]], 1).flatten())


@pytest.mark.parametrize("n", [40, 2000])
def test_the_trace_of_a_gradient_that_belongs_to_no_loss_is_refused(n: int):
    with pytest.raises(CurvatureError, match="not symmetric"):
        hessian_trace(lambda p: TwoPlayers.apply(p["w"]), {"w": gaussian(n, seed=1)})


def test_trace_of_few_parameters_is_exact():
    found = hessian_trace(lambda p: (p["w"] ** 4).sum(), {"w": torch.arange(1.0, 6.0)}, products=8)
    assert (found.value, found.error) == pytest.approx((12 * 55, 0.0))


def test_trace_of_a_linear_loss_is_zero():
    assert hessian_trace(lambda p: p["w"].sum(), {"w": torch.ones(100)}).value == 0.0


def test_the_density_is_close_to_the_spectrum(quadratic, spectrum: Tensor):
    found = spectral_density(quadratic, {"w": gaussian(N, seed=1)}, runs=8, iterations=40)
    assert sum(found.weights) == pytest.approx(1.0)
    assert found.products == 8 * 40
    assert found.mean == pytest.approx(float(spectrum.mean()), rel=0.15)
    assert found.share_negative == pytest.approx(float((spectrum < 0).double().mean()), abs=0.03)
    grid = torch.linspace(-0.05, 10.5, 400).tolist()
    ours = [found.share_below(x) for x in grid]
    truth = [float((spectrum < x).double().mean()) for x in grid]
    wasserstein = sum(abs(a - b) for a, b in zip(ours, truth, strict=True)) * (grid[1] - grid[0])
    assert wasserstein < 0.03


def test_smoothed_density_integrates_to_one(quadratic):
    found = spectral_density(quadratic, {"w": gaussian(N, seed=1)}, runs=2, iterations=20)
    grid = torch.linspace(-2, 12, 2000).tolist()
    assert sum(found.smoothed(grid, 0.1)) * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ValueError, match="got 0"):
        found.smoothed(grid, 0)


@pytest.fixture
def small_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x, y = gaussian(30, 6), torch.arange(30) % 3

    def loss_on(rows: slice | Tensor):
        return lambda params: F.cross_entropy(functional_call(net, dict(params), (x[rows],)), y[rows])

    return dict(net.named_parameters()), loss_on


def test_batches_are_weighted_by_their_size(small_net):
    params, loss_on = small_net
    whole = hessian_extremes(loss_on(slice(0, 30)), params, iterations=90, stop=lambda found: False)
    parts = hessian_extremes(
        [loss_on(slice(0, 20)), loss_on(slice(20, 30))],
        params,
        weights=[20, 10],
        iterations=90,
        stop=lambda found: False,
    )
    assert (parts.lambda_min, parts.lambda_max) == pytest.approx((whole.lambda_min, whole.lambda_max), abs=1e-9)
    assert parts.loss == pytest.approx(whole.loss)


def test_batched_products_equal_single_ones(small_net):
    params, loss_on = small_net
    operator = exact_hessian(Problem.of(loss_on(slice(0, 30)), params))
    rows = gaussian(11, operator.layout.size, seed=5)
    together = operator.of_rows(rows)
    assert operator.products == 11
    assert torch.allclose(together, torch.stack([operator(row) for row in rows]), atol=1e-12)


@pytest.fixture
def wide_batches(small_net):
    """Batches with graphs that are much larger than the vectors."""
    params, loss_on = small_net
    rows = torch.arange(30).repeat(40)
    return params, [loss_on(rows[:600]), loss_on(rows[600:])]


def test_graphs_that_do_not_fit_the_memory_are_recomputed_or_replaced_by_differences(wide_batches):
    params, losses = wide_batches
    kept = hessian_extremes(losses, params)
    operator = exact_hessian(Problem.of(losses, params))
    vectors = (30 + WORKING_VECTORS) * operator.layout.vector_bytes
    assert kept.method is Method.RETAINED
    assert kept.memory > operator.graph_bytes
    recomputed = hessian_extremes(losses, params, memory=vectors + 0.85 * operator.graph_bytes)
    assert recomputed.method is Method.RECOMPUTED
    assert "MiB" in recomputed.reason
    assert recomputed.memory <= vectors + 0.85 * operator.graph_bytes
    _, forward = forward_bytes(Batch(losses[0], 1.0), operator.layout, leaves_of(params))
    between = (PASS * forward + 0.75 * operator.graph_bytes) / 2
    differences = hessian_extremes(losses, params, memory=vectors + between)
    assert differences.method is Method.DIFFERENCES
    assert "graph of one batch" in differences.reason
    for found in (recomputed, differences):
        assert found.lambda_min == pytest.approx(kept.lambda_min, rel=2e-2)
        assert found.lambda_max == pytest.approx(kept.lambda_max, rel=2e-2)


@pytest.mark.slow
def test_measuring_the_memory_of_a_graph_leaves_no_tensors_behind(wide_batches):
    def alive():
        gc.collect()
        return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

    params, losses = wide_batches
    hessian_extremes(losses, params)
    before = alive()
    for _ in range(5):
        hessian_extremes(losses, params)
    assert alive() <= before


def would_do(message: str) -> float:
    return float(re.search(r"([0-9.e+-]+) MiB (in all )?would do", message)[1]) * 2**20 * 1.001


def test_a_memory_too_small_for_one_product_is_refused_with_a_sufficient_one(wide_batches):
    params, losses = wide_batches
    for memory in (1000, 25_000):
        with pytest.raises(CurvatureError, match="would do") as refusal:
            hessian_extremes(losses, params, memory=memory)
    assert hessian_extremes(losses, params, memory=would_do(str(refusal.value))).products > 0
    for memory in (1000, 25_000):
        with pytest.raises(CurvatureError, match="would do") as refusal:
            hessian_trace(losses, params, products=8, memory=memory)
    assert hessian_trace(losses, params, products=8, memory=would_do(str(refusal.value))).products == 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda loss, p: hessian_extremes(loss, p, iterations=0), "iterations must be at least 1, got 0"),
        (lambda loss, p: hessian_trace(loss, p, products=3), "products must be at least 8, got 3"),
        (lambda loss, p: spectral_density(loss, p, runs=0), "runs must be at least 1, got 0"),
        (lambda loss, p: hessian_extremes(loss, {}), "at least one tensor"),
        (lambda loss, p: hessian_extremes(loss, {"w": torch.ones(2, dtype=torch.int64)}), "'w' must be real floating"),
        (lambda loss, p: hessian_extremes([loss, loss], p, weights=[1.0]), "2 losses and 1 weights"),
        (lambda loss, p: hessian_extremes([loss], p, weights=[-1.0]), r"must not be negative .*\[-1.0\]"),
        (lambda loss, p: hessian_extremes(lambda q: q["w"], p), r"0-dim tensor, got shape \(2,\)"),
        (lambda loss, p: hessian_extremes(lambda q: 1.0, p), "0-dim tensor, got float"),
        (lambda loss, p: lanczos(lambda v: v, torch.zeros(3), 2), "start of norm 0"),
    ],
)
def test_bad_arguments_are_refused_with_the_value(call, message: str):
    with pytest.raises(ValueError, match=message):
        call(lambda p: (p["w"] ** 2).sum(), {"w": torch.ones(2)})


def test_products_are_differences_of_a_given_gradient(small_net):
    params, loss_on = small_net
    loss = loss_on(slice(0, 30))

    def gradient(point: Mapping[str, Tensor]) -> dict[str, Tensor]:
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in point.items()}
        return dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values())), strict=True))

    found = hessian_extremes(loss, params, gradient=gradient)
    exact = hessian_extremes(loss, params)
    assert found.method is Method.DIFFERENCES
    assert found.reason == "only the gradient is given"
    assert (found.lambda_min, found.lambda_max) == pytest.approx((exact.lambda_min, exact.lambda_max), rel=1e-3)


def test_weights_of_batches_are_normalised():
    problem = Problem.of([torch.sum, torch.prod], {"w": torch.ones(1)}, weights=[3, 1])
    assert problem.batches == (Batch(torch.sum, 0.75), Batch(torch.prod, 0.25))


def test_lanczos_on_the_identity_continues_with_fresh_directions():
    krylov = lanczos(lambda v: v, torch.ones(5), steps=5)
    assert krylov.values.tolist() == pytest.approx([1.0] * 5)
    assert torch.allclose(krylov.basis @ krylov.basis.T, torch.eye(5), atol=1e-6)
