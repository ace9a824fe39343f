"""Published rules that detect training problems, as functions from the trace of a run to alarms.

Thresholds are the published defaults. For rules that watch epochs, a run has 50 epochs; for rules that watch saved
tensors, tensors are saved 100 times. A rule may raise several alarms: a counter restarts after its alarm, and a
condition raises an alarm whenever it becomes true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from benchmarks.stuck_runs.scoring import Alarm
from benchmarks.stuck_runs.trace import TensorStatistics, Trace

Rule = Callable[[Trace], list[Alarm]]
EPOCHS = 50
Symptom = tuple[int, bool, str | None]
"""(step, whether the symptom is present, the cause that it means or None)"""


def onsets(symptoms: Iterable[Symptom]) -> list[Alarm]:
    """Return an alarm for each step at which a symptom appears or its cause changes."""
    alarms: list[Alarm] = []
    before: tuple[bool, str | None] = (False, None)
    for step, present, cause in symptoms:
        if present and before != (True, cause):
            alarms.append(Alarm(step, cause))
        before = present, cause if present else None
    return alarms


def epoch_ends(trace: Trace) -> list[tuple[int, float]]:
    """Return the last step and the mean loss of each epoch."""
    size = trace.horizon // EPOCHS
    return [(size * (i + 1) - 1, loss) for i, loss in enumerate(trace.epochs(EPOCHS))]


def early_stopping(patience: int) -> Rule:
    """Return the rule of Lightning's `EarlyStopping` on the training loss, with its default ``min_delta`` of 0."""

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
    """Return the alarms of torch's `ReduceLROnPlateau`: no relative fall of 1e-4 in more than 10 epochs."""
    alarms, best, wait = [], math.inf, 0
    for step, loss in epoch_ends(trace):
        # For a loss below zero this condition accepts a small rise as a fall, as it does in PyTorch.
        best, wait = (loss, 0) if loss < best * (1 - threshold) else (best, wait + 1)
        if wait > patience:
            alarms.append(Alarm(step, None))
            wait = 0
    return alarms


def loss_not_decreasing(trace: Trace, *, num_steps: int = 10) -> list[Alarm]:
    """Return the alarms of LossNotDecreasing: a saved loss is no lower than one at least 10 steps before [SageMaker]_.

    .. [SageMaker] Amazon SageMaker developer guide, "List of Debugger built-in rules".
    """
    saves = range(0, trace.horizon, trace.save_interval)
    lag = math.ceil(num_steps / trace.save_interval)
    pairs = zip(saves, saves[lag:], strict=False)
    return onsets((now, not trace.losses[now] < trace.losses[then], None) for then, now in pairs)


def vanishing_gradient(trace: Trace, *, threshold: float = 1e-7) -> list[Alarm]:
    """Return the alarms of SageMaker Debugger's VanishingGradient: the mean |g| of some tensor is below 1e-7."""
    return onsets(
        (saved.step, any(mean < threshold for mean in saved.mean_gradients), "flat_region") for saved in trace.saves
    )


def weight_update_ratio(trace: Trace, *, large: float = 10.0, small: float = 1e-8) -> list[Alarm]:
    """Return the alarms of SageMaker's WeightUpdateRatio: |Δw|/|w| of some tensor is above 10 or below 1e-8."""

    def symptom(saved: TensorStatistics) -> Symptom:
        if any(ratio > large for ratio in saved.update_ratios):
            return saved.step, True, "learning_rate_too_large"
        return saved.step, any(ratio < small for ratio in saved.update_ratios), "not_updating"

    return onsets(map(symptom, trace.saves))


def sagemaker(trace: Trace) -> list[Alarm]:
    """Return the alarms of the three rules of SageMaker Debugger, in the order of their steps."""
    rules = (vanishing_gradient, weight_update_ratio, loss_not_decreasing)
    return sorted((alarm for rule in rules for alarm in rule(trace)), key=lambda alarm: alarm.step)


def autotrainer(trace: Trace) -> list[Alarm]:
    """Return the alarms of AUTOTRAINER every third epoch, with 1 − loss/(first loss) for its accuracy [Zhang21]_.

    .. [Zhang21] AUTOTRAINER: an automatic DNN training problem detection and repair system, ICSE 2021. Thresholds from
       its code: β₁ = 1e-3, β₂ = 1e-4, β₃ = 70, γ = 0.7, ζ = 0.03, η = 0.2, δ = 0.01, θ = 0.6.
    """
    losses = trace.epochs(EPOCHS)
    saves = {saved.step: saved for saved in trace.saves}

    def symptom(epoch: int) -> Symptom:
        step = epoch * (trace.horizon // EPOCHS)
        accuracies = [1 - loss / losses[0] for loss in losses[:epoch]] if losses[0] else [0.0]
        saved = saves.get(step)
        cause = (_cause_by_gradients(saved) if saved else None) or _cause_by_accuracies(accuracies, epoch)
        return step, cause is not None, cause

    return onsets(symptom(epoch) for epoch in range(3, EPOCHS, 3))


def _cause_by_gradients(saved: TensorStatistics) -> str | None:
    norms = saved.gradient_norms
    if not norms:
        return None
    first, last = norms[0], norms[-1]
    if np.mean(saved.zero_gradients) >= 0.7:
        return "flat_region"
    if not math.isfinite(sum(norms)) or first > 70 * last:
        return "diverged"
    return "flat_region" if first < 1e-3 * last and first < 1e-4 else None


def _cause_by_accuracies(accuracies: Sequence[float], epoch: int) -> str | None:
    gains = [after - before for before, after in pairwise(accuracies)]
    triples = zip(accuracies, accuracies[1:], accuracies[2:], strict=False)
    extrema = [b for a, b, c in triples if (b - a) * (c - b) < 0]
    swings = sum(high - low >= 0.03 for high, low in pairwise(extrema))
    if swings >= 0.2 * EPOCHS:
        return "learning_rate_too_large"
    slow = epoch >= 0.3 * EPOCHS and max(accuracies) < 0.6 and max(gains) < 0.01
    return "learning_rate_too_small" if slow else None


def deep_diagnosis(trace: Trace) -> list[Alarm]:
    """Return the alarms of DeepDiagnosis at the first batch of every epoch but the first [Wardat22]_, without accuracy.

    .. [Wardat22] DeepDiagnosis: automatically diagnosing faults and recommending actionable fixes, ICSE 2022.
    """
    size = trace.horizon // EPOCHS
    saves = [saved for saved in trace.saves if saved.step % size == 0]

    def symptom(epoch: int) -> Symptom:
        saved, latest = saves[epoch], saves[max(0, epoch - 4) : epoch + 1]
        numbers = (trace.losses[saved.step], *saved.weight_means, *saved.mean_gradients)
        five = len(latest) == 5
        symptoms = {
            "diverged": not all(map(math.isfinite, numbers)),
            "not_updating": 0.0 in numbers or (five and _constant([s.weight_means for s in latest])),
            "flat_region": any(mean < 1e-7 for mean in saved.mean_gradients)
            or (epoch % 5 == 0 and saved.saturated > 0.5)
            or (epoch == EPOCHS - 1 and saved.zero_outputs >= 0.7),
        }
        cause = next((cause for cause, present in symptoms.items() if present), None)
        constant_loss = five and _constant([(trace.losses[s.step],) for s in latest])
        return saved.step, cause is not None or constant_loss, cause

    return onsets(symptom(epoch) for epoch in range(1, len(saves)))


def _constant(rows: Sequence[tuple[float, ...]]) -> bool:
    return any(len(set(column)) == 1 for column in zip(*rows, strict=True))


def slope_t_test(trace: Trace, *, window: float = 0.2, critical: float = 1.645) -> list[Alarm]:
    """Return an alarm where the slope over the last 20% of the run is not negative at the 5% level, every 1% of it."""
    size = int(window * trace.horizon)
    time = np.arange(size) - (size - 1) / 2

    def symptom(end: int) -> Symptom:
        losses = np.asarray(trace.losses[end - size : end])
        slope = float(time @ losses / (time @ time))
        residual = losses - losses.mean() - slope * time
        error = math.sqrt(float(residual @ residual) / (size - 2) / float(time @ time))
        return end - 1, not slope < -critical * error, None

    return onsets(symptom(end) for end in range(size, trace.horizon + 1, trace.save_interval))


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
