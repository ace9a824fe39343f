"""The causes that a verdict can name, and everything that is fixed about each: one table, read by code, tab and docs.

A new cause is a value of `Cause` and a row of `CAUSES`, a detector, a page in docs/causes, and their tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Tone = Literal["alarm", "unsure", "quiet", "good"]
"""How a state of the run is shown: "alarm" and "unsure" ask for attention, "quiet" informs, "good" is training."""


class Cause(str, Enum):
    """Why a loss does not fall."""

    SADDLE_POINT = "saddle_point"
    FLAT_REGION = "flat_region"
    POOR_MINIMUM = "poor_minimum"
    LEARNING_RATE_TOO_SMALL = "learning_rate_too_small"
    LEARNING_RATE_TOO_LARGE = "learning_rate_too_large"
    NOT_UPDATING = "not_updating"
    NOTHING_TO_LEARN = "nothing_to_learn"
    DIVERGED = "diverged"
    SETTLED = "settled"
    SCHEDULED_END = "scheduled_end"
    SLOW = "slow"
    UNDECIDED = "undecided"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class CauseFacts:
    """What is fixed about a cause."""

    code: str
    """the code of its warnings"""
    number: int
    """the value of ``landscape/verdict``; it never changes, since dashboards and `EarlyStopping` compare with it"""
    title: str
    """the cause in words, for the first line of a warning"""
    tone: Tone
    advice: str
    """what helps in general, one thing in each line, where no trial has shown what helps here; the pages in
    docs/causes have the references"""
    step_size_may_help: bool = True
    """whether another optimizer, learning rate or initialisation may help, so that results of trials are advice"""

    @property
    def alarms(self) -> bool:
        """Whether a verdict of this cause is an alarm, unless its detector says otherwise."""
        return self.tone == "alarm"


CAUSES: Mapping[Cause, CauseFacts] = {
    Cause.SADDLE_POINT: CauseFacts(
        "LL201", 1, "stuck at a saddle point", "alarm",
        "a small random step of the weights (Jin 2017): `LandscapeMonitor(remedies=[Perturb()])` takes one.\n"
        "momentum, or a larger initialisation (Dauphin 2014).",
    ),
    Cause.FLAT_REGION: CauseFacts(
        "LL202", 2, "stuck on a flat region", "alarm",
        "an initialisation made for the activation (Glorot 2010, He 2015): `nn.init.kaiming_normal_(layer.weight)` for "
        "ReLU, `nn.init.xavier_normal_(layer.weight)` for tanh.\n"
        "normalisation layers (Ioffe 2015) such as `nn.LayerNorm(width)`, or residual connections (He 2016), "
        "`x = x + layer(x)`.\n"
        "activations that do not saturate.",
    ),
    Cause.POOR_MINIMUM: CauseFacts(
        "LL203", 3, "stuck in a poor minimum", "alarm",
        "another seed: `seed_everything(...)`.\n"
        "a larger learning rate early in the run (Keskar 2017).\n"
        "a larger model.",
    ),
    Cause.LEARNING_RATE_TOO_SMALL: CauseFacts(
        "LL204", 4, "stuck because the learning rate is too small", "alarm",
        "a learning rate ten times as large (Smith 2017).\n"
        "a looser gradient clip, if there is one: `Trainer(gradient_clip_val=...)`.",
    ),
    Cause.LEARNING_RATE_TOO_LARGE: CauseFacts(
        "LL205", 5, "stuck because the learning rate is too large", "alarm",
        "a tenth of the learning rate.\n"
        "a warm-up (Goyal 2017).\n"
        "gradient clipping: `Trainer(gradient_clip_val=1.0)`.",
    ),
    Cause.NOT_UPDATING: CauseFacts(
        "LL206", 6, "stuck because the weights are not updated", "alarm",
        "check `configure_optimizers`: does the optimizer hold `self.parameters()`, and not a copy made before?\n"
        "check the forward pass: does `detach()`, `no_grad` or `requires_grad=False` cut off a part of it?",
        step_size_may_help=False,
    ),
    Cause.NOTHING_TO_LEARN: CauseFacts(
        "LL207", 7, "stuck because the inputs do not help predict the targets", "alarm",
        "check a batch: do the inputs vary, and do they still belong to their targets?",
        step_size_may_help=False,
    ),
    Cause.DIVERGED: CauseFacts(
        "LL208", 8, "diverged", "alarm",
        "a smaller learning rate, or a warm-up (Goyal 2017).\n"
        "gradient clipping (Pascanu 2013): `Trainer(gradient_clip_val=1.0)`.\n"
        "for NaN, check the code for a logarithm, a division or a root of 0, and for overflow in float16 (bfloat16 has "
        "the wider range).",
        step_size_may_help=False,
    ),
    Cause.SETTLED: CauseFacts(
        "LL210", 9, "settled", "quiet",
        "if the loss is low enough, stop here or decay the learning rate.\n"
        "if it should be lower: more or better data, a larger model, or another loss.",
        step_size_may_help=False,
    ),
    Cause.SCHEDULED_END: CauseFacts(
        "LL211", 10, "the learning-rate schedule has come to its end", "quiet",
        "if the loss should fall further, a longer schedule.",
        step_size_may_help=False,
    ),
    Cause.SLOW: CauseFacts(
        "LL212", 11, "slow: the loss could still fall a lot", "quiet",
        "a larger learning rate (Smith 2017).\n"
        "more steps.",
    ),
    Cause.UNDECIDED: CauseFacts(
        "LL209", 12, "the loss has stopped falling, the cause is undecided", "unsure",
        "check the gradient norms and the loss along the line from the initial weights: a notebook draws both from "
        "`monitor.report`, and `LandscapeMonitor(dirpath=...)` writes them to an HTML file.",
    ),
}  # fmt: skip

TONES: Mapping[str, Tone] = {
    "learning": "good",
    "stalled": "unsure",
    "not_judged": "quiet",
    **{cause.value: facts.tone for cause, facts in CAUSES.items()},
}
"""the tone of every state of a run: what it is doing while nothing is said of it, or the cause that was named"""
