"""The eight runs: what is trained, what is wrong with it, and from which step on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import Dataset

from benchmarks.long_runs import cart_pole, images, language

FEWEST_STEPS = 60
TURNS = 100
"""most turns that a run and its twin without a monitor take each"""


@dataclass(frozen=True)
class LongRun:
    """A run, and what is known of it from how it was made."""

    name: str
    title: str
    build: Callable[[int], tuple[pl.LightningModule, Dataset[Any]]]
    """makes the module and one batch for each of this many steps"""
    steps_per_minute: int
    """rough, on one core; it sets the length of the run, so that equal options give equal runs on every machine"""
    unit: str
    """what `quality` of the module returns"""
    clip: float | None = None
    mistake: str = ""
    """what is wrong; empty in a healthy run"""
    share: float = 0.0
    """share of the run after which the mistake acts"""
    until: float = 1.0
    """share of the run up to which it is certainly stuck"""
    paired: bool = False
    """whether ``--paired`` without names trains it beside a twin without a monitor"""

    @property
    def stuck(self) -> bool:
        """Whether something is wrong with the run."""
        return bool(self.mistake)

    def steps(self, minutes: float) -> int:
        """Return the length of a run of about this many minutes: a multiple of the turns that a pair may take."""
        steps = max(FEWEST_STEPS, round(minutes * self.steps_per_minute))
        return steps - steps % (TURNS if steps >= 10 * TURNS else 10)


LANGUAGE: dict[str, Any] = {"steps_per_minute": 700, "unit": "bits per character of new text", "clip": 1.0}

RUNS = {
    run.name: run
    for run in (
        LongRun("language", "Language model", language.healthy, paired=True, **LANGUAGE),
        LongRun(
            "language_ten_times_the_rate",
            "Language model, ten times the rate",
            language.ten_times_the_rate,
            mistake="the learning rate is ten times as high as it should be",
            share=language.WARM_UP,
            until=0.6,  # The cosine ends at a tenth of the rate, which is a good one.
            **LANGUAGE,
        ),
        LongRun(
            "language_body_at_rate_zero",
            "Language model, body at rate 0",
            language.body_at_rate_zero,
            mistake="an integer division gives all transformer blocks the learning rate 0",
            **LANGUAGE,
        ),
        LongRun(
            "language_after_a_spike",
            "Language model, after a spike",
            language.after_a_spike,
            mistake=f"a badly joined schedule multiplies the learning rate by {language.SPIKE:g} for "
            f"{language.SPIKE_STEPS} steps, and the weights never recover",
            share=language.JOINT,
            **LANGUAGE,
        ),
        LongRun("classifier", "Conv net, step schedule", images.classifier, 1400, "accuracy on new digits"),
        LongRun("diffusion", "Diffusion model", images.diffusion, 1150, "mean squared error on new digits"),
        LongRun("cart_pole", "Deep Q-network, cart pole", cart_pole.cart_pole, 12_000, "steps that the pole stays up"),
        LongRun(
            "autoencoder_collapsed",
            "Autoencoder, posterior collapse",
            images.autoencoder,
            3700,
            "share of the variance of new digits that is explained",
            mistake="the divergence weighs 256 times too much, so the code no longer depends on the image",
            paired=True,
        ),
    )
}
