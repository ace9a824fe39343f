"""What a person can do about each cause, in words, and the code by which they look it up."""

from __future__ import annotations

from lightning_landscape.evidence import Cause, Trials

CODES = {
    Cause.SADDLE_POINT: "LL201",
    Cause.FLAT_REGION: "LL202",
    Cause.POOR_MINIMUM: "LL203",
    Cause.LEARNING_RATE_TOO_SMALL: "LL204",
    Cause.LEARNING_RATE_TOO_LARGE: "LL205",
    Cause.NOT_UPDATING: "LL206",
    Cause.NOTHING_TO_LEARN: "LL207",
    Cause.DIVERGED: "LL208",
    Cause.UNDECIDED: "LL209",
    Cause.SETTLED: "LL210",
    Cause.SCHEDULED_END: "LL211",
    Cause.SLOW: "LL212",
}

TITLES = {
    Cause.SADDLE_POINT: "stuck at a saddle point",
    Cause.FLAT_REGION: "stuck on a flat region",
    Cause.POOR_MINIMUM: "stuck in a poor minimum",
    Cause.LEARNING_RATE_TOO_SMALL: "stuck because the learning rate is too small",
    Cause.LEARNING_RATE_TOO_LARGE: "stuck because the learning rate is too large",
    Cause.NOT_UPDATING: "stuck because the weights are not updated",
    Cause.NOTHING_TO_LEARN: "stuck because the inputs do not tell the targets",
    Cause.DIVERGED: "diverged",
    Cause.UNDECIDED: "the loss has stopped falling, the cause is undecided",
    Cause.SETTLED: "settled",
    Cause.SCHEDULED_END: "the learning-rate schedule has come to its end",
    Cause.SLOW: "slow, but still falling",
}

ADVICE = {
    Cause.SADDLE_POINT: "a larger initialisation, momentum, or a small random perturbation of the weights.",
    Cause.FLAT_REGION: (
        "an initialisation made for the activation (He or Glorot), normalisation layers or residual connections, "
        "or activations that do not saturate; dead units come back only by re-initialising them."
    ),
    Cause.POOR_MINIMUM: "other seeds, a larger model, or a larger learning rate early in the run.",
    Cause.LEARNING_RATE_TOO_SMALL: "a larger learning rate, or a looser gradient clip.",
    Cause.LEARNING_RATE_TOO_LARGE: "a smaller learning rate, a warm-up, or gradient clipping.",
    Cause.NOT_UPDATING: (
        "look at `configure_optimizers`: does the optimizer hold `self.parameters()`, and not a copy made before? "
        "Is part of the forward pass cut off by `detach()`, `no_grad` or `requires_grad=False`?"
    ),
    Cause.NOTHING_TO_LEARN: "look at a batch: do the inputs vary, and do they still belong to their targets?",
    Cause.DIVERGED: (
        "a smaller learning rate, a warm-up, or gradient clipping; for NaN, look for a logarithm, a division or a root "
        "of 0, and for float16 overflow (bfloat16 has the wider range)."
    ),
    Cause.UNDECIDED: (
        "look at the gradient norms and at the loss along the line from the initial weights in TensorBoard."
    ),
    Cause.SETTLED: (
        "nothing has to be done. Nobody can tell from here whether a lower minimum exists: other seeds or a target "
        "loss would tell."
    ),
    Cause.SCHEDULED_END: "nothing has to be done; a longer schedule would let the loss fall further.",
    Cause.SLOW: "more steps, or a larger learning rate.",
}


def tried(trials: Trials) -> str:
    """What was tried on a copy, the best first, with what stands behind it."""
    ranked = sorted(trials.gains.items(), key=lambda item: -item[1])
    gains = "; ".join(f"{name} {-gain:+.0%}" for name, gain in ranked)
    return f"Tried on a copy, {trials.steps} steps each, judged on other batches: {gains}."
