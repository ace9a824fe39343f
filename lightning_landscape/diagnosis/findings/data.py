"""Findings in the data: their order, their size, values that are constant or not finite, and data that have changed."""

from __future__ import annotations

import math

from lightning_landscape.diagnosis.learning import beats_constant, has_fallen, has_learned, noise_of
from lightning_landscape.diagnosis.thresholds import (
    ACTIVATIONS_SATURATED,
    FIRST_TO_LAST_VANISHED,
    GAIN_CLEAR,
    GAIN_OF_RESTART,
    RISE_IN_STANDARD_ERRORS,
    SHARE_OF_START_LOW,
    TRAVEL_NONE,
    TRAVEL_SMALL,
    UNITS_DEAD,
)
from lightning_landscape.evidence import (
    Activity,
    BatchContents,
    BeforeAndAfter,
    Cause,
    Divergence,
    EntryContents,
    Evidence,
    Finding,
    GradientScale,
    LossLevel,
    Plateau,
    Restart,
    Trials,
    UpdateStatistics,
)
from lightning_landscape.evidence.findings import Weight

ORDER_BY_CLASS = 0.6
"""`BatchContents.order` is about 0 for shuffled data, and 1/(classes per batch) for a sampler that puts as many samples
of each of a few classes into a batch: from this number on, most of a batch is one class"""
LARGE = 100.0
"""Layers are initialised for inputs of size 1 and give outputs of that size; this many times as much is far outside of
where their activations bend, and takes the optimizer hundreds of times as many steps to reach"""
FEATURES_UNEVEN = 1000.0
"""Where one feature is this many times as large as another, no learning rate suits both"""
OUTPUT_ZERO = (0.7, 1.4)
"""A loss within these multiples of the loss that outputs of 0 would have is explained by outputs far too small; the
captured batches are a sample, so the two differ a little"""
LOST_SHARE = 0.5
"""From this share of what had been gained on, the run has lost it"""


def unshuffled(evidence: Evidence) -> Finding | None:
    """Return a finding if each batch holds nearly one class, although there are several: the data are not shuffled."""
    contents = evidence.get(BatchContents)
    if contents is None:
        return None
    ordered = contents.order is not None and contents.order >= ORDER_BY_CLASS
    if not contents.class_shares:
        return _in_stretches(evidence, contents, ordered=ordered)
    share = sum(contents.class_shares) / len(contents.class_shares)
    if ordered:
        seen = f"together they hold {contents.classes} classes"
    elif contents.classes == 1 and contents.highest_class is not None and contents.highest_class >= 2:
        # A class index of 2 or more shows that there are others, of which no sample came.
        seen = f"all samples of {contents.batches} batches are of class {contents.highest_class}"
    else:
        return None
    return Finding(
        "unshuffled",
        Cause.LEARNING_RATE_TOO_LARGE,
        f"Each batch holds nearly one class, so the loader does not shuffle: the most frequent class makes up "
        f"{share:.0%} of a batch on average, and {seen}. While one class comes, the model unlearns the others.",
        "let the loader change the order of the samples: `DataLoader(dataset, batch_size=..., shuffle=True)`. If the "
        "order is wanted, use a smaller learning rate.",
        "evidence" if _stays_high(evidence) else "note",
    )


def _in_stretches(evidence: Evidence, contents: BatchContents, *, ordered: bool) -> Finding | None:
    """Return the finding for targets that are numbers, or that are all the same in the captured batches.

    An entry that never changes in these batches may be the target of a long stretch of one class. It is if the best
    weights of the run, which have seen other stretches, do worse on these batches than the initial ones, beyond chance.
    """
    constant = next((entry for entry in contents.entries if not entry.varies), None)
    before = evidence.get(BeforeAndAfter)
    initial, best = (None, None) if before is None else (before.start, before.best)
    chance = RISE_IN_STANDARD_ERRORS * (noise_of(evidence) or 0.0)
    if ordered:
        seen = (
            f"The targets within a batch are much more alike than those of different batches (intraclass correlation "
            f"{contents.order:.2f} over {contents.batches} batches)"
        )
    elif constant is not None and initial is not None and best is not None and best - initial > chance:
        seen = (
            f"Entry {constant.name} of the batch is the same in all samples of {contents.batches} batches, on which "
            f"the best weights so far have a loss of {best:.3g} and the initial ones {initial:.3g}"
        )
    else:
        return None
    return Finding(
        "unshuffled",
        Cause.LEARNING_RATE_TOO_LARGE,
        f"{seen}, so the loader does not shuffle: the data seem to be sorted. While one stretch of them comes, the "
        "model unlearns the others.",
        "let the loader change the order of the samples: `DataLoader(dataset, batch_size=..., shuffle=True)`. If the "
        "order is wanted, use a smaller learning rate.",
        "evidence" if _stays_high(evidence) else "note",
    )


def _stays_high(evidence: Evidence) -> bool:
    """Return whether the training loss stands still at more than a third of its start.

    The present batches hold what was learned last, so only the mean of the training losses counts.
    """
    level = evidence.get(LossLevel)
    return evidence.get(Plateau) is not None and (level is None or level.share_of_start > SHARE_OF_START_LOW)


def repeated_batches(evidence: Evidence) -> Finding | None:
    """Return a note if all captured batches are one and the same."""
    contents = evidence.get(BatchContents)
    if contents is None or contents.batches < 2 or contents.repeated < contents.batches - 1:
        return None
    return Finding(
        "repeated-batches",
        Cause.NOTHING_TO_LEARN,
        f"The last {contents.batches} batches are equal in every value, so the run sees one batch only.",
        "nothing, if the data set is one batch, or `overfit_batches=1` is set; else look at `dataset[0]` and "
        "`dataset[1]`: does `__getitem__` use its index, and does the loader draw anew in each step?",
        "note",
    )


def constant_inputs(evidence: Evidence) -> Finding | None:
    """Return a finding if all samples have the same input although their targets may differ."""
    contents = evidence.get(BatchContents)
    if contents is None or contents.inputs_vary:
        return None
    constant = [entry for entry in contents.entries if not entry.target and not entry.varies]
    names = " and ".join(map(_named, constant)) or "The input"
    return Finding(
        "constant-inputs",
        Cause.NOTHING_TO_LEARN,
        f"{names} {'are' if len(constant) > 1 else 'is'} the same in all samples of {contents.batches} batches, so "
        "the model can only learn one answer for all of them.",
        "look at two samples, `dataset[0]` and `dataset[1]`: does `__getitem__` use its index, and does a transform "
        "keep the values, without `clamp`, a cast to integers or a division by 255 too many?",
        "evidence" if evidence.get(Plateau) is not None else "note",
    )


def not_finite_inputs(evidence: Evidence) -> Finding | None:
    """Return a finding if an entry of the batches holds NaN or infinite values; it explains a loss that is NaN."""
    contents, divergence = evidence.get(BatchContents), evidence.get(Divergence)
    bad = [] if contents is None else [entry for entry in contents.entries if entry.not_finite]
    if contents is None or not bad:
        return None
    counts = ", ".join(
        f"{_named(entry, first=i == 0)} holds {entry.not_finite:,} of {entry.values:,}" for i, entry in enumerate(bad)
    )
    return Finding(
        "not-finite-inputs",
        Cause.DIVERGED,
        f"The data hold NaN or infinite values: {counts} in {contents.batches} batches.",
        "replace them before training, as in `x = torch.nan_to_num(x)`, or leave these samples out: "
        "`keep = x.isfinite().all(1)`.",
        "evidence" if divergence is not None and not divergence.finite else "note",
    )


def target_scale(evidence: Evidence) -> Finding | None:
    """Return a finding if the targets are so large that the outputs are still next to nothing.

    The loss is then what outputs of 0 would give, for a squared, a halved squared or an absolute error.
    """
    contents, level = evidence.get(BatchContents), evidence.get(LossLevel)
    if contents is None or level is None or has_fallen(evidence):
        return None
    for entry in contents.entries:
        if not entry.target or entry.size < LARGE:
            continue
        of_zero = _loss_of_zero(entry, level.now)
        if of_zero is None:
            continue
        return Finding(
            "target-scale",
            Cause.LEARNING_RATE_TOO_SMALL,
            f"The targets ({_named(entry, first=False)}) are of size {entry.size:.2g} (root mean square), while a "
            f"model begins with outputs of size 1: the loss is {level.now:.3g}, and outputs of 0 would give "
            f"{of_zero:.3g}. The steps are too small to bring the outputs there.",
            "normalise the targets to mean 0 and size 1, `y = (y - y.mean()) / y.std()`, and scale the predictions "
            "back after training; the inputs as well, if they are large.",
            _on_plateau(evidence),
        )
    return None


def input_scale(evidence: Evidence) -> Finding | None:
    """Return a finding if the first layer receives numbers far above 1 that are not normalised, and nothing is learned.

    Numbers of that size drive the activations into their flat parts or, if they do not, make every step too large.
    Where something was learned nevertheless, the activations must be flat, and either no gradient reaches the first
    layer or a restart does better. It is a note where the weights hardly move, unless trials show that larger steps do
    not help: whatever the size of the inputs, the steps may then be too small.
    """
    contents, activity = evidence.get(BatchContents), evidence.get(Activity)
    if contents is None or contents.first_layer is None or "Norm" in contents.first_layer_kind:
        return None
    if contents.input_size < LARGE:
        return None
    flat = _flat_part(activity) if activity is not None else ""
    restart, gradient = evidence.get(Restart), evidence.get(GradientScale)
    better_elsewhere = restart is not None and restart.gain >= GAIN_OF_RESTART
    vanishes = gradient is not None and gradient.first_to_last < FIRST_TO_LAST_VANISHED
    held_back = bool(flat) and (better_elsewhere or vanishes)
    # A loss that inputs of this size have thrown far up may come down without anything being learned.
    fallen = has_fallen(evidence) and beats_constant(evidence) is not False
    if (has_learned(evidence) or (fallen and not flat)) and not held_back:
        return None
    uneven = ""
    if contents.feature_sizes is not None:
        smallest, largest = contents.feature_sizes
        if largest > FEATURES_UNEVEN * smallest:
            uneven = f" Its features differ in size, from {smallest:.2g} to {largest:.2g}."
    return Finding(
        "input-scale",
        Cause.FLAT_REGION if flat else Cause.LEARNING_RATE_TOO_LARGE,
        f"The first layer, {contents.first_layer or 'the model'}, receives inputs of size {contents.input_size:.2g} "
        f"(root mean square), but layers are initialised for inputs of size 1.{uneven}{flat}",
        "normalise the inputs, each feature by its own mean and standard deviation: `x = (x - x.mean(0)) / x.std(0)`; "
        "or begin the model with `nn.BatchNorm1d(features)`.",
        "note" if not flat and _steps_may_be_too_small(evidence) else _on_plateau(evidence),
    )


def _steps_may_be_too_small(evidence: Evidence) -> bool:
    """Return whether the weights hardly move, and larger steps lower the loss of a copy or were not tried yet.

    Updates below `TRAVEL_NONE` are never too large, however little a few larger ones may gain.
    """
    updates, trials = evidence.get(UpdateStatistics), evidence.get(Trials)
    if updates is None or updates.travelled is None or updates.travelled >= TRAVEL_SMALL:
        return False
    if trials is None or updates.travelled < TRAVEL_NONE:
        return True
    gain = max(trials.gain("adam"), trials.gain("line search"), trials.gain("learning rate x10"))
    return gain > max(GAIN_CLEAR, trials.smaller_rates)


def _on_plateau(evidence: Evidence) -> Weight:
    return "evidence" if evidence.get(Plateau) is not None else "note"


def _flat_part(activity: Activity) -> str:
    """Return which activation is flat for nearly all inputs, in a sentence; empty if none is."""
    if activity.saturated >= ACTIVATIONS_SATURATED:
        return f" In {activity.saturated_layer}, {activity.saturated:.0%} of the outputs lie at the bounds."
    if activity.dead >= UNITS_DEAD:
        return f" In {activity.dead_layer}, {activity.dead:.0%} of the units are zero on all samples."
    return ""


def _named(entry: EntryContents, *, first: bool = True) -> str:
    """Return the entry in words, as in "Entry 'image' of the batch"; `first` if it begins a sentence."""
    article = "Entry" if first else "entry"
    return f"{article} {entry.name!r} of the batch" if entry.name else f"{'The' if first else 'the'} batch itself"


def _loss_of_zero(entry: EntryContents, loss: float) -> float | None:
    """Return the loss that outputs of 0 would give, for the usual error that comes nearest; None if none is near."""
    candidates = (entry.size**2, entry.size**2 / 2, entry.mean_size, entry.size)
    low, high = OUTPUT_ZERO
    near = [value for value in candidates if low <= loss / value <= high]
    return min(near, key=lambda value: abs(math.log(loss / value)), default=None)
