"""Published rules for "training does not get on", each on the trace of a run: what it would have said, and when.

Thresholds are the published defaults. Rules that watch epochs get 50 of them per run, those that watch saved tensors
get 100 saves. All may speak again: a counter starts anew after it has fired, a condition fires whenever it sets in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from benchmarks.stuck_runs.scoring import Alarm
from benchmarks.stuck_runs.trace import Check, Trace

Rule = Callable[[Trace], list[Alarm]]
EPOCHS = 50
Symptom = tuple[int, bool, str | None]
"""(step, whether it is there, which cause that is)"""


def onsets(symptoms: Iterable[Symptom]) -> list[Alarm]:
    """An alarm whenever a symptom appears, or changes its cause."""
    alarms: list[Alarm] = []
    before: tuple[bool, str | None] = (False, None)
    for step, there, cause in symptoms:
        if there and before != (True, cause):
            alarms.append(Alarm(step, cause))
        before = there, cause if there else None
    return alarms


def epoch_ends(trace: Trace) -> list[tuple[int, float]]:
    """Each epoch's last step and mean loss."""
    size = trace.horizon // EPOCHS
    return [(size * (i + 1) - 1, loss) for i, loss in enumerate(trace.epochs(EPOCHS))]


def early_stopping(patience: int) -> Rule:
    """`lightning.pytorch.callbacks.EarlyStopping` on the training loss, with its default ``min_delta`` of 0."""

    def rule(trace: Trace) -> list[Alarm]:
        alarms, best, wait = [], math.inf, 0
        for step, loss in epoch_ends(trace):
            if not math.isfinite(loss):
                return [*alarms, Alarm(step, "diverged")]
            best, wait = (loss, 0) if loss < best else (best, wait + 1)
            if wait >= patience:
                alarms.append(Alarm(step, None))
                wait = 0
        return alarms

    return rule


def reduce_on_plateau(trace: Trace, *, patience: int = 10, threshold: float = 1e-4) -> list[Alarm]:
    """`torch.optim.lr_scheduler.ReduceLROnPlateau`: no relative fall of 1e-4 in more than 10 epochs."""
    alarms, best, wait = [], math.inf, 0
    for step, loss in epoch_ends(trace):
        # For losses below zero PyTorch's rule asks for less than nothing; it is left as it is.
        best, wait = (loss, 0) if loss < best * (1 - threshold) else (best, wait + 1)
        if wait > patience:
            alarms.append(Alarm(step, None))
            wait = 0
    return alarms


def loss_not_decreasing(trace: Trace, *, num_steps: int = 10) -> list[Alarm]:
    """SageMaker Debugger's LossNotDecreasing: a saved loss against one saved at least 10 steps before [SageMaker]_.

    .. [SageMaker] Amazon SageMaker developer guide, "List of Debugger built-in rules".
    """
    saves = range(0, trace.horizon, trace.every)
    back = math.ceil(num_steps / trace.every)
    pairs = zip(saves, saves[back:], strict=False)
    return onsets((now, not trace.losses[now] < trace.losses[then], None) for then, now in pairs)


def vanishing_gradient(trace: Trace, *, threshold: float = 1e-7) -> list[Alarm]:
    """SageMaker Debugger's VanishingGradient: the mean |g| of some tensor is below 1e-7."""
    return onsets(
        (check.step, any(mean < threshold for mean in check.mean_gradients), "flat_region") for check in trace.checks
    )


def weight_update_ratio(trace: Trace, *, large: float = 10.0, small: float = 1e-8) -> list[Alarm]:
    """SageMaker Debugger's WeightUpdateRatio: |Δw|/|w| of some tensor is above 10 or below 1e-8."""

    def symptom(check: Check) -> Symptom:
        if any(ratio > large for ratio in check.update_ratios):
            return check.step, True, "learning_rate_too_large"
        return check.step, any(ratio < small for ratio in check.update_ratios), "not_updating"

    return onsets(map(symptom, trace.checks))


def sagemaker(trace: Trace) -> list[Alarm]:
    """The three together, in the order of their steps."""
    rules = (vanishing_gradient, weight_update_ratio, loss_not_decreasing)
    return sorted((alarm for rule in rules for alarm in rule(trace)), key=lambda alarm: alarm.step)


def autotrainer(trace: Trace) -> list[Alarm]:
    """AUTOTRAINER's monitor, every third epoch [Zhang21]_; 1 − loss/(first loss) stands in for its accuracies.

    .. [Zhang21] AUTOTRAINER: an automatic DNN training problem detection and repair system, ICSE 2021. Thresholds from
       its code: β₁ = 1e-3, β₂ = 1e-4, β₃ = 70, γ = 0.7, ζ = 0.03, η = 0.2, δ = 0.01, θ = 0.6.
    """
    losses = trace.epochs(EPOCHS)
    checks = {check.step: check for check in trace.checks}

    def symptom(epoch: int) -> Symptom:
        step = epoch * (trace.horizon // EPOCHS)
        gained = [1 - loss / losses[0] for loss in losses[:epoch]] if losses[0] else [0.0]
        nearest = checks.get(step)
        cause = (_of_gradients(nearest) if nearest else None) or _of_accuracy(gained, epoch)
        return step, cause is not None, cause

    return onsets(symptom(epoch) for epoch in range(3, EPOCHS, 3))


def _of_gradients(check: Check) -> str | None:
    norms = check.gradient_norms
    if not norms:
        return None
    first, last = norms[0], norms[-1]
    if np.mean(check.zero_gradients) >= 0.7:
        return "flat_region"
    if not math.isfinite(sum(norms)) or first > 70 * last:
        return "diverged"
    return "flat_region" if first < 1e-3 * last and first < 1e-4 else None


def _of_accuracy(gained: Sequence[float], epoch: int) -> str | None:
    steps = [after - before for before, after in pairwise(gained)]
    turns = [b for a, b, c in zip(gained, gained[1:], gained[2:], strict=False) if (b - a) * (c - b) < 0]
    swings = sum(high - low >= 0.03 for high, low in pairwise(turns))
    if swings >= 0.2 * EPOCHS:
        return "learning_rate_too_large"
    slow = epoch >= 0.3 * EPOCHS and max(gained) < 0.6 and max(steps) < 0.01
    return "learning_rate_too_small" if slow else None


def deep_diagnosis(trace: Trace) -> list[Alarm]:
    """DeepDiagnosis, at the first batch of every epoch after the first [Wardat22]_; its rule on accuracy is left out.

    .. [Wardat22] DeepDiagnosis: automatically diagnosing faults and recommending actionable fixes, ICSE 2022.
    """
    size = trace.horizon // EPOCHS
    checks = [check for check in trace.checks if check.step % size == 0]

    def symptom(epoch: int) -> Symptom:
        check, five = checks[epoch], checks[max(0, epoch - 4) : epoch + 1]
        numbers = (trace.losses[check.step], *check.weight_means, *check.mean_gradients)
        lasting = len(five) == 5
        symptoms = {
            "diverged": not all(map(math.isfinite, numbers)),
            "not_updating": 0.0 in numbers or (lasting and _constant([c.weight_means for c in five])),
            "flat_region": any(mean < 1e-7 for mean in check.mean_gradients)
            or (epoch % 5 == 0 and check.saturated > 0.5)
            or (epoch == EPOCHS - 1 and check.zero_outputs >= 0.7),
        }
        cause = next((cause for cause, there in symptoms.items() if there), None)
        steady = lasting and _constant([(trace.losses[c.step],) for c in five])
        return check.step, cause is not None or steady, cause

    return onsets(symptom(epoch) for epoch in range(1, len(checks)))


def _constant(rows: Sequence[tuple[float, ...]]) -> bool:
    return any(len(set(column)) == 1 for column in zip(*rows, strict=True))


def slope_t_test(trace: Trace, *, window: float = 0.2, critical: float = 1.645) -> list[Alarm]:
    """A line through the last 20% of the run: an alarm unless it falls at the 5% level, at every 1% of the run."""
    size = int(window * trace.horizon)
    time = np.arange(size) - (size - 1) / 2

    def symptom(end: int) -> Symptom:
        losses = np.asarray(trace.losses[end - size : end])
        slope = float(time @ losses / (time @ time))
        residual = losses - losses.mean() - slope * time
        error = math.sqrt(float(residual @ residual) / (size - 2) / float(time @ time))
        return end - 1, not slope < -critical * error, None

    return onsets(symptom(end) for end in range(size, trace.horizon + 1, trace.every))


RULES: dict[str, Rule] = {
    "EarlyStopping, patience 3": early_stopping(3),
    "EarlyStopping, patience 10": early_stopping(10),
    "ReduceLROnPlateau": reduce_on_plateau,
    "SageMaker LossNotDecreasing": loss_not_decreasing,
    "SageMaker VanishingGradient": vanishing_gradient,
    "SageMaker WeightUpdateRatio": weight_update_ratio,
    "SageMaker, all three": sagemaker,
    "AUTOTRAINER": autotrainer,
    "DeepDiagnosis": deep_diagnosis,
    "slope t-test": slope_t_test,
}
