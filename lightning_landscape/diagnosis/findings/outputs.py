"""Findings on the outputs of a network: the same for all samples, no better than a constant, or a saturated softmax."""

from __future__ import annotations

from lightning_landscape.diagnosis.learning import (
    beats_constant,
    floor_of,
    has_learned,
    rise_of_first_steps,
    share_of_start,
    way_to_go,
)
from lightning_landscape.diagnosis.thresholds import (
    ACTIVATIONS_SATURATED,
    FALL_IN_STANDARD_DEVIATIONS,
    GAIN_CLEAR,
    GAIN_OF_RESTART,
    RISE_OF_FIRST_STEPS,
    SHARE_OF_START_HIGH,
    TARGETS_AGREE,
    TRAVEL_LARGE,
    UNITS_DEAD,
    WAY_TO_GO_SMALL,
)
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Evidence,
    Finding,
    InputUse,
    LossLevel,
    Outputs,
    Plateau,
    Restart,
    StartingPoint,
    Trials,
    UpdateStatistics,
)
from lightning_landscape.evidence.findings import Weight

SPREAD_NONE = 0.01
"""Below this spread, the samples share all but a ten-thousandth of the squared size of their outputs."""
SPREAD_LOST = 0.2
"""Below this share of their values at the initial weights, the spread of the outputs and their deviation in their own
unit have been lost in training."""
SPREAD_SMALL = 0.1
"""Below this spread of their directions, outputs have a cosine similarity of 0.99 on average. They are called the same
if no target keeps them apart, the loss has fallen, and it would be as low if they were exactly the same."""
LOSS_UNCHANGED = 0.01
"""Outputs may be replaced by their means if that raises the loss by less than this share of it."""
MOVED_FAR = 1.0
"""Weights that have moved farther than this multiple of their initial norm were not shrunk by weight decay, but thrown
far off by the steps."""


def collapsed(evidence: Evidence) -> Finding | None:
    """Return the finding "collapsed" if the outputs next to the loss have become one vector for all samples.

    It is a note until the trials have shown no way out, and until it is known that the data are not to blame: a run
    whose inputs tell nothing about its targets rightly predicts one constant. Nothing is found if the loss is below a
    tenth of its start, since constant outputs have then solved the task; but a loss that compares outputs with each
    other is lowest where they are all the same.
    """
    outputs, start = evidence.get(Outputs), evidence.get(StartingPoint)
    if outputs is None or evidence.get(Plateau) is None or not _means_do_as_well(evidence, outputs):
        return None
    use = evidence.get(InputUse)
    level = None
    if start is not None:
        constant = None if outputs.best_constant is None else outputs.best_constant.constant
        level = LossLevel(start.loss, start.now, start.now, floor=floor_of(evidence), constant=constant)
    solved = level is not None and level.solved and not (use is not None and use.unpaired)
    if solved or (use is not None and use.paired and has_learned(evidence)):
        return None
    if not _spread_lost(outputs) and not _lowered_by_sameness(evidence, outputs):
        return None
    cause, why = _cause_of_collapse(evidence, outputs)
    sentence = " ".join([*_sentences(evidence, outputs), *([why] if why else [])])
    return Finding("collapsed", cause, sentence, _advice(evidence, outputs), _weight_of(evidence))


def _sentences(evidence: Evidence, outputs: Outputs) -> list[str]:
    """Return what was measured of a collapse."""
    layers = ", ".join(dict.fromkeys(spread.layer for spread in outputs.spreads))
    if _spread_lost(outputs):
        at_start = f"{outputs.spread_at_start:.2g} at the initial weights"
        differ = f"the outputs of {layers} differ by {outputs.largest_spread:.1g} of their size (by {at_start})"
        if not outputs.largest_spread:
            differ = f"the outputs of {layers} are the same for all of them (they differed by {at_start})"
    else:
        differ = f"the directions of the outputs of {layers} differ by {outputs.largest_direction:.1g}"
    sentences = [
        f"All outputs have collapsed to one vector: between {outputs.samples} samples, {differ}, and the loss stays as "
        f"low as {outputs.loss:.4g} if each output is replaced by their mean."
    ]
    activity = evidence.get(Activity)
    if outputs.same_from is not None and outputs.same_from not in layers:
        sentences.append(f"The samples are the same from {outputs.same_from} on.")
    if activity is not None and _dead(evidence):
        sentences.append(f"In {activity.dead_layer} {activity.dead:.0%} of the units are zero on all samples.")
    if _lowered_by_sameness(evidence, outputs):
        sentences.append("The loss uses no targets, and identical outputs have lowered it.")
    if outputs.targets_agree is not None and outputs.targets_agree >= TARGETS_AGREE:
        sentences.append(
            "The inputs do help predict the targets: samples with similar outputs at the initial weights have similar "
            f"targets ({outputs.targets_agree:.0f} standard errors more than by chance)."
        )
    return sentences


def _without_targets(evidence: Evidence, outputs: Outputs) -> bool:
    """Return whether the loss depends on the inputs alone, and no loss function with a target was seen."""
    use = evidence.get(InputUse)
    return use is not None and use.unpaired and outputs.best_constant is None


def _lowered_by_sameness(evidence: Evidence, outputs: Outputs) -> bool:
    """Return whether a loss without targets has clearly fallen, and the directions of the outputs are nearly the same.

    A contrastive loss also begins with outputs that are nearly the same, but has not fallen then.
    """
    start, level, direction = evidence.get(StartingPoint), evidence.get(LossLevel), outputs.largest_direction
    if start is None or level is None or level.spread is None or direction is None or direction >= SPREAD_SMALL:
        return False
    return _without_targets(evidence, outputs) and start.loss - start.now > FALL_IN_STANDARD_DEVIATIONS * level.spread


def _spread_lost(outputs: Outputs) -> bool:
    """Return whether the outputs are one vector now and differed at the start.

    Outputs that began near zero may have a larger mean now, and differ as they did before: that is a saddle.
    """
    now, start, of_start = outputs.largest_spread, outputs.spread_at_start, outputs.largest_of_start
    if now is None or start is None or of_start is None or of_start >= SPREAD_LOST:
        return False
    return now < SPREAD_NONE and now < SPREAD_LOST * start


def _means_do_as_well(evidence: Evidence, outputs: Outputs) -> bool:
    """Return whether the loss hardly rises if the outputs are replaced by their means.

    The rise must be small against the loss and, since a constant may be added to the loss, against the spread of single
    batches as well, or else against the whole fall since the start.
    """
    level, start = evidence.get(LossLevel), evidence.get(StartingPoint)
    if outputs.loss_of_means is None:
        return False
    rise = outputs.loss_of_means - outputs.loss
    fall = 0.0 if start is None else abs(start.loss - start.now)
    spread = level.spread if level is not None and level.spread is not None else 0.0
    return rise <= LOSS_UNCHANGED * abs(outputs.loss) and rise <= max(spread, LOSS_UNCHANGED * fall)


def _weight_of(evidence: Evidence) -> Weight:
    """Return "evidence" if the run cannot leave this state by itself and the data would allow it to learn."""
    trials = evidence.get(Trials)
    if trials is None or not _data_allow(evidence):
        return "note"
    # Near the lowest possible loss, a large share of what is left is next to nothing.
    stays = trials.best <= GAIN_CLEAR or way_to_go(evidence, trials.best) < WAY_TO_GO_SMALL
    return "evidence" if stays else "note"


def _data_allow(evidence: Evidence) -> bool:
    """Return whether it is known that the inputs tell the targets, or that there are no targets.

    Similar samples have similar targets, or a run from other initial weights does better.
    """
    outputs, use, restart = evidence.get(Outputs), evidence.get(InputUse), evidence.get(Restart)
    if use is not None and use.unpaired:
        return True
    if outputs is not None and outputs.targets_agree is not None and outputs.targets_agree >= TARGETS_AGREE:
        return True
    return restart is not None and restart.gain >= GAIN_OF_RESTART


def _cause_of_collapse(evidence: Evidence, outputs: Outputs) -> tuple[Cause, str]:
    """Return `learning_rate_too_large` with what shows it, in a sentence; `flat_region` where nothing does.

    Where a layer is dead, only its first steps can show that the rate killed it: any later event may have.
    """
    updates, trials, rise = evidence.get(UpdateStatistics), evidence.get(Trials), rise_of_first_steps(evidence)
    too_large = Cause.LEARNING_RATE_TOO_LARGE
    if rise > RISE_OF_FIRST_STEPS:
        return too_large, f"The first steps had raised the loss {rise:.2g}-fold."
    if _dead(evidence):
        return Cause.FLAT_REGION, ""
    if updates is not None and (updates.travelled or 0.0) > TRAVEL_LARGE:
        return (
            too_large,
            f"Over 5% of the run the updates add up to {updates.travelled:.2g} times the norm of the weights.",
        )
    if trials is not None and trials.smaller_steps - max(0.0, trials.own) > GAIN_CLEAR:
        return too_large, f"Shorter steps on a copy lower the loss by {trials.smaller_steps:.0%}."
    if outputs.moved is not None and outputs.moved > MOVED_FAR:
        return too_large, f"The steps have moved the weights by {outputs.moved:.2g} times their initial norm."
    return Cause.FLAT_REGION, ""


def _dead(evidence: Evidence) -> bool:
    """Return whether nearly all units of a layer are zero on every sample."""
    activity = evidence.get(Activity)
    return activity is not None and activity.dead >= UNITS_DEAD


def _advice(evidence: Evidence, outputs: Outputs) -> str:
    """Return what to do about a collapse, which depends on what the loss compares."""
    smaller = (
        "start again with a learning rate ten times smaller, or with a warm-up, since no step leads out of a collapse; "
    )
    if _without_targets(evidence, outputs):
        return (
            f"{smaller}and keep the outputs apart by what the method needs for that: `nn.BatchNorm1d(width)` after the "
            "linear layers of the heads, `.detach()` on the target branch, or negative pairs."
        )
    if outputs.best_constant is None:
        return (
            f"{smaller}`nn.BatchNorm1d(width)` in the head keeps the outputs apart. A triplet loss on the hardest "
            "triplets rewards a collapse: begin with the mean over all triplets, or with semi-hard ones."
        )
    return f"{smaller}normalisation layers such as `nn.BatchNorm1d(width)` keep the outputs apart."


def constant_prediction(evidence: Evidence) -> Finding | None:
    """Return the note "constant-prediction" if the loss is not below that of the best constant prediction."""
    outputs, plateau = evidence.get(Outputs), evidence.get(Plateau)
    best = None if outputs is None else outputs.best_constant
    if plateau is None or outputs is None or best is None or beats_constant(evidence) is not False:
        return None
    how_well, use = "better" if best.constant < best.loss / 2 else "about as well", evidence.get(InputUse)
    advice = (
        "look at some samples as `training_step` gets them, each input beside its target. Only a "
        f"`F.{best.function}` clearly below {best.constant:.4g} shows that the model uses its inputs."
    )
    if use is not None and use.unpaired:
        advice = (
            "Log each term of the loss alone: one that draws the codes of all inputs together, such as the KL "
            "divergence of a VAE, may outweigh the rest. Give it a smaller weight, or one that grows from 0; and where "
            f"it is summed, sum the others as well: `F.{best.function}(output, x, reduction='sum') / len(x)`."
        )
    return Finding(
        "constant-prediction",
        Cause.UNDECIDED,
        f"A prediction that ignores the inputs would do {how_well}: {best.prediction} as the prediction for every "
        f"sample gives a {best.function} of about {best.constant:.4g}; on {outputs.samples} samples the model has "
        f"{best.loss:.4g}.",
        advice,
        "note",
    )


def saturated_softmax(evidence: Evidence) -> Finding | None:
    """Return the finding "saturated-softmax" if nearly all rows of a softmax in the network have a probability of 1.

    It is a note until the trials have shown no way out, and until it is known that the data are not to blame.
    """
    outputs = evidence.get(Outputs)
    if outputs is None or evidence.get(Plateau) is None or outputs.saturated_softmax < ACTIVATIONS_SATURATED:
        return None
    if has_learned(evidence) or share_of_start(evidence) <= SHARE_OF_START_HIGH:
        return None
    if _dead(evidence):
        return None
    start = outputs.softmax_at_start
    before = "" if start is None else f" (at the initial weights, in {start:.0%})"
    return Finding(
        "saturated-softmax",
        Cause.FLAT_REGION,
        f"The softmax in {outputs.softmax_layer} is saturated: in {outputs.saturated_softmax:.0%} of its rows one "
        f"probability is 1 up to rounding{before}, so no gradient reaches the layers before it.",
        "divide the scores by the root of their width, `q @ k.mT / q.shape[-1] ** 0.5`, and normalise what they are "
        "computed from, for example with `nn.LayerNorm`. Look at the sign of a mask: `masked_fill(mask, -torch.inf)` "
        "hides an entry, a large positive number selects it.",
        _weight_of(evidence),
    )
