"""Compare the time of measuring gradients and updates with that of reading the same numbers once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from benchmarks.overhead.models import Model
from lightning_landscape.functional.norms import tensor_norms
from lightning_landscape.recording.updates import UpdateMeasurement, buckets_of

HEADERS = ("model", "parameters in tensors", "norms, µs", "over one reading", "update, µs", "over a copy and a product")


@torch.no_grad()
def floors_row(model: Model, repetitions: int = 15) -> list[str]:
    """Return the row of one model.

    The norms of all gradients are compared with one norm of a single tensor that has as many numbers. The update (a
    copy of the weights before the step and three numbers after it, from a sample of large tensors) is compared with a
    copy between two such tensors and one inner product.
    """
    parameters = list(model.build_seeded().parameters())
    gradients = [torch.randn_like(p) for p in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    count, buckets = sum(p.numel() for p in parameters), buckets_of(parameters)
    flat, other, target = torch.randn(count), torch.randn(count), torch.zeros(count)
    norms, reading, update, copying = least_seconds(
        [
            lambda: tensor_norms(gradients),
            lambda: torch.linalg.vector_norm(flat),
            lambda: UpdateMeasurement(parameters, buckets, None).measured(),
            lambda: (target.copy_(flat), torch.dot(flat, other)),
        ],
        repetitions,
    )
    cells = [f"{1e6 * norms:.0f}", f"{norms / reading:.1f}", f"{1e6 * update:.0f}", f"{update / copying:.1f}"]
    return [model.name, f"{count:,} in {len(parameters)}", *cells]


def least_seconds(pieces: Sequence[Callable[[], object]], repetitions: int) -> list[float]:
    """Do all pieces of work in turn, several times, and return the least processor seconds of each."""
    least = [float("inf")] * len(pieces)
    for _ in range(repetitions + 1):
        for i, piece in enumerate(pieces):
            start = time.process_time()
            piece()
            least[i] = min(least[i], time.process_time() - start)
    return least
