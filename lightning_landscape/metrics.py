"""Measurements of this package as torchmetrics, for training loops of your own, `MetricCollection` and Fabric.

Each metric accumulates over the whole run. Log ``metric.compute()`` instead of the metric object, because Lightning
resets a logged metric object after every epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_landscape.functional.noise import gradient_noise_scale, gradient_noise_terms, plateau_step
from lightning_landscape.functional.norms import global_norm

if TYPE_CHECKING:
    from torchmetrics.utilities.plot import _AX_TYPE, _PLOT_OUT_TYPE


class GradientNorm(Metric):
    """Root mean square of the gradient norms of all updates; NaN before the first update.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> layer.weight.grad = torch.tensor([[3.0, 4.0]])
    >>> metric = GradientNorm()
    >>> metric.update(layer)
    >>> metric.compute()
    tensor(5.)

    Args:
        across_ranks: "replicated" if every rank holds the same whole gradient, as after DDP's all-reduce; "sharded" if
            every rank holds a part of it, as with FSDP.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: if `across_ranks` has another value.
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
        """Add the norm of one gradient.

        Args:
            gradients: a module, whose parameters without a gradient are left out, or the gradients as tensors.
        """
        if isinstance(gradients, nn.Module):
            gradients = [p.grad for p in gradients.parameters() if p.grad is not None]
        norm = global_norm([gradient.detach() for gradient in gradients])
        self.squares += norm.to(self.squares).square()
        self.updates += 1

    def compute(self) -> Tensor:
        """Return the root mean square as a 0-dim tensor, in units of the loss over units of the weights."""
        return (self.squares / self.updates).sqrt().float() if self.updates > 0 else torch.tensor(nan)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: _AX_TYPE | None = None) -> _PLOT_OUT_TYPE:
        """Return a figure and its axes with one value or with several; by default with the present value."""
        return self._plot(val, ax)


class PlateauLength(Metric):
    """Number of updates since the loss last fell below its best value by the share `tolerance`.

    >>> metric = PlateauLength(tolerance=0.01)
    >>> [int(metric(torch.tensor(loss))) for loss in (2.0, 1.5, 1.5, 1.499, 1.2)]
    [0, 0, 1, 2, 0]

    Over several ranks, the result is the smallest length of any rank.

    Args:
        tolerance: share of the best loss by which a loss must be lower to count as progress.
        kwargs: keyword arguments of `torchmetrics.Metric`.

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
        # A MetricCollection merges metrics with equal states, so two metrics must differ if their tolerances do.
        self.add_state("tolerance", torch.tensor(tolerance, dtype=torch.float64), dist_reduce_fx="max")
        self.add_state("best", torch.tensor(torch.inf, dtype=torch.float64), dist_reduce_fx="min")
        self.add_state("length", torch.tensor(0), dist_reduce_fx="min")

    def update(self, loss: Tensor | float) -> None:
        """Add one loss, a 0-dim tensor or a number."""
        best, length = plateau_step(float(self.best), int(self.length), float(loss), float(self.tolerance))
        self.best.fill_(best)
        self.length.fill_(length)

    def forward(self, loss: Tensor | float) -> Tensor:
        """Add one loss, and return the length over all losses so far; for one loss alone it would always be 0."""
        self.update(loss)
        return self.length.clone()

    def compute(self) -> Tensor:
        """Return the number of updates as a 0-dim tensor."""
        return self.length.clone()

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: _AX_TYPE | None = None) -> _PLOT_OUT_TYPE:
        """Return a figure and its axes with one value or with several; by default with the present value."""
        return self._plot(val, ax)


class GradientNoiseScale(Metric):
    """The batch size at which the noise of the gradient equals its signal [McCandlish18]_.

    It is NaN before the first update, and as long as the estimate of the signal is not positive.

    >>> metric = GradientNoiseScale(small_batch=1, large_batch=4)
    >>> metric.update(small_norm=2.0, large_norm=1.5)
    >>> metric.compute()
    tensor(1.4000)

    Args:
        small_batch: number of samples in one micro-batch, or in the batch of one rank.
        large_batch: number of samples in the accumulated gradient, or in the batches of all ranks.
        kwargs: keyword arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: if `small_batch` is less than 1 or `large_batch` is not larger.

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
        gradient_noise_terms(1.0, 1.0, small_batch, large_batch)  # raises the ValueError
        self.small_batch, self.large_batch = small_batch, large_batch
        self.add_state("signal", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("noise", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, small_norm: Tensor | float, large_norm: Tensor | float) -> None:
        """Add one pair of gradient norms: that of a small batch, and that of the large batch that contains it."""
        signal, noise = gradient_noise_terms(float(small_norm), float(large_norm), self.small_batch, self.large_batch)
        self.signal += signal
        self.noise += noise

    def compute(self) -> Tensor:
        """Return the batch size as a 0-dim tensor, in samples."""
        scale = gradient_noise_scale(float(self.signal), float(self.noise))
        return torch.tensor(nan if scale is None else scale)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: _AX_TYPE | None = None) -> _PLOT_OUT_TYPE:
        """Return a figure and its axes with one value or with several; by default with the present value."""
        return self._plot(val, ax)
