"""The same measurements as torchmetrics: for loops of your own, for `MetricCollection`, for Fabric.

They hold a history. Log ``metric.compute()`` and not the metric itself: Lightning resets a logged metric every epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_landscape.functional.noise import gradient_noise_scale, gradient_noise_terms, plateau_step
from lightning_landscape.functional.norms import global_norm


class GradientNorm(Metric):
    """Root mean square of the gradient norms of all updates; NaN before the first.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> layer.weight.grad = torch.tensor([[3.0, 4.0]])
    >>> metric = GradientNorm()
    >>> metric.update(layer)
    >>> metric.compute()
    tensor(5.)

    Args:
        across_ranks: "replicated" where every rank holds the same whole gradient, as after DDP's all-reduce; "sharded"
            where each holds its own part of it, as with FSDP, so that the squares add up.
        kwargs: what `torchmetrics.Metric` takes.

    Raises:
        ValueError: if `across_ranks` is neither.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    plot_lower_bound = 0.0
    squares: Tensor
    updates: Tensor

    def __init__(self, *, across_ranks: Literal["replicated", "sharded"] = "replicated", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if across_ranks not in ("replicated", "sharded"):
            raise ValueError(f'across_ranks must be "replicated" or "sharded", got {across_ranks!r}')
        reduce = "mean" if across_ranks == "replicated" else "sum"
        self.add_state("squares", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx=reduce)
        self.add_state("updates", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="mean")

    def update(self, gradients: nn.Module | Iterable[Tensor]) -> None:
        """Take in the gradients of a module's parameters, or tensors; parameters without a gradient are passed over."""
        if isinstance(gradients, nn.Module):
            gradients = [p.grad for p in gradients.parameters() if p.grad is not None]
        norm = global_norm([gradient.detach() for gradient in gradients])
        self.squares += norm.to(self.squares).square()
        self.updates += 1

    def compute(self) -> Tensor:
        """0-dim, in units of the loss over units of the weights."""
        return (self.squares / self.updates).sqrt().float() if self.updates > 0 else torch.tensor(nan)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """One value or several as a figure and its axes."""
        return self._plot(val, ax)


class PlateauLength(Metric):
    """Updates since the loss was last below its best by the share `tolerance`.

    >>> metric = PlateauLength(tolerance=0.01)
    >>> [int(metric(torch.tensor(loss))) for loss in (2.0, 1.5, 1.5, 1.499, 1.2)]
    [0, 0, 1, 2, 0]

    Over ranks the shortest counts: a plateau is one only where all ranks agree that it is.

    Args:
        tolerance: share of the best loss by which a loss must undercut it to count as progress.
        kwargs: what `torchmetrics.Metric` takes.

    Raises:
        ValueError: if the tolerance is negative.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = True
    plot_lower_bound = 0.0
    best: Tensor
    length: Tensor
    tolerance: Tensor

    def __init__(self, *, tolerance: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not tolerance >= 0:
            raise ValueError(f"tolerance must not be negative, got {tolerance}")
        # A state, so that a MetricCollection does not take two of different tolerance for one and the same.
        self.add_state("tolerance", torch.tensor(tolerance, dtype=torch.float64), dist_reduce_fx="max")
        self.add_state("best", torch.tensor(torch.inf, dtype=torch.float64), dist_reduce_fx="min")
        self.add_state("length", torch.tensor(0), dist_reduce_fx="min")

    def update(self, loss: Tensor | float) -> None:
        """Take in one loss, a 0-dim tensor or a number."""
        best, length = plateau_step(float(self.best), int(self.length), float(loss), float(self.tolerance))
        self.best.fill_(best)
        self.length.fill_(length)

    def forward(self, loss: Tensor | float) -> Tensor:
        """Update, and return the length so far: of one loss alone it would always be 0."""
        self.update(loss)
        return self.length.clone()

    def compute(self) -> Tensor:
        """0-dim, in updates."""
        return self.length.clone()

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """One value or several as a figure and its axes."""
        return self._plot(val, ax)


class GradientNoiseScale(Metric):
    """The batch size at which the gradient's noise equals its signal [McCandlish18]_; NaN while that cannot be told.

    >>> metric = GradientNoiseScale(small_batch=1, large_batch=4)
    >>> metric.update(small_norm=2.0, large_norm=1.5)
    >>> metric.compute()
    tensor(1.4000)

    Args:
        small_batch: samples behind the gradient of one micro-batch, or of one rank.
        large_batch: samples behind the accumulated gradient, or that of all ranks.
        kwargs: what `torchmetrics.Metric` takes.

    Raises:
        ValueError: if the batches are not of two sizes.

    .. [McCandlish18] An empirical model of large-batch training, arXiv:1812.06162.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    plot_lower_bound = 0.0
    signal: Tensor
    noise: Tensor

    def __init__(self, *, small_batch: int, large_batch: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        gradient_noise_terms(1.0, 1.0, small_batch, large_batch)  # raises where the sizes do not fit
        self.small_batch, self.large_batch = small_batch, large_batch
        self.add_state("signal", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("noise", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, small_norm: Tensor | float, large_norm: Tensor | float) -> None:
        """Take in the norms of the gradients of a small batch and of the large one that contains it."""
        signal, noise = gradient_noise_terms(float(small_norm), float(large_norm), self.small_batch, self.large_batch)
        self.signal += signal
        self.noise += noise

    def compute(self) -> Tensor:
        """0-dim, in samples."""
        scale = gradient_noise_scale(float(self.signal), float(self.noise))
        return torch.tensor(nan if scale is None else scale)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """One value or several as a figure and its axes."""
        return self._plot(val, ax)
