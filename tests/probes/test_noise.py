"""The noise of the gradient on surfaces with a known noise."""

from __future__ import annotations

import pytest
import torch

from lightning_landscape.errors import SurfaceError
from lightning_landscape.functional.noise import gradient_noise_scale
from lightning_landscape.probes import gradient_noise
from lightning_landscape.surface import LossSurface, RunContext


def noisy(seed, batches, samples=16, width=64, signal=0.5, deviation=2.0):
    """A surface whose batches have the same gradient plus noise of a known variance per sample."""
    generator = torch.Generator().manual_seed(seed)
    slopes = [signal + deviation * torch.randn(samples, width, generator=generator).mean(0) for _ in range(batches)]
    batch_losses = tuple(lambda p, slope=slope: (p["w"] * slope).sum() for slope in slopes)
    here = {"w": torch.zeros(width)}
    return LossSurface(
        lambda p: sum(loss(p) for loss in batch_losses) / batches,
        here,
        batch_losses=batch_losses,
        run=RunContext(batch_samples=samples),
    )


def test_signal_and_noise_are_estimated_without_bias():
    found = [gradient_noise(noisy(seed, batches=4)) for seed in range(200)]
    signal, noise = (sum(getattr(f, name) for f in found) / len(found) for name in ("signal", "noise"))
    assert signal == pytest.approx(64 * 0.5**2, rel=0.05)
    assert noise == pytest.approx(64 * 2.0**2, rel=0.05)
    assert gradient_noise_scale(signal, noise) == pytest.approx(16.0, rel=0.08)


def test_batches_with_equal_gradients_have_no_noise():
    found = gradient_noise(noisy(0, batches=3, deviation=0.0))
    assert found.noise == pytest.approx(0.0, abs=1e-6)
    assert found.signal == pytest.approx(16.0)
    assert (found.batches, found.batch_samples) == (3, 16)


def test_no_more_than_eight_batches_are_compared():
    assert gradient_noise(noisy(0, batches=12)).batches == 8


def test_a_parameter_that_the_loss_does_not_use_counts_as_zero():
    surface = noisy(0, batches=2, deviation=0.0)
    wider = LossSurface(
        surface.loss,
        {**surface.here, "unused": torch.ones(3)},
        batch_losses=surface.batch_losses,
        run=RunContext(batch_samples=16),
    )
    assert gradient_noise(wider) == gradient_noise(surface)


def test_without_two_batches_their_size_or_a_gradient_there_is_no_reading():
    one, several = noisy(0, batches=1), noisy(0, batches=2)
    assert gradient_noise(one) is None
    assert gradient_noise(LossSurface(several.loss, several.here, batch_losses=several.batch_losses)) is None

    def without_gradient(point):
        raise SurfaceError("[LL314] no gradient")

    assert (
        gradient_noise(
            LossSurface(
                without_gradient,
                several.here,
                batch_losses=(without_gradient, without_gradient),
                run=RunContext(batch_samples=16),
            )
        )
        is None
    )
