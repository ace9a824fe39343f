"""`SameBatches`: the losses of several weights of one run on the same batches."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_landscape.evidence.short_repr import short_repr


@dataclass(frozen=True)
class SameBatches:
    """The losses of earlier weights of the run and of the present ones, all on the same batches.

    The loss differs far more from batch to batch than from one step to the next. Differences on the same batches
    therefore show whether the loss falls, where the noise in the losses of training hides it.
    """

    points: tuple[str, ...]
    """names of the weights, such as "step 410", oldest first; the last are the present ones"""
    losses: tuple[tuple[float, ...], ...]
    """loss of each of these weights on each batch, shape (points, batches); may hold NaN and inf"""

    __repr__ = short_repr
