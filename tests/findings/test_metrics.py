"""Verdicts on metrics: on evidence made by hand, and in runs of the docs."""

import warnings
from dataclasses import replace

import lightning as L
import pytest
import torch

from lightning_landscape import PlateauMonitor
from lightning_landscape.diagnosis.findings.metrics import fresh_data_gain_nothing, memorises, sentence, stands_still
from lightning_landscape.evidence import Cause, Evidence, LossLevel, MetricTrend, Plateau, Verdict
from lightning_landscape.examination.watched_metrics import trend_of
from lightning_landscape.tracking.metric_history import MetricHistory
from tests.findings.examples import example

REWARD = MetricTrend(
    name="reward", rises=True, declared=True, values=80, first_step=5, step=4000, first=20.0, best=95.0, best_step=1500,
    now=94.0, gained=75.0, worse=0.0, since=1200, training_first=1.0, training_best=0.6, training_now=0.3, elapsed=0.8,
)  # fmt: skip
VALIDATION = MetricTrend(
    name="val_loss", rises=False, declared=False, values=40, first_step=99, step=4000, first=2.0, best=1.0,
    best_step=1000, now=1.12, gained=0.5, worse=0.12, since=900, training_first=2.1, training_best=0.9,
    training_now=0.7, elapsed=0.8,
)  # fmt: skip
LEVEL = LossLevel(start=2.3, best=0.3, now=0.3, start_spread=0.1, spread=0.05)


def evidence(metric, level=LEVEL):
    since = metric.step if metric.since is None else metric.since
    return Evidence(Plateau(metric.step, since), metric, *(() if level is None else (level,)))


def test_a_reward_that_has_risen_and_rests_is_said_without_an_alarm():
    verdict = stands_still(evidence(REWARD))
    assert (verdict.cause, verdict.stuck, verdict.since) == (Cause.UNDECIDED, False, 1200)
    assert str(verdict).startswith("[LL209 metric-stands-still] step 4000: reward has stopped rising since step 1200.")
    assert "`reward` has not risen beyond its noise since step 1200: it had come from 20 to 95" in verdict.reason
    assert "The training loss still fell, from 0.6 at step 1500 to 0.3." in verdict.reason


def test_a_reward_that_has_never_risen_is_an_alarm_after_a_third_of_the_run():
    never = replace(REWARD, gained=0.0, since=5, elapsed=0.5)
    assert stands_still(evidence(never)).stuck
    assert "reward has not risen" in stands_still(evidence(never)).title
    assert not stands_still(evidence(replace(never, elapsed=0.2))).stuck


def test_an_accuracy_that_is_first_measured_after_the_model_has_learned_is_no_alarm():
    late = replace(REWARD, name="val_acc", gained=0.0, since=900, first_step=900)
    assert not stands_still(evidence(late)).stuck
    assert stands_still(evidence(late, replace(LEVEL, best=2.25, now=2.28))).stuck


def test_a_reward_that_has_lost_what_it_had_gained_is_an_alarm():
    verdict = stands_still(evidence(replace(REWARD, now=30.0, worse=65.0, since=None)))
    assert verdict.stuck
    assert "87% of what it had gained is lost" in verdict.reason
    assert 'ModelCheckpoint(monitor="reward", mode="max")' in verdict.advice


def test_a_metric_that_still_improves_or_is_not_declared_does_not_stand_still():
    assert stands_still(evidence(replace(REWARD, since=None))) is None
    assert stands_still(evidence(replace(REWARD, declared=False))) is None
    assert stands_still(Evidence()) is None


def test_a_validation_loss_that_rises_while_training_falls_says_that_the_model_memorises():
    verdict = memorises(evidence(VALIDATION))
    assert (verdict.cause, verdict.stuck, verdict.since) == (Cause.SETTLED, False, 1000)
    assert verdict.title == "the model memorises its training data"
    assert "`val_loss` has risen by 12%, from 1 to 1.12" in verdict.reason
    assert "the training loss still fell, from 0.9 to 0.7" in verdict.reason


@pytest.mark.parametrize(
    "other",
    [
        replace(VALIDATION, worse=0.0),
        replace(VALIDATION, training_now=1.0),  # training rises as well
        replace(VALIDATION, worse=0.02, now=1.02),  # a small part of what was gained
        replace(VALIDATION, training_now=0.2),  # a small part of what training has gained meanwhile
    ],
)
def test_a_validation_loss_that_does_not_clearly_turn_says_nothing(other):
    assert memorises(evidence(other)) is None


def test_memorised_labels_gain_nothing_on_other_data():
    shuffled = replace(
        VALIDATION, first=2.32, best=2.29, best_step=99, now=4.0, gained=0.0, worse=1.7, training_first=2.2
    )
    verdict = fresh_data_gain_nothing(evidence(shuffled))
    assert (verdict.cause, verdict.stuck) == (Cause.NOTHING_TO_LEARN, False)
    assert "was never clearly below 2.3, the mean training loss of the first ten steps" in verdict.reason


def test_a_validation_loss_that_has_fallen_or_is_another_quantity_has_not_gained_nothing():
    assert fresh_data_gain_nothing(evidence(VALIDATION)) is None
    other = replace(VALIDATION, first=640.0, best=600.0, gained=0.0)
    assert fresh_data_gain_nothing(evidence(other)) is None
    unlearned = replace(LEVEL, now=2.25, best=2.2)
    assert fresh_data_gain_nothing(evidence(replace(VALIDATION, first=2.3, best=2.29), unlearned)) is None


def test_a_constant_in_the_losses_changes_no_verdict():
    for offset in (0.0, -5.0, 100.0):
        metric = replace(VALIDATION, **{
            name: getattr(VALIDATION, name) + offset
            for name in ("first", "best", "now", "training_first", "training_best", "training_now")
        })  # fmt: skip
        level = replace(LEVEL, start=2.3 + offset, best=0.3 + offset, now=0.3 + offset, floor=offset)
        assert memorises(evidence(metric, level)) is not None
        assert fresh_data_gain_nothing(evidence(metric, level)) is None


def test_a_metric_that_improves_or_has_no_clear_change_is_described_without_a_claim():
    assert "`reward` still rises: from 20 to 94" in sentence(replace(REWARD, since=None))
    unclear = replace(REWARD, since=None, gained=0.0, values=10)
    assert sentence(unclear) == "whether `reward` has changed cannot be told from its 10 values: 20 first, 94 now."


def test_a_metric_without_a_trend_is_said_to_have_changed_only_beyond_its_noise():
    first, now = 2.278, 632.1
    noisy = replace(VALIDATION, since=None, gained=0.0, worse=0.0, first=first, now=now, values=10, noise=4e4)
    assert sentence(noisy) == (
        "`val_loss` has not changed beyond its noise in 10 values: 2.278 first, 632.1 now, and a single value scatters "
        "by 4e+04."
    )
    assert sentence(replace(noisy, noise=30.0)) == "`val_loss` has risen from 2.278 to 632.1."


def test_the_noise_of_a_validation_loss_with_a_spike_is_known():
    history = MetricHistory("val_loss", declared=False, horizon=440)
    for step, value in enumerate([2.278, 1.4, 0.9812, 9e4, 1.4e5, 4e4, 9000.0, 2500.0, 1200.0, 632.1, 166.2]):
        history.update(44 * step, value)
    assert trend_of(history).noise > 100
    assert "`val_loss` has not changed beyond its noise in 11 values: 2.278 first" in sentence(trend_of(history))


def test_a_verdict_on_a_metric_keeps_its_title_in_a_checkpoint():
    verdict = stands_still(evidence(REWARD))
    assert str(Verdict.from_dict(verdict.to_dict())) == str(verdict)


def watched(finding, built):
    """Return the monitor of a fit of an example, which validates every five steps."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        declared = {"monitor": "val_acc", "mode": "max"} if finding == "metric-stands-still" else {}
        monitor = PlateauMonitor(**declared)
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = L.Trainer(accelerator="cpu", max_steps=400, val_check_interval=5, callbacks=[monitor], **quiet)
        trainer.fit(*example("metrics.md", finding)[built]())
    return monitor


@pytest.mark.parametrize("finding", ["metric-stands-still", "memorises", "fresh-data-gain-nothing"])
def test_the_example_of_the_docs_has_the_finding_and_the_mended_one_has_not(finding):
    broken = watched(finding, "broken").verdicts
    assert [v.finding.name for v in broken if v.finding and v.finding.title] == [finding]
    # Beside an alarm on the training loss, which such a small rate raises, a metric raises no other.
    assert any(verdict.stuck for verdict in broken) is (finding == "metric-stands-still")
    mended = watched(finding, "mended").verdicts
    assert not any(verdict.stuck for verdict in mended)
    # A metric that has risen rests in the end, which is said without an alarm.
    said = [verdict.finding.name for verdict in mended if verdict.finding and not verdict.stuck]
    assert finding not in said or finding == "metric-stands-still"
