"""The gradient noise scale (the batch size at which noise and signal are equal), and the length of a plateau."""

from __future__ import annotations


def gradient_noise_terms(
    small_norm: float, large_norm: float, small_batch: float, large_batch: float
) -> tuple[float, float]:
    """Return unbiased estimates of |G|² and tr Σ from the gradient norms of a small and a large batch.

    G is the true gradient and Σ the covariance of the gradients of single samples. The expected squared norm of a
    gradient averaged over B samples is |G|² + tr Σ/B [McCandlish18]_, so two values of B give two equations. Either
    estimate may be negative by chance.

    >>> gradient_noise_terms(small_norm=2.0, large_norm=1.5, small_batch=1, large_batch=4)
    (1.6666666666666667, 2.3333333333333335)

    Raises:
        ValueError: if the small batch is empty, or the large batch is not larger.

    .. [McCandlish18] An empirical model of large-batch training, arXiv:1812.06162.
    """
    if not 1 <= small_batch < large_batch:
        raise ValueError(f"need 1 <= small_batch < large_batch, got {small_batch} and {large_batch}")
    small, large = small_norm * small_norm, large_norm * large_norm
    signal = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    noise = (small - large) / (1 / small_batch - 1 / large_batch)
    return signal, noise


def gradient_noise_scale(signal: float, noise: float) -> float | None:
    """Return the batch size at which noise and signal are equal, tr Σ/|G|²; None if the signal is not positive.

    Average `signal` and `noise` over many steps first, because the ratio of two noisy numbers is biased.

    >>> gradient_noise_scale(signal=0.5, noise=64.0)
    128.0
    """
    return max(0.0, noise) / signal if signal > 0 else None


def plateau_length(losses: list[float], tolerance: float = 0.01) -> int:
    """Return the number of losses since the last improvement.

    A loss is an improvement if it is below the best loss so far by more than `tolerance` times the absolute value of
    that best loss.

    >>> plateau_length([2.0, 1.5, 1.2, 1.2, 1.21, 1.195])
    3
    """
    best, length = float("inf"), 0
    for loss in losses:
        best, length = plateau_step(best, length, loss, tolerance)
    return length


def plateau_step(best: float, length: int, loss: float, tolerance: float) -> tuple[float, int]:
    """Return the best loss and the length of the plateau after one more loss; NaN never counts as an improvement."""
    if best == float("inf") and loss == loss and loss != best:
        return loss, 0
    return (loss, 0) if loss < best - tolerance * abs(best) else (best, length + 1)
