"""How noisy is the gradient? The batch size at which its noise equals its signal."""

from __future__ import annotations


def gradient_noise_terms(
    small_norm: float, large_norm: float, small_batch: float, large_batch: float
) -> tuple[float, float]:
    r"""Unbiased estimates of |G|² and tr Σ from the norms of a small batch's gradient and of a larger one's.

    A gradient averaged over B samples has the expected square |G|² + tr Σ/B [McCandlish18]_; two values of B give two
    equations. Either estimate may come out negative by chance.

    >>> gradient_noise_terms(small_norm=2.0, large_norm=1.5, small_batch=1, large_batch=4)
    (1.6666666666666667, 2.3333333333333335)

    Raises:
        ValueError: if the batches are not of two sizes, the small one at least 1.

    .. [McCandlish18] An empirical model of large-batch training, arXiv:1812.06162.
    """
    if not 1 <= small_batch < large_batch:
        raise ValueError(f"two batch sizes are needed, the smaller first, got {small_batch} and {large_batch}")
    small, large = small_norm * small_norm, large_norm * large_norm
    signal = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    noise = (small - large) / (1 / small_batch - 1 / large_batch)
    return signal, noise


def gradient_noise_scale(signal: float, noise: float) -> float | None:
    """Batch size at which noise and signal are equal, tr Σ/|G|²; None while the signal is not positive.

    Average both over many steps first: the ratio of two noisy numbers is biased.

    >>> gradient_noise_scale(signal=0.5, noise=64.0)
    128.0
    """
    return max(0.0, noise) / signal if signal > 0 else None


def plateau_length(losses: list[float], tolerance: float = 0.01) -> int:
    """Number of losses since the last one that lay below the best before it by the share `tolerance` of its size.

    >>> plateau_length([2.0, 1.5, 1.2, 1.2, 1.21, 1.195])
    3
    """
    best, length = float("inf"), 0
    for loss in losses:
        best, length = plateau_step(best, length, loss, tolerance)
    return length


def plateau_step(best: float, length: int, loss: float, tolerance: float) -> tuple[float, int]:
    """The best loss and the length of the plateau after one more loss; one that is NaN is no progress."""
    if best == float("inf") and loss == loss and loss != best:
        return loss, 0
    return (loss, 0) if loss < best - tolerance * abs(best) else (best, length + 1)
