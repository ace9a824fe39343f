"""What is advised: the trials that lowered the loss, or else what helps in general."""

from __future__ import annotations

import math

import pytest

from lightning_landscape.diagnosis.advice import (
    HOW_TO,
    NOT_ADVISED,
    RESTARTS,
    WORDS,
    advice,
    change,
    ranked,
    trials_sentence,
)
from lightning_landscape.diagnosis.particular_advice import (
    against_dead_units,
    against_saturated_units,
    against_vanishing_gradients,
)
from lightning_landscape.diagnosis.thresholds import GAIN_ADVISED
from lightning_landscape.evidence import (
    CAUSES,
    Activity,
    Alternatives,
    Cause,
    Curvature,
    Evidence,
    GradientScale,
    LossLevel,
    Restart,
    RestartedRun,
    Schedule,
    Trials,
    Verdict,
)
from lightning_landscape.evidence.trials import RATE_FACTORS


def trials(**gains: float) -> Trials:
    named = {name.replace("_", " "): gain for name, gain in gains.items()}
    return Trials(named, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64, batches=8)


def curvature(followed: float | None) -> Curvature:
    return Curvature(-1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 9, "double backward", None, 9, 64, None, followed)


def test_without_any_trial_the_advice_is_general():
    assert advice(Cause.SADDLE_POINT, Evidence()) == CAUSES[Cause.SADDLE_POINT].advice


def test_trials_that_gained_are_advised_the_best_first_with_their_steps():
    evidence = Evidence(
        trials(adam=0.5, this_optimizer=0.0, line_search=0.9),
        Alternatives({"a perturbation": 0.3, "batch x4": 0.01}, steps=20, batches=8),
        Restart(0.8, 1, 300, own=RestartedRun(0.8, 300, 300)),
    )
    assert advice(Cause.SADDLE_POINT, evidence).splitlines() == [
        "another initialisation, `seed_everything(...)`: lowers the loss by 80% in 300 steps on a copy of the run.",
        "Adam at a learning rate of 0.01, `torch.optim.Adam(self.parameters(), lr=0.01)`: lowers the loss by 50% in 40 "
        "steps on a copy of the run.",
        "a random perturbation, `LandscapeMonitor(remedies=[Perturb()])`: lowers the loss by 30% in 20 steps on a copy "
        "of the run.",
    ]


def test_a_trial_at_another_rate_gives_that_rate_as_code():
    schedule = Schedule(learning_rate=1e-3, peak=0.1, elapsed=0.5, median=0.1)
    restart = Restart(-0.5, 1, 100, tenth=RestartedRun(0.6, 60, 60))
    lines = advice(
        Cause.LEARNING_RATE_TOO_SMALL,
        Evidence(trials(this_optimizer=0.0, learning_rate_x10=0.7), restart, schedule),
    ).splitlines()
    assert lines[0].startswith("ten times the learning rate, `lr=0.01`: lowers the loss by 70%")
    assert lines[1].startswith(
        "a tenth of the learning rate from the initial weights, `lr=0.01`: lowers the loss by 60%"
    )


def test_dead_saturated_and_vanishing_each_have_their_own_advice_which_names_the_layer():
    groups = GradientScale(1.0, 1.0, {"net.0": 1e-9, "net.2": 1.0, "net.4": 1.0})
    units = Activity(dead=1.0, dead_layer="net.3", saturated=1.0, saturated_layer="act", layers=2, samples=160)
    known = Evidence(groups, units)
    assert "re-initialise `net.2`, the layer before it" in against_dead_units(known)
    assert "`nn.LeakyReLU()` in place of `net.3`" in against_dead_units(known)
    assert "inputs of `act`: `nn.LayerNorm(width)` before it" in against_saturated_units(known)
    assert "for the layer before it." in against_saturated_units(known)
    assert "between `net.0` and `net.4`" in against_vanishing_gradients(known)


def test_what_helped_comes_before_what_helps_in_particular_and_both_before_the_general_advice():
    evidence = Evidence(trials(adam=0.5, this_optimizer=0.0))
    lines = advice(Cause.FLAT_REGION, evidence, particular="mend it.").splitlines()
    assert lines[0].startswith("Adam at a learning rate of 0.01")
    assert lines[1:] == ["mend it."]
    assert advice(Cause.FLAT_REGION, Evidence(), particular="mend it.") == "mend it."


@pytest.mark.parametrize(
    ("known", "words", "not_words"),
    [
        ((LossLevel(2.0, 0.1, 0.2), trials(adam=0.0)), "best weights so far, which had a loss of 0.1", "stop here"),
        ((LossLevel(2.0, 0.1, 0.1),), "none was tried on a copy of this run", "stop here"),
        ((LossLevel(2.0, 0.1, 0.1), trials(adam=0.0)), "if the loss is low enough, stop here", "best weights"),
    ],
)
def test_a_settled_run_is_called_done_only_at_its_best_and_after_tests(known, words, not_words):
    text = advice(Cause.SETTLED, Evidence(*known))
    assert words in text
    assert not_words not in text


def test_only_new_weights_with_the_optimizer_of_the_run_are_advised_as_another_initialisation():
    better = RestartedRun(0.8, 300, 120)
    adam = advice(Cause.POOR_MINIMUM, Evidence(trials(this_optimizer=0.0), Restart(0.8, 1, 300, adam=better)))
    assert adam.startswith(
        "Adam at a learning rate of 0.01 from new weights, `torch.optim.Adam(self.parameters(), lr=0.01)`: lowers the "
        "loss by 80% in 120 steps"
    )
    assert "initialisation" not in adam
    worse = Restart(0.8, 1, 300, own=RestartedRun(0.05, 100, 100), adam=better)
    assert "initialisation" not in advice(Cause.POOR_MINIMUM, Evidence(trials(this_optimizer=0.0), worse))
    before_kinds = Restart(gain=0.8, seeds=1, steps=300)
    assert advice(Cause.POOR_MINIMUM, Evidence(before_kinds)).startswith("Adam at a learning rate of 0.01 from new")


def test_a_smaller_rate_from_the_initial_weights_is_advised_as_that():
    restart = Restart(-0.5, 1, 100, own=RestartedRun(-0.5, 100, 12), tenth=RestartedRun(0.4, 60, 60))
    text = advice(Cause.LEARNING_RATE_TOO_LARGE, Evidence(trials(this_optimizer=0.0), restart))
    assert text.startswith("a tenth of the learning rate from the initial weights: lowers the loss by 40% in 60")


def test_a_restart_is_not_advised_where_going_on_for_as_long_gains_as_much():
    own, on = RestartedRun(0.5, 100, 100), RestartedRun(0.4, 100, 100)
    evidence = Evidence(trials(this_optimizer=0.1), Restart(0.5, 1, 100, own=own, going_on=on))
    assert advice(Cause.POOR_MINIMUM, evidence) == CAUSES[Cause.POOR_MINIMUM].advice


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ("x0.01", "a hundredth"),
        ("x0.1", "a tenth"),
        ("x10", "ten times"),
        ("x100", "a hundred"),
        ("x1000", "a thousand"),
    ],
)
def test_every_rate_of_the_ladder_has_words(rate, words):
    evidence = Evidence(Trials({"this optimizer": 0.0, f"learning rate {rate}": 0.7}, 40, 0.01, 0.0, 64))
    assert advice(Cause.LEARNING_RATE_TOO_SMALL, evidence).startswith(words)


@pytest.mark.parametrize(("excess", "advised"), [(-1e-6, False), (1e-6, True)])
def test_a_gain_counts_from_the_gain_of_the_unchanged_run(excess, advised):
    evidence = Evidence(trials(adam=0.2 + GAIN_ADVISED + excess, this_optimizer=0.2))
    assert (advice(Cause.SLOW, evidence) != CAUSES[Cause.SLOW].advice) is advised


def test_the_step_along_negative_curvature_names_its_remedy():
    text = advice(Cause.SADDLE_POINT, Evidence(trials(this_optimizer=0.0), curvature(followed=0.6)))
    assert 'direction="lambda_min"' in text
    assert "lowers the loss by 60%" in text


@pytest.mark.parametrize("cause", [Cause.NOT_UPDATING, Cause.NOTHING_TO_LEARN, Cause.DIVERGED, Cause.SETTLED])
def test_a_cause_that_no_step_removes_is_not_answered_with_a_step(cause):
    assert advice(cause, Evidence(trials(adam=0.9, this_optimizer=0.0))) == CAUSES[cause].advice


def test_the_result_of_every_trial_is_given_with_steps_and_batches():
    restart = Restart(0.1, 2, 300, own=RestartedRun(0.1, 300, 150), tenth=RestartedRun(-0.2, 60, 60))
    evidence = Evidence(trials(adam=0.5, this_optimizer=-0.02), restart, curvature(0.3))
    assert trials_sentence(evidence) == (
        "40 steps each of a copy of the run on 8 batches, scored on other batches: Adam at a learning rate of 0.01 "
        "lowers the loss by 50%; a step along the most negative curvature lowers the loss by 30%; the run's own "
        "optimizer raises the loss by 2%; another initialisation in 150 steps lowers the loss by 10%; a tenth of the "
        "learning rate from the initial weights in 60 steps raises the loss by 20%."
    )
    assert trials_sentence(Evidence()) == ""


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({"adam": 0.2, "my trial": 0.0}, "my trial leaves the loss as it is."),
        ({"adam": 0.5, "my trial": 0.0}, "lowers the loss by 50%; my trial leaves the loss as it is."),
        ({"a": 0.0, "b": 0.0, "c": 0.0, "d": -0.1}, "d raises the loss by 10%; a, b and c leave the loss as it is."),
    ],
)
def test_trials_that_change_nothing_are_named_together(gains, words):
    trials = Trials(gains, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64)
    assert trials_sentence(Evidence(trials)).endswith(words)


def test_where_nothing_changed_the_loss_one_sentence_says_so():
    trials = Trials({"batch x4": 0.004, "my trial": 0.0}, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64)
    assert trials_sentence(Evidence(trials)) == (
        "nothing changed the loss: a batch four times as large and my trial, for 40 steps each of a copy of the run on "
        "1 batch, scored on other batches."
    )


def test_where_nothing_lowered_the_loss_one_sentence_says_so_with_the_largest_rise():
    gains = {"batch x4": -0.02, "adam": 0.0, "my trial": -0.04}
    trials = Trials(gains, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64)
    assert trials_sentence(Evidence(trials)) == (
        "nothing lowered the loss, and it rose by at most 4%: Adam at a learning rate of 0.01, a batch four times as "
        "large and my trial, for 40 steps each of a copy of the run on 1 batch, scored on other batches."
    )


def test_a_trial_whose_loss_is_not_finite_ranks_last():
    evidence = Evidence(trials(adam=0.1, learning_rate_x10=-math.inf))
    assert ranked(evidence)[-1][0] == "learning rate x10"
    assert "ten times the learning rate makes the loss infinite or NaN" in trials_sentence(evidence)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.005, "lowers the loss by 0%"),
        (0.0049, "leaves the loss as it is"),
        (-0.0049, "leaves the loss as it is"),
        (-0.03, "raises the loss by 3%"),
        (1.5, "lowers the loss by 150%"),
        (20.0, "lowers the loss by 20 times its value"),
        (-9.9, "raises the loss by 990%"),
        (-10.0, "raises the loss 11-fold"),
        (-959.0, "raises the loss 960-fold"),
        (-1e9, "raises the loss more than a million-fold"),
        (-math.inf, "makes the loss infinite or NaN"),
        (math.nan, "makes the loss infinite or NaN"),
    ],
)
def test_a_change_of_the_loss_is_given_in_words(gain, words):
    assert change(gain) == words


def test_every_trial_has_words():
    assert set(WORDS) >= {"adam", "learning rate x3", "batch x4", "a perturbation", *RATE_FACTORS, *RESTARTS.values()}
    assert set(WORDS) >= {*HOW_TO, *NOT_ADVISED}
    assert all(not text.endswith(".") for text in WORDS.values())


def test_a_verdict_that_is_no_alarm_says_perhaps_stuck():
    def title(cause, stuck):
        return Verdict(cause, 203, 90, stuck=stuck, reason="Flat.").title

    assert title(Cause.SADDLE_POINT, stuck=True) == "stuck at a saddle point"
    assert title(Cause.SADDLE_POINT, stuck=False) == "perhaps stuck at a saddle point"
    assert title(Cause.SETTLED, stuck=False) == "settled"


@pytest.mark.parametrize("cause", Cause)
def test_no_advice_names_a_logger_that_the_run_may_not_have(cause):
    all_trials = Evidence(trials(adam=0.9, line_search=0.8, this_optimizer=0.0), curvature(0.5))
    for evidence in (Evidence(), all_trials):
        assert not any(name in advice(cause, evidence) for name in ("TensorBoard", "W&B", "MLflow", "Comet"))


@pytest.mark.parametrize(
    ("cause", "tried"),
    [
        (Cause.LEARNING_RATE_TOO_SMALL, "learning rate x10"),
        (Cause.SLOW, "learning rate x10"),
        (Cause.LEARNING_RATE_TOO_LARGE, "learning rate x0.1"),
        (Cause.SADDLE_POINT, "a perturbation"),
    ],
)
def test_what_a_trial_has_shown_to_raise_the_loss_is_not_advised(cause, tried):
    evidence = Evidence(Trials({"this optimizer": 0.0, tried: -0.4}, 40, 0.01, 0.0, 64, 8))
    first, *rest = CAUSES[cause].advice.splitlines()
    assert rest
    assert advice(cause, evidence).splitlines() == rest
    assert f"{WORDS[tried]} raises the loss by 40%" in trials_sentence(evidence)
    slower = Evidence(Trials({"this optimizer": 0.66, tried: 0.43}, 40, 0.01, 0.0, 64, 8))  # it would fall less
    assert first not in advice(cause, slower)
    harmless = Evidence(Trials({"this optimizer": 0.0, tried: -0.1}, 40, 0.01, 0.0, 64, 8))
    assert advice(cause, harmless) == CAUSES[cause].advice
