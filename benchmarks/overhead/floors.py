"""What a measured step costs, beside the least that reading the same numbers can cost."""

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
    """One model's row.

    Norms: of every gradient, over one norm of as many numbers in a row. Update: the copy before the step and the three
    numbers after it, of large tensors from a sample, over copying as many numbers as there are in a row, to where there
    is room for them, and one inner product of two such vectors.
    """
    parameters = list(model.made().parameters())
    gradients = [torch.randn_like(p) for p in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    count, buckets = sum(p.numel() for p in parameters), buckets_of(parameters)
    flat, other, room = torch.randn(count), torch.randn(count), torch.zeros(count)
    seconds = interleaved(
        [
            lambda: tensor_norms(gradients),
            lambda: torch.linalg.vector_norm(flat),
            lambda: UpdateMeasurement(parameters, buckets, None).measured(),
            lambda: (room.copy_(flat), torch.dot(flat, other)),
        ],
        repetitions,
    )
    norms, reading, update, copying = seconds
    cells = [f"{1e6 * norms:.0f}", f"{norms / reading:.1f}", f"{1e6 * update:.0f}", f"{update / copying:.1f}"]
    return [model.name, f"{count:,} in {len(parameters)}", *cells]


def interleaved(pieces: Sequence[Callable[[], object]], repetitions: int) -> list[float]:
    """The least processor seconds of each piece of work, done by turns."""
    least = [float("inf")] * len(pieces)
    for _ in range(repetitions + 1):
        for i, piece in enumerate(pieces):
            start = time.process_time()
            piece()
            least[i] = min(least[i], time.process_time() - start)
    return least
