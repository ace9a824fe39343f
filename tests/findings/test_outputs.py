"""Findings on the outputs of a network: from evidence, and from runs that have them and their mended siblings."""

from dataclasses import replace

import lightning as L
import pytest
import torch
from torch import nn

from lightning_landscape.diagnosis import diagnose
from lightning_landscape.diagnosis.findings.outputs import collapsed, constant_prediction, saturated_softmax
from lightning_landscape.evidence import (
    BestConstant,
    Cause,
    Evidence,
    InputUse,
    LossLevel,
    Outputs,
    OutputSpread,
    Plateau,
    Restart,
    StartingPoint,
    Trials,
    UpdateStatistics,
)
from tests.findings.examples import alarms, example, fit_example, fitted, notes

PAGE = "outputs.md"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cause"),
    [("collapsed", Cause.LEARNING_RATE_TOO_LARGE), ("saturated-softmax", Cause.FLAT_REGION)],
)
def test_a_broken_run_is_told_the_finding_and_its_mended_sibling_nothing(name, cause, without_pictures):
    broken, mended = (fit_example(PAGE, name, built, steps=200) for built in ("broken", "mended"))
    assert (broken.verdict.finding.name, broken.verdict.cause) == (name, cause)
    assert alarms(broken) == [name]
    assert alarms(mended) == []
    assert name not in mended.report


@pytest.mark.slow
def test_a_run_that_is_no_better_than_a_constant_has_a_note_in_its_report(without_pictures):
    broken, mended = (fit_example(PAGE, "constant-prediction", built, steps=100) for built in ("broken", "mended"))
    assert broken.verdict.finding is None
    assert "[LL209 constant-prediction] A prediction that ignores the inputs would do about as well" in notes(broken)
    assert "constant-prediction" not in mended.report


@pytest.mark.slow
def test_a_loss_with_the_wrong_sign_that_the_trace_does_not_know_is_not_called_healthy(without_pictures):
    broken, mended = (fit_example(PAGE, "no-lowest-loss", built, steps=400) for built in ("broken", "mended"))
    assert "no-lowest-loss" in notes(broken) or "no-lowest-loss" in {
        v.finding.name for v in broken.verdicts if v.finding
    }
    assert "healthy" not in broken.report
    assert "no-lowest-loss" not in mended.report
    assert alarms(mended) == []


@pytest.mark.slow
def test_a_run_whose_labels_are_shuffled_has_not_collapsed_for_want_of_a_learning_rate(without_pictures):
    class Triplets(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))

        def training_step(self, batch, batch_idx):
            inputs, labels = batch
            outputs = self.net(inputs)
            distances = ((outputs[:, None] - outputs).square().sum(-1) + 1e-12).sqrt()
            same = labels[:, None] == labels
            return nn.functional.relu(
                (distances * same).amax(1) - distances.masked_fill(same, 1e9).amin(1) + 1.0
            ).mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.1)

    torch.manual_seed(0)
    names = example(PAGE, "collapsed")
    shuffled = names["labels"][torch.randperm(512)]
    monitor = fitted(Triplets(), names["loader"](names["inputs"], shuffled), steps=100)
    reading = monitor.verdict.evidence.get(Outputs)
    assert reading.largest_spread == 0
    assert reading.targets_agree < 5
    assert all(verdict.finding is None for verdict in monitor.verdicts)


COLLAPSED = Evidence(
    Plateau(step=80, since=30),
    LossLevel(start=0.51, best=0.5, now=0.5, spread=1e-3),
    StartingPoint(loss=0.51, now=0.5, batches=2),
    UpdateStatistics(update_ratio=1e-3, travelled=0.1, no_grad_share=0.0, not_in_optimizer=0.0),
    InputUse(loss=0.5, shuffled=0.5, moved=1e-5, varied=True, targets=("1",)),
    Trials({"adam": 0.0, "this optimizer": 0.0}, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64),
    Outputs(
        (OutputSpread("net.2", now=1e-4, start=0.05, direction=1e-4, of_start=1e-3),),
        samples=128,
        loss=0.5,
        loss_of_means=0.5,
        moved=1.6,
        targets_agree=29.0,
    ),
)


def seen(evidence=COLLAPSED, **changes):
    return evidence.including(replace(evidence.get(Outputs), **changes))


def test_outputs_that_have_become_one_vector_are_a_collapse():
    finding = collapsed(COLLAPSED)
    assert (finding.weight, finding.cause) == ("evidence", Cause.LEARNING_RATE_TOO_LARGE)
    assert "the outputs of net.2 differ by 0.0001 of their size (by 0.05 at the initial weights)" in finding.sentence
    assert "moved the weights by 1.6 times their initial norm" in finding.sentence
    assert "learning rate ten times smaller" in finding.advice
    assert diagnose(COLLAPSED).finding == finding


def test_outputs_that_are_exactly_equal_do_not_differ_by_0():
    equal = replace(COLLAPSED.get(Outputs).spreads[0], now=0.0)
    words = "the outputs of net.2 are the same for all of them (they differed by 0.05 at the initial weights)"
    assert words in collapsed(seen(spreads=(equal,))).sentence


@pytest.mark.parametrize(
    "near_miss",
    [
        seen(spreads=(OutputSpread("net.2", now=0.02, start=0.5, of_start=0.01),)),
        seen(spreads=(OutputSpread("net.2", now=1e-3, start=0.9, of_start=0.8),)),  # only the mean has grown
        seen(spreads=(OutputSpread("net.2", now=1e-4, start=2e-4, of_start=0.1),)),  # one vector from the start
        seen(spreads=(OutputSpread("net.2", now=1e-4),)),  # the start is not known
        seen(spreads=(OutputSpread("a", 1e-4, 0.5, of_start=1e-3), OutputSpread("b", 0.4, 0.5, of_start=0.1))),
        seen(loss_of_means=0.6),  # small differences that the loss needs
        seen(loss_of_means=None),
        COLLAPSED.including(InputUse(loss=0.5, shuffled=0.6, moved=0.2, varied=True, targets=("1",))),
        COLLAPSED.including(StartingPoint(loss=0.51, now=0.01, batches=2)),  # constant targets, learned
    ],
)
def test_no_collapse(near_miss):
    assert collapsed(near_miss) is None


def without(kind, evidence=COLLAPSED):
    return Evidence(*(reading for reading in evidence if not isinstance(reading, kind)))


def test_there_is_no_collapse_before_the_loss_stands_still():
    assert collapsed(without(Plateau)) is None


@pytest.mark.parametrize(
    "open_question",
    [
        without(Trials),
        COLLAPSED.including(replace(COLLAPSED.get(Trials), gains={"adam": 0.3})),  # Adam finds a way out
        seen(targets_agree=None),  # a constant may be the best prediction
        seen(targets_agree=1.2),
        seen(targets_agree=1.2).including(Restart(gain=0.0, seeds=2, steps=300)),
    ],
)
def test_a_collapse_that_the_data_or_a_saddle_may_explain_is_a_note(open_question):
    assert collapsed(open_question).weight == "note"


def test_a_restart_that_does_better_shows_that_the_data_allow_it():
    assert collapsed(seen(targets_agree=1.2).including(Restart(gain=0.3, seeds=2, steps=300))).weight == "evidence"


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (LossLevel(start=5.1, best=0.5, now=0.5, spread=1e-3), "first steps had raised the loss 10-fold"),
        (replace(COLLAPSED.get(UpdateStatistics), travelled=2.0), "updates add up to 2 times"),
        (replace(COLLAPSED.get(Trials), gains={"learning rate x0.1": 0.14}), None),
    ],
)
def test_the_cause_is_a_large_learning_rate_only_if_something_shows_it(shown, words):
    finding = collapsed(seen(moved=0.9).including(shown))
    assert finding.cause is (Cause.FLAT_REGION if words is None else Cause.LEARNING_RATE_TOO_LARGE)
    assert words is None or words in finding.sentence


SAMENESS = COLLAPSED.including(
    StartingPoint(loss=0.03, now=-0.999, batches=2),
    LossLevel(start=-0.6, best=-0.999, now=-0.999, spread=1e-3),
    replace(COLLAPSED.get(InputUse), targets=(), paired=False),
    replace(
        COLLAPSED.get(Outputs),
        spreads=(OutputSpread("f", now=0.3, start=0.3, direction=0.02),),
        loss=-0.999,
        loss_of_means=-1.0,
        targets_agree=None,
    ),
)


def test_a_loss_without_targets_that_identical_outputs_have_lowered_is_a_collapse():
    finding = collapsed(SAMENESS)
    assert finding.weight == "evidence"
    assert "the directions of the outputs of f differ by 0.02" in finding.sentence
    assert ".detach()" in finding.advice


@pytest.mark.parametrize(
    "near_miss",
    [
        SAMENESS.including(StartingPoint(loss=-0.998, now=-0.999, batches=2)),  # contrastive: nothing has fallen yet
        seen(SAMENESS, spreads=(OutputSpread("f", now=0.9, start=0.8, direction=0.9),)),
        seen(SAMENESS, spreads=(OutputSpread("f", now=0.3, start=0.3),)),  # one unit has no direction
        seen(SAMENESS, best_constant=BestConstant("mse_loss", loss=1.0, constant=1.0)),
        seen(SAMENESS, loss_of_means=-0.5),
    ],
)
def test_no_collapse_of_a_loss_without_targets(near_miss):
    assert collapsed(near_miss) is None


SATURATED = COLLAPSED.including(
    LossLevel(start=1.4, best=1.38, now=1.39, spread=0.03),
    StartingPoint(loss=1.4, now=1.39, batches=2),
    Outputs(
        (OutputSpread("net", now=0.5, start=0.5),),
        samples=128,
        loss=1.39,
        targets_agree=13.0,
        saturated_softmax=0.95,
        softmax_layer="attention",
        softmax_at_start=0.1,
    ),
)


def test_a_saturated_softmax_is_named_with_its_share_at_the_start():
    finding = saturated_softmax(SATURATED)
    assert (finding.weight, finding.cause) == ("evidence", Cause.FLAT_REGION)
    assert "softmax in attention is saturated: in 95% of its rows" in finding.sentence
    assert "(at the initial weights, in 10%)" in finding.sentence


@pytest.mark.parametrize(
    "near_miss",
    [
        seen(SATURATED, saturated_softmax=0.89),
        SATURATED.including(StartingPoint(loss=1.4, now=0.7, batches=2)),
        SATURATED.including(InputUse(loss=1.39, shuffled=1.6, moved=0.2, varied=True, targets=("1",))),
        without(Plateau, SATURATED),
    ],
)
def test_no_saturated_softmax(near_miss):
    assert saturated_softmax(near_miss) is None


def test_a_saturated_softmax_is_a_note_if_the_inputs_may_tell_nothing():
    assert saturated_softmax(seen(SATURATED, targets_agree=0.3)).weight == "note"


@pytest.mark.parametrize(("loss", "noted"), [(2.303, True), (2.4, True), (2.26, True), (2.2, False)])
def test_a_loss_that_is_not_below_the_best_constant_is_noted(loss, noted):
    finding = constant_prediction(seen(best_constant=BestConstant("cross_entropy", loss, constant=2.3)))
    assert (finding is not None) is noted
    assert not noted or ("the class shares" in finding.sentence and finding.weight == "note")


def test_a_constant_of_loss_0_is_not_noted():
    assert constant_prediction(seen(best_constant=BestConstant("mse_loss", 0.0, constant=0.0))) is None
    far_off = constant_prediction(seen(best_constant=BestConstant("mse_loss", 9e10, constant=2e8)))
    assert "would do better: " in far_off.sentence
