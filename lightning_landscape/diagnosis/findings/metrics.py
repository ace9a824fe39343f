"""Verdicts on a logged metric: a declared one stands still, or the validation loss says what training does not."""

from __future__ import annotations

from lightning_landscape._text import capitalised, percent
from lightning_landscape.evidence import Cause, Evidence, Finding, LossLevel, MetricTrend, Plateau, Verdict

LOST = 0.5
"""From this share of its gain on, a metric has lost what it had gained"""
LONG = 1 / 3
"""Share of the run after which a metric that has never improved is an alarm; before it, many rewards stand still"""
EARLY_STEPS, EARLY_SHARE = 50, 0.005
"""A first value after at most this many steps, or this share of the run, shows what the model could before training"""
TRAINING_FELL = 0.05
"""Share of the whole fall of the training loss that must come after the best validation, for training to still fall"""
NOTHING_GAINED = 0.1
"""Up to this share of the fall of the training loss, other data have gained nothing"""
SAME_QUANTITY = 0.5
"""A validation loss that begins farther than this share of the fall from the training loss is another quantity"""
RISEN, OF_TRAINING = 0.2, 0.5
"""For the model to memorise, the validation loss must have lost this share of its gain, and must have risen by this
share of what the training loss fell meanwhile"""
CLEAR_CHANGE = 4.0
"""Standard deviations of a single value by which the latest level of a metric must differ from its first value"""
CLEAR_FALL = 4.0
"""Standard deviations of a single loss by which the training loss must have fallen for something to be learned"""


def stands_still(evidence: Evidence) -> Verdict | None:
    """Return the verdict on a declared metric that has stopped improving; None if it has not.

    It is an alarm if the metric has never improved, for a third of the run, or has lost half of what it had gained. A
    metric that has improved and then stays the same may have reached its best value, so that is no alarm. Before its
    first value, in the first epoch, it may have improved as well, if the training loss has fallen.
    """
    metric = evidence.get(MetricTrend)
    if metric is None or not metric.declared or (metric.since is None and not _lost(metric)):
        return None
    waited = metric.elapsed is None or metric.elapsed >= LONG
    never = not metric.gained and (_is_early(metric) or not _has_learned(evidence.get(LossLevel)))
    stuck = _lost(metric) or (never and waited)
    finding = Finding(
        "metric-stands-still",
        Cause.UNDECIDED,
        " ".join(filter(None, (sentence(metric), _beside(evidence)))),
        _advice(metric),
        title=_title(metric),
    )
    return _verdict(evidence, finding, stuck=stuck)


def fresh_data_gain_nothing(evidence: Evidence) -> Verdict | None:
    """Return the verdict, without alarm, that the validation loss never fell below the loss of the initial weights."""
    metric, level = evidence.get(MetricTrend), evidence.get(LossLevel)
    if metric is None or metric.rises or level is None or not _has_learned(level):
        return None
    fall = level.start - level.now
    training = level.start if metric.training_first is None else metric.training_first
    if abs(metric.first - training) > SAME_QUANTITY * fall:
        return None
    if level.start - metric.best > NOTHING_GAINED * fall:
        return None
    finding = Finding(
        "fresh-data-gain-nothing",
        Cause.NOTHING_TO_LEARN,
        f"The training loss fell from {level.began:.3g} to {level.now:.3g}, but `{metric.name}` was never clearly "
        f"below {level.start:.3g}, the mean training loss of the first ten steps: its lowest level is "
        f"{metric.best:.3g}, at step {metric.best_step}. So the model learns its training samples by heart, and "
        "nothing that helps on other data.",
        "check whether inputs and targets belong together: look at a few samples of the training set and of the "
        "validation set with their targets.\n"
        "if they do, use more data, or augmentation: there are too few samples to tell what matters.",
        title="the model learns by heart, and nothing that helps on other data",
    )
    return _verdict(evidence, finding, since=metric.first_step)


def memorises(evidence: Evidence) -> Verdict | None:
    """Return the verdict, without alarm, that the validation loss rises while the training loss still falls."""
    metric, level = evidence.get(MetricTrend), evidence.get(LossLevel)
    if metric is None or metric.rises or not metric.worse or level is None or metric.training_best is None:
        return None
    fell = metric.training_fell
    if fell <= TRAINING_FELL * (level.start - level.now) or metric.worse < max(
        RISEN * metric.gained, OF_TRAINING * fell
    ):
        return None
    finding = Finding(
        "memorises",
        Cause.SETTLED,
        f"Since step {metric.best_step} the training loss still fell, from {metric.training_best:.3g} to "
        f"{metric.training_now:.3g}, but `{metric.name}` has risen{_by(metric)}, from {metric.best:.3g} to "
        f"{metric.now:.3g}.",
        f"keep the weights of step {metric.best_step}: `ModelCheckpoint(monitor={metric.name!r})` keeps the best, and "
        f"`EarlyStopping({metric.name!r}, patience=10)` ends such a run.\n"
        "more data, augmentation, dropout, or weight decay, as in `AdamW(..., weight_decay=0.1)`.",
        title="the model memorises its training data",
    )
    return _verdict(evidence, finding, since=metric.best_step)


def sentence(metric: MetricTrend) -> str:
    """Return what is known of the metric: whether it still improves, or since when it has not, with its levels."""
    rises, name = ("risen", "rises") if metric.rises else ("fallen", "falls"), f"`{metric.name}`"
    if metric.worse:
        turned = "fallen" if metric.rises else "risen"
        share = percent(min(1.0, metric.worse / metric.gained)) if metric.gained else ""
        lost = f": {share} of what it had gained is lost" if share else ""
        best = f"its best level, {metric.best:.4g} (step {metric.best_step}),"
        return f"{name} has {turned} from {best} to {metric.now:.4g}{lost}."
    if metric.since is None:
        if metric.gained:
            return f"{name} still {rises[1]}: from {metric.first:.4g} to {metric.now:.4g} in {metric.values} values."
        return _without_trend(metric)
    if not metric.gained:
        return (
            f"{name} has not {rises[0]} beyond its noise in {metric.values} values: {metric.first:.4g} at step "
            f"{metric.first_step}, {metric.now:.4g} now."
        )
    return (
        f"{name} has not {rises[0]} beyond its noise since step {metric.since}: it had come from {metric.first:.4g} to "
        f"{metric.best:.4g}, and is {metric.now:.4g} now."
    )


def _without_trend(metric: MetricTrend) -> str:
    """Return what is known of a metric that has not improved, and of which it is not certain that it stands still."""
    name, levels = f"`{metric.name}`", f"{metric.first:.4g} first, {metric.now:.4g} now"
    if metric.noise is None:
        return f"whether {name} has changed cannot be told from its {metric.values} values: {levels}."
    change = metric.now - metric.first
    if abs(change) > CLEAR_CHANGE * metric.noise:
        return f"{name} has {'risen' if change > 0 else 'fallen'} from {metric.first:.4g} to {metric.now:.4g}."
    return (
        f"{name} has not changed beyond its noise in {metric.values} values: {levels}, and a single value scatters by "
        f"{metric.noise:.2g}."
    )


def _lost(metric: MetricTrend) -> bool:
    return metric.gained > 0 and metric.worse >= LOST * metric.gained


def _is_early(metric: MetricTrend) -> bool:
    """Return whether the first value shows what the model could before training."""
    horizon = metric.step / metric.elapsed if metric.elapsed else metric.step
    return metric.first_step <= max(EARLY_STEPS, EARLY_SHARE * horizon)


def _has_learned(level: LossLevel | None) -> bool:
    """Return whether the training loss has clearly fallen from its start."""
    if level is None or level.start_spread is None:
        return False
    fall = level.start - level.now
    return fall > CLEAR_FALL * level.start_spread and fall > TRAINING_FELL * abs(level.start - level.floor)


def _title(metric: MetricTrend) -> str:
    if _lost(metric):
        return f"{metric.name} has {'fallen' if metric.rises else 'risen'} from its best"
    if not metric.gained:
        return f"{metric.name} has not {'risen' if metric.rises else 'fallen'}"
    return f"{metric.name} has stopped {'rising' if metric.rises else 'falling'}"


def _beside(evidence: Evidence) -> str:
    """Return what the training loss has done since the best level of the metric, in a sentence."""
    metric, level = evidence.get(MetricTrend), evidence.get(LossLevel)
    if metric is None or level is None or metric.training_best is None or metric.training_now is None:
        return ""
    change = f"from {metric.training_best:.3g} at step {metric.best_step} to {metric.training_now:.3g}"
    least = max(TRAINING_FELL * abs(level.start - level.best), (level.spread or 0.0) / 2)
    if metric.training_fell > least:
        return f"The training loss still fell, {change}."
    if metric.training_now - metric.training_best > least:
        return f"The training loss has risen meanwhile, {change}."
    return f"The training loss has hardly changed meanwhile, {change}."


def _by(metric: MetricTrend) -> str:
    share = metric.worse_share
    return "" if share is None else f" by {percent(share)}"


def _advice(metric: MetricTrend) -> str:
    mode = "max" if metric.rises else "min"
    keep = f'`ModelCheckpoint(monitor="{metric.name}", mode="{mode}")`'
    if _lost(metric):
        return (
            f"continue from the weights of step {metric.best_step}, which {keep} keeps.\n"
            "a smaller learning rate, so that what was learned is not lost again."
        )
    if metric.gained:
        ends = f'EarlyStopping("landscape/plateau_length/{metric.name}", divergence_threshold=..., patience=10**9)'
        return f"if it is good enough, stop here: `{ends}` ends such a run.\nif not, a smaller learning rate."
    return (
        f"check that `{metric.name}` can change at all: print what it is computed from, early and late in the run.\n"
        "a learning rate ten times as large, or a tenth of it."
    )


def _verdict(evidence: Evidence, finding: Finding, *, stuck: bool = False, since: int | None = None) -> Verdict:
    metric, plateau = evidence.get(MetricTrend), evidence.get(Plateau)
    step = 0 if metric is None else metric.step
    if since is None:
        since = step if plateau is None else plateau.since
    return Verdict(
        cause=finding.cause,
        step=step,
        since=since,
        stuck=stuck,
        reason=capitalised(finding.sentence),
        advice=finding.advice,
        finding=finding,
        evidence=evidence,
    )
