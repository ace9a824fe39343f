"""What is advised: what a trial has shown to help, or else what helps in general."""

from __future__ import annotations

import pytest

from lightning_landscape.diagnosis.advice import MEASURED, WORTH, advice, ranked, tried
from lightning_landscape.evidence import CAUSES, Alternatives, Cause, Curvature, Evidence, Restart, Trials, Verdict


def trials(**gains: float) -> Trials:
    named = {name.replace("_", " "): gain for name, gain in gains.items()}
    return Trials(named, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64, batches=8)


def curvature(followed: float | None) -> Curvature:
    return Curvature(-1.0, 1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 9, "double backward", None, 9, 64, None, followed)


def test_without_any_trial_the_advice_is_general():
    assert advice(Cause.SADDLE_POINT, Evidence()) == CAUSES[Cause.SADDLE_POINT].advice


def test_what_gained_is_advised_the_best_first_with_its_steps():
    known = Evidence(
        trials(adam=0.5, this_optimizer=0.0, line_search=0.9),
        Alternatives({"a perturbation": 0.3, "batch x4": 0.01}, steps=20, batches=8),
        Restart(gain=0.8, seeds=1, steps=300),
    )
    said = advice(Cause.SADDLE_POINT, known)
    assert said.startswith(
        "another initialisation: -80% in 300 steps; Adam at a learning rate of 0.01: -50% in 40 steps"
    )
    assert "remedies.Perturb()`): -30% in 20 steps" in said
    assert "accumulate_grad_batches" not in said  # it gained next to nothing
    assert "line search" not in said  # nobody can do that to a run


@pytest.mark.parametrize(("over", "measured"), [(-1e-6, False), (1e-6, True)])
def test_a_gain_counts_from_what_simply_going_on_gains(over, measured):
    known = Evidence(trials(adam=0.2 + WORTH + over, this_optimizer=0.2))
    assert (advice(Cause.SLOW, known) != CAUSES[Cause.SLOW].advice) is measured


def test_the_step_along_negative_curvature_names_its_remedy():
    said = advice(Cause.SADDLE_POINT, Evidence(trials(this_optimizer=0.0), curvature(followed=0.6)))
    assert "direction='lambda_min'" in said
    assert "-60%" in said


@pytest.mark.parametrize("cause", [Cause.NOT_UPDATING, Cause.NOTHING_TO_LEARN, Cause.DIVERGED, Cause.SETTLED])
def test_what_no_step_mends_is_not_answered_with_a_step(cause):
    assert advice(cause, Evidence(trials(adam=0.9, this_optimizer=0.0))) == CAUSES[cause].advice


def test_everything_that_was_tried_is_told_with_steps_and_batches():
    known = Evidence(trials(adam=0.5, this_optimizer=-0.02), Restart(gain=0.1, seeds=2, steps=300), curvature(0.3))
    assert tried(known) == (
        "Tried on a copy, 40 steps each on 8 batches, judged on others: adam -50%; along the most negative curvature "
        "-30%; this optimizer +2%; re-drawn weights -10% in 300 steps."
    )
    assert tried(Evidence()) == ""


def test_a_trial_that_was_lost_ranks_last_and_says_so():
    known = Evidence(trials(adam=0.1, learning_rate_x10=float("-inf")))
    assert ranked(known)[-1][0] == "learning rate x10"
    assert "learning rate x10 not finite" in tried(known)


def test_every_trial_that_can_be_repeated_has_words():
    assert set(MEASURED) >= {"adam", "learning rate x3", "batch x4", "a perturbation", "re-drawn weights"}
    assert all(not text.endswith(".") for text in MEASURED.values())


def test_what_is_no_alarm_is_called_stuck_only_perhaps():
    def title(cause, stuck):
        return Verdict(cause, 203, 90, stuck=stuck, reason="Flat.").title

    assert title(Cause.SADDLE_POINT, stuck=True) == "stuck at a saddle point"
    assert title(Cause.SADDLE_POINT, stuck=False) == "perhaps stuck at a saddle point"
    assert title(Cause.SETTLED, stuck=False) == "settled"


@pytest.mark.parametrize("cause", Cause)
def test_no_advice_sends_the_reader_to_a_logger_that_the_run_may_not_have(cause):
    everything = Evidence(trials(adam=0.9, line_search=0.8, this_optimizer=0.0), curvature(0.5))
    for known in (Evidence(), everything):
        assert not any(name in advice(cause, known) for name in ("TensorBoard", "W&B", "MLflow", "Comet"))
