"""Extreme eigenvalues and the trace of the Hessian of a loss, computed by this library and by other tools."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import curvlinops
import hessian_eigenthings
import numpy as np
import torch
import torch.nn.functional as F
from pyhessian import hessian as pyhessian
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.networks import Data
from lightning_landscape.functional import hessian_extremes, hessian_trace
from lightning_landscape.functional.hessian.lanczos import Stop

LARGEST, SMALLEST, BOTH = "LA", "SA", "BE"


@dataclass(frozen=True)
class Answer:
    """The result of one tool."""

    values: list[float]
    """eigenvalues in ascending order, or a single trace"""
    products: float
    """Hessian-vector products computed"""
    note: str = ""


def losses(model: nn.Module, data: Data) -> list[Callable]:
    """Return one loss per batch."""
    return [lambda p, x=x, y=y: F.cross_entropy(functional_call(model, dict(p), (x,)), y) for x, y in data]


def ours(model: nn.Module, data: Data, stop: Stop, iterations: int) -> Answer:
    """Return the eigenvalues found by this library."""
    extremes = hessian_extremes(losses(model, data), dict(model.named_parameters()), iterations=iterations, stop=stop)
    return Answer(list(extremes.ritz_values), extremes.products, f"{extremes.memory / 2**20:.0f} MiB")


@contextlib.contextmanager
def counting(model: nn.Module, data: Data) -> Iterator[Callable[[], float]]:
    """Count forward passes over the data, of which every other tool needs one for each product.

    Yields:
        a function that returns the number of passes so far.
    """
    calls = 0

    def count(*args: object) -> None:
        nonlocal calls
        calls += 1

    hook = model.register_forward_pre_hook(count)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield lambda: calls / len(data)
    finally:
        hook.remove()


def with_curvlinops(model: nn.Module, data: Data, which: str, count: int, tolerance: float) -> Answer:
    """Return `count` eigenvalues from SciPy's eigsh with the Hessian operator of curvlinops."""
    with counting(model, data) as products:
        operator = curvlinops.HessianLinearOperator(
            model, nn.CrossEntropyLoss(), list(model.parameters()), data, check_deterministic=False
        )
        start = np.random.default_rng(0).standard_normal(operator.shape[1]).astype(np.float32)
        values = eigsh(operator.to_scipy(), k=count, which=which, tol=tolerance, v0=start, return_eigenvectors=False)
        return Answer(sorted(map(float, values)), products())


def products_of_curvlinops(model: nn.Module, data: Data, count: int) -> Answer:
    """Return the largest eigenvalue after `count` steps of power iteration with the Hessian operator of curvlinops."""
    with sdpa_kernel(SDPBackend.MATH):
        operator = curvlinops.HessianLinearOperator(
            model, nn.CrossEntropyLoss(), list(model.parameters()), data, check_deterministic=False
        )
        vector = torch.randn(operator.shape[1], generator=torch.Generator().manual_seed(0))
        for _ in range(count):
            vector = vector / vector.norm()
            product = operator @ vector
            value, vector = float(vector @ product), product
        return Answer([value], count)


def with_eigenthings(model: nn.Module, data: Data, which: str, count: int, steps: int) -> Answer:
    """Return eigenvalues from the Lanczos method of hessian-eigenthings, which takes a fixed number of steps."""
    with counting(model, data) as products:
        operator = hessian_eigenthings.HessianOperator(
            model, data, hessian_eigenthings.supervised_loss(nn.CrossEntropyLoss())
        )
        result = hessian_eigenthings.lanczos(operator, k=count, max_iter=steps, which=which, seed=0)
        return Answer(sorted(result.eigenvalues.tolist()), products())


def with_pyhessian(model: nn.Module, data: Data, count: int, tolerance: float, most: int = 100) -> Answer:
    """Return eigenvalues from the power iteration of PyHessian over several batches."""
    torch.manual_seed(0)
    with counting(model, data) as products, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tool = pyhessian(model, nn.CrossEntropyLoss(), dataloader=data, cuda=False)
        values, _ = tool.eigenvalues(maxIter=most, tol=tolerance, top_n=count)
        taken = products()
    model.zero_grad(set_to_none=True)
    return Answer(sorted(map(float, values)), taken)


def with_pyhessian_in_one_batch(model: nn.Module, data: Data, count: int, tolerance: float, most: int = 100) -> Answer:
    """Return eigenvalues from PyHessian with all samples in one batch, for which it keeps the graph."""
    whole = tuple(torch.cat(parts) for parts in zip(*data, strict=True))
    torch.manual_seed(0)
    taken = 0
    original = torch.autograd.grad

    def counted(*args: object, **settings: object) -> object:
        nonlocal taken
        taken += 1
        return original(*args, **settings)

    with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.autograd.grad = counted
        try:
            tool = pyhessian(model, nn.CrossEntropyLoss(), data=whole, cuda=False)
            values, _ = tool.eigenvalues(maxIter=most, tol=tolerance, top_n=count)
        finally:
            torch.autograd.grad = original
    model.zero_grad(set_to_none=True)
    return Answer(sorted(map(float, values)), taken)


def our_trace(model: nn.Module, data: Data, products: int) -> Answer:
    """Return the trace from this library, with its standard error as the note."""
    trace = hessian_trace(losses(model, data), dict(model.named_parameters()), products=products)
    return Answer([trace.value], trace.products, f"±{trace.error:.2g}")


def trace_with_curvlinops(model: nn.Module, data: Data, products: int, method: Callable) -> Answer:
    """Return the trace from one of the estimators of curvlinops."""
    torch.manual_seed(0)
    with sdpa_kernel(SDPBackend.MATH):
        operator = curvlinops.HessianLinearOperator(
            model, nn.CrossEntropyLoss(), list(model.parameters()), data, check_deterministic=False
        )
        return Answer([float(method(operator, products))], products)


def trace_with_eigenthings(model: nn.Module, data: Data, products: int) -> Answer:
    """Return the trace from Hutch++ of hessian-eigenthings."""
    with counting(model, data) as taken:
        operator = hessian_eigenthings.HessianOperator(
            model, data, hessian_eigenthings.supervised_loss(nn.CrossEntropyLoss())
        )
        trace = hessian_eigenthings.hutch_plus_plus(operator, num_matvecs=products, seed=0)
        return Answer([float(trace.estimate)], taken())


def trace_with_pyhessian(model: nn.Module, data: Data, products: int) -> Answer:
    """Return the trace from Hutchinson's estimator of PyHessian; a tolerance of 0 makes it take all samples."""
    torch.manual_seed(0)
    with counting(model, data) as taken, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samples = pyhessian(model, nn.CrossEntropyLoss(), dataloader=data, cuda=False).trace(maxIter=products, tol=0.0)
        answer = Answer([float(np.mean(samples))], taken())
    model.zero_grad(set_to_none=True)
    return answer
