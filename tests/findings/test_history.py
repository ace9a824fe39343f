"""What was learned and is lost, and weights that are put back: on evidence made by hand, and in runs of the docs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_landscape.diagnosis.findings import history
from lightning_landscape.evidence import (
    BeforeAndAfter,
    Cause,
    Evidence,
    LossLevel,
    Plateau,
    Trend,
    Trials,
    UpdateStatistics,
    WeightHistory,
)
from tests.findings.examples import alarms, fit_example

BASE = Evidence(
    Plateau(step=600, since=300),
    Trend(window=100, level=2.3, progress=0.0, margin=0.01, tolerance=0.012),
    LossLevel(start=2.3, best=0.3, now=2.2, start_spread=0.1, spread=0.1),
    UpdateStatistics(update_ratio=1e-3, travelled=0.1, no_grad_share=0.0, not_in_optimizer=0.0),
    WeightHistory(best_step=250, best_loss=0.3, since=320, steps=280, samples=7, reach=0.1, step_length=0.001),
)
DAMAGED = BeforeAndAfter(now=2.2, best=0.3, start=2.3, error=0.05, batches=8, moved=0.5)
DIED = replace(DAMAGED, dead=1.0, dead_at_best=0.2, dead_layer="net.1")


def trials(**gains):
    named = {name.replace("_", " "): gain for name, gain in gains.items()}
    return Trials(named, steps=40, relative_gradient=0.5, decay_pull=0.0, samples=64)


NOTHING = trials(this_optimizer=0.0)
FAST = replace(BASE.get(WeightHistory), fastest_step=280, fastest=40.0)


def test_units_that_died_make_a_flat_region_and_fast_steps_before_are_named():
    found = history.units_died(BASE.including(DIED, NOTHING, FAST))
    assert (found.cause, found.weight) == (Cause.FLAT_REGION, "evidence")
    assert "at step 250, 20% of them were" in found.sentence
    assert "40 times as fast" in found.sentence
    assert history.lost_midway(BASE.including(DIED, NOTHING, FAST)) is None


def test_units_that_died_without_large_steps_are_a_flat_region():
    found = history.units_died(BASE.including(DIED, NOTHING))
    assert found.cause is Cause.FLAT_REGION
    assert "times as fast" not in found.sentence


def test_what_was_learned_is_lost_if_the_best_weights_are_still_good():
    found = history.lost_midway(BASE.including(DAMAGED, NOTHING))
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_LARGE, "evidence")
    assert "a loss of 0.3 and the present ones one of 2.2" in found.sentence


RAISED = replace(BASE.get(WeightHistory), best_rate=0.01, rate=0.1)


@pytest.mark.parametrize(
    ("now", "rate", "is_found"),
    [(0.9, 0.1, True), (0.6, 0.1, False), (0.9, 0.015, False), (0.9, None, False)],
)
def test_a_smaller_loss_counts_if_the_learning_rate_has_risen_since(now, rate, is_found):
    found = history.lost_midway(BASE.including(replace(DAMAGED, now=now), NOTHING, replace(RAISED, rate=rate)))
    assert (found is not None) is is_found
    if found is not None:
        assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_LARGE, "evidence")
        assert "has lost 30% of what it had learned" in found.sentence
        assert "The learning rate was 0.01 then, and is 0.1 now." in found.sentence
        assert "does not rise above the 0.01 of that time" in found.advice


def test_a_constant_in_the_loss_does_not_matter():
    shifted = replace(DAMAGED, now=-497.8, best=-499.7, start=-497.7)
    assert history.lost_midway(BASE.including(shifted, NOTHING)).weight == "evidence"


@pytest.mark.parametrize(
    "before",
    [
        replace(DAMAGED, best=6.0),  # the data have changed
        replace(DAMAGED, now=1.2),  # less than half of it is lost
        replace(DAMAGED, now=0.3),
        replace(DAMAGED, error=0.8),  # chance
        replace(DAMAGED, start=None),
        replace(DAMAGED, now=0.5, best=0.3, start=0.5),  # hardly anything had been gained
        replace(DAMAGED, now=1e-4, best=1e-5),  # a run that has converged, and swings
    ],
)
def test_nothing_is_lost_otherwise(before):
    assert history.lost_midway(BASE.including(before, NOTHING)) is None
    assert history.units_died(BASE.including(replace(before, dead=1.0, dead_layer="net.1"), NOTHING)) is None


def test_it_is_a_note_while_the_run_finds_its_way_back():
    noisy = replace(BASE.get(Trend), margin=0.5)
    assert history.lost_midway(BASE.including(DAMAGED, trials(this_optimizer=0.3), noisy)).weight == "note"
    assert history.lost_midway(BASE.including(DAMAGED)).weight == "note"


HELD = replace(BASE.get(WeightHistory), reach=0.002)


def test_weights_that_stay_while_a_copy_gains_are_put_back():
    found = history.weights_put_back(BASE.including(HELD, trials(this_optimizer=0.25)))
    assert (found.name, found.cause) == ("weights-put-back", Cause.NOT_UPDATING)
    assert "2 lengths of a step" in found.sentence


@pytest.mark.parametrize(
    "readings",
    [
        (HELD, NOTHING),  # at a minimum
        (HELD, trials(this_optimizer=0.25, learning_rate_x0_1=0.0, mean_of_the_path=0.3)),  # it jumps to and fro
        (replace(HELD, reach=0.01), trials(this_optimizer=0.25)),  # a random walk
        (replace(HELD, steps=49), trials(this_optimizer=0.25)),  # too few steps to tell
        (replace(HELD, step_length=None), trials(this_optimizer=0.25)),
        (replace(HELD, reach=None), trials(this_optimizer=0.25)),
        (HELD, trials(this_optimizer=0.25), replace(BASE.get(Trend), progress=0.5)),  # the loss falls
        (HELD,),
    ],
)
def test_weights_are_not_put_back_where_other_reasons_are_possible(readings):
    assert history.weights_put_back(BASE.including(*readings)) is None


@pytest.mark.slow
@pytest.mark.parametrize("finding", ["units-died", "lost-midway", "weights-put-back"])
def test_the_failing_example_gets_the_finding_and_the_mended_one_no_alarm(finding, without_pictures):
    assert alarms(fit_example("history.md", finding, "broken", 600))[:1] == [finding]
    assert alarms(fit_example("history.md", finding, "mended", 600)) == []
