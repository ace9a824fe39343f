"""Hessians with known eigenvalues, which are computed with their multiplicities from products alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_landscape.functional import hessian_extremes, lanczos
from lightning_landscape.functional.hessian.extremes import both_ends
from lightning_landscape.functional.hessian.operator import Problem
from lightning_landscape.functional.hessian.products import exact_hessian

MODES = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
INPUTS, HIDDEN, OUTPUTS = 5, 4, 3


class Case(NamedTuple):
    loss: Callable[[Tensor], Tensor]
    point: Tensor
    eigenvalues: Sequence[float]


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(n: int, seed: int) -> Tensor:
    return torch.linalg.qr(gaussian(n, n, seed=seed))[0]


def zeros(n: int) -> Tensor:
    return torch.zeros(n, dtype=torch.float64)


def linear_regression() -> Case:
    x, y = gaussian(40, 6), gaussian(40, 3, seed=1)
    spectrum = torch.linalg.eigvalsh(x.T @ x / 40).tolist()
    return Case(lambda w: 0.5 * (x @ w.view(6, 3) - y).square().sum() / 40, gaussian(18, seed=2), 3 * spectrum)


def softmax_regression_at_zero() -> Case:
    x = gaussian(40, 6)
    labels = torch.arange(40) % 4
    spectrum = (torch.linalg.eigvalsh(x.T @ x / 40) / 4).tolist()
    return Case(lambda w: F.cross_entropy(x @ w.view(6, 4), labels), zeros(24), 3 * spectrum + 6 * [0.0])


def scalar_chain(depth: int) -> Case:
    eigenvalues = [-2.0, 2.0] if depth == 2 else depth * [0.0]
    return Case(lambda w: 0.5 * (w.prod() - 2.0).square(), zeros(depth), eigenvalues)


def two_layer_linear_net(learned: int) -> Case:
    """Return the saddle [Saxe14] at which the first modes are learned and the others are zero."""
    left, right = rotation(OUTPUTS, 3), rotation(INPUTS, 4)
    diagonal = torch.zeros(OUTPUTS, INPUTS, dtype=torch.float64)
    diagonal[range(3), range(3)] = MODES
    target = left @ diagonal @ right.T

    def loss(w: Tensor) -> Tensor:
        first, second = w[: HIDDEN * INPUTS].view(HIDDEN, INPUTS), w[HIDDEN * INPUTS :].view(OUTPUTS, HIDDEN)
        return 0.5 * (second @ first - target).square().sum()

    first, second = zeros(HIDDEN * INPUTS).view(HIDDEN, INPUTS), zeros(OUTPUTS * HIDDEN).view(OUTPUTS, HIDDEN)
    for mode in range(learned):
        first[mode, mode] = second[mode, mode] = MODES[mode].sqrt()
    point = torch.cat([(first @ right.T).flatten(), (left @ second).flatten()])
    s = MODES.tolist()
    eigenvalues = [s[p] + s[q] for p in range(learned) for q in range(learned)]
    eigenvalues += [s[p] + sign * s[j] for p in range(learned) for j in range(learned, 3) for sign in (-1, 1)]
    eigenvalues += [s[p] for p in range(learned) for _ in range(INPUTS - OUTPUTS)]
    eigenvalues += [sign * s[j] for j in range(learned, 3) for _ in range(HIDDEN - learned) for sign in (-1, 1)]
    return Case(loss, point, eigenvalues + (point.numel() - len(eigenvalues)) * [0.0])


def hyperbola_of_minima(a: float) -> Case:
    point = torch.tensor([a, 1 / a], dtype=torch.float64)
    return Case(lambda w: 0.5 * (w[0] * w[1] - 1).square(), point, [0.0, a * a + 1 / (a * a)])


def monkey_saddle() -> Case:
    return Case(lambda w: w[0] ** 3 - 3 * w[0] * w[1] ** 2, zeros(2), [0.0, 0.0])


def rosenbrock(n: int) -> Case:
    middle = torch.tensor([802.0] + (n - 2) * [1002.0] + [200.0], dtype=torch.float64)
    beside = torch.full((n - 1,), -400.0, dtype=torch.float64)
    spectrum = torch.linalg.eigvalsh(torch.diag(middle) + torch.diag(beside, 1) + torch.diag(beside, -1)).tolist()

    def loss(w: Tensor) -> Tensor:
        return (100 * (w[1:] - w[:-1].square()).square() + (1 - w[:-1]).square()).sum()

    return Case(loss, torch.ones(n, dtype=torch.float64), spectrum)


def dead_relu() -> Case:
    x, y = gaussian(30, 3).abs(), gaussian(30, seed=1)
    point = torch.cat([-torch.ones(8, dtype=torch.float64), gaussian(2), y.mean()[None]])

    def loss(w: Tensor) -> Tensor:
        return 0.5 * (torch.relu(x @ w[:6].view(3, 2) + w[6:8]) @ w[8:10] + w[10] - y).square().mean()

    return Case(loss, point, 10 * [0.0] + [1.0])


def tanh_net_at_zero() -> Case:
    x, y = gaussian(30, 3), gaussian(30, seed=1)
    coupling = float((x * (y - y.mean())[:, None]).mean(0).norm())

    def loss(w: Tensor) -> Tensor:
        return 0.5 * (torch.tanh(x @ w[:9].view(3, 3).T) @ w[9:12] + w[12] - y).square().mean()

    return Case(loss, torch.cat([zeros(12), y.mean()[None]]), 3 * [coupling, -coupling] + 6 * [0.0] + [1.0])


def prescribed_spectrum() -> Case:
    q, spectrum = rotation(30, 5), torch.linspace(-1, 5, 30, dtype=torch.float64)
    matrix = q @ torch.diag(spectrum) @ q.T
    return Case(lambda w: 0.5 * w @ matrix @ w, gaussian(30, seed=6), spectrum.tolist())


def symmetric_factorisation_at_zero() -> Case:
    target = torch.diag(torch.tensor([3.0, 1.0, -1.0], dtype=torch.float64))

    def loss(w: Tensor) -> Tensor:
        return 0.25 * (w.view(3, 2) @ w.view(3, 2).T - target).square().sum()

    return Case(loss, zeros(6), [-3.0, -3.0, -1.0, -1.0, 1.0, 1.0])


def middle_of_the_barrier() -> Case:
    return Case(lambda w: 0.5 * (w[0] * w[1] - 1).square(), zeros(2), [-1.0, 1.0])


CASES = {
    "linear regression": linear_regression(),
    "softmax regression at zero": softmax_regression_at_zero(),
    "scalar chain of depth 2": scalar_chain(2),
    "scalar chain of depth 3": scalar_chain(3),
    "scalar chain of depth 5": scalar_chain(5),
    "two-layer linear net at zero": two_layer_linear_net(0),
    "Saxe's saddle, 1 mode learned": two_layer_linear_net(1),
    "Saxe's saddle, 2 modes learned": two_layer_linear_net(2),
    "Saxe's minimum, 3 modes learned": two_layer_linear_net(3),
    "ab = 1 at a = 1": hyperbola_of_minima(1.0),
    "ab = 1 at a = 4": hyperbola_of_minima(4.0),
    "monkey saddle": monkey_saddle(),
    "Rosenbrock at its minimum": rosenbrock(8),
    "dead ReLU plateau": dead_relu(),
    "tanh net at zero": tanh_net_at_zero(),
    "prescribed spectrum": prescribed_spectrum(),
    "symmetric factorisation at zero": symmetric_factorisation_at_zero(),
    "middle of the barrier": middle_of_the_barrier(),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def as_params(case: Case, dtype: torch.dtype = torch.float64) -> tuple[Callable[[dict[str, Tensor]], Tensor], dict]:
    return lambda params: case.loss(params["w"].double()), {"w": case.point.to(dtype)}


@every_case
def test_n_products_give_the_whole_spectrum_with_multiplicities(case: Case):
    loss, params = as_params(case)
    n = case.point.numel()
    krylov = lanczos(exact_hessian(Problem.of(loss, params)), gaussian(n, seed=9), steps=n)
    assert krylov.values.tolist() == pytest.approx(sorted(case.eigenvalues), abs=1e-7)


@every_case
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_extremes_are_those_of_the_closed_form(case: Case, seed: int):
    loss, params = as_params(case)
    found = hessian_extremes(loss, params, seed=seed)
    scale = max(map(abs, case.eigenvalues))
    assert found.lambda_min == pytest.approx(min(case.eigenvalues), abs=1e-2 * scale)
    assert found.lambda_max == pytest.approx(max(case.eigenvalues), rel=1e-2, abs=1e-12)
    exact = hessian_extremes(loss, params, seed=seed, iterations=case.point.numel(), stop=lambda krylov: False)
    assert exact.lambda_min == pytest.approx(min(case.eigenvalues), abs=1e-7)
    assert exact.lambda_max == pytest.approx(max(case.eigenvalues), abs=1e-7)
    assert exact.negative is (min(case.eigenvalues) < 0)


@every_case
def test_single_precision_weights_give_the_same_signs(case: Case):
    loss, params = as_params(case, torch.float32)
    found = hessian_extremes(loss, params)
    scale = max(map(abs, case.eigenvalues))
    assert found.lambda_min == pytest.approx(min(case.eigenvalues), abs=1e-2 * scale)
    assert found.lambda_max == pytest.approx(max(case.eigenvalues), abs=1e-2 * scale)
    assert found.negative in {None, min(case.eigenvalues) < 0}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_exact_saddle_of_the_linear_net_is_plus_minus_four(seed: int):
    loss, params = as_params(CASES["two-layer linear net at zero"])
    found = hessian_extremes(loss, params, seed=seed, stop=both_ends(1e-8))
    assert (found.lambda_min, found.lambda_max) == pytest.approx((-4.0, 4.0), abs=1e-6)
    assert found.negative is True
    assert found.products <= 8


@pytest.mark.parametrize("name", ["scalar chain of depth 3", "scalar chain of depth 5", "monkey saddle"])
def test_a_saddle_of_third_order_has_no_curvature_and_is_not_called_negative(name: str):
    loss, params = as_params(CASES[name])
    found = hessian_extremes(loss, params)
    assert found.lambda_min == 0.0 == found.lambda_max
    assert not found.negative
    assert not any(tensor.any() for tensor in found.gradient.values())


def test_the_loss_of_a_uniform_guess_is_the_log_of_the_number_of_classes():
    for classes in (2, 10, 64):
        logits = torch.zeros(classes, classes)
        assert float(F.cross_entropy(logits, torch.arange(classes))) == pytest.approx(math.log(classes), abs=1e-6)


def test_a_low_rank_hessian_in_single_precision_has_no_negative_curvature():
    # Without a breakdown test relative to the operator, Lanczos continues in rounding noise and returns -15 here.
    q = rotation(200, 7).float()
    spectrum = torch.zeros(200)
    spectrum[:3] = torch.tensor([0.11, 0.05, 0.01])
    matrix = (q * spectrum) @ q.T
    for seed in range(5):
        found = hessian_extremes(lambda p: 0.5 * p["w"] @ matrix @ p["w"], {"w": q[0]}, iterations=60, seed=seed)
        assert found.lambda_min == pytest.approx(0.0, abs=1e-6)
        assert found.lambda_max == pytest.approx(0.11, abs=1e-6)
        assert not found.negative
