"""The labels, scores and published rules of `benchmarks.stuck_runs` have the values that were computed by hand."""

import math
from dataclasses import replace

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim.lr_scheduler import ReduceLROnPlateau

from benchmarks.stuck_runs import baselines, commands, report
from benchmarks.stuck_runs.configurations import CONFIGURATIONS, SPLITS
from benchmarks.stuck_runs.scoring import Alarm, compare, summarise
from benchmarks.stuck_runs.trace import TensorStatistics, Trace, record
from benchmarks.stuck_runs.training import fit, run
from benchmarks.stuck_runs.truth import Label, load_labels, merge, plateaus, subtract
from benchmarks.stuck_runs.watching import Job, RunResult, silence, watch
from lightning_landscape.evidence import Cause


@pytest.mark.slow
def test_every_configuration_builds_and_its_first_loss_is_finite():
    losses = {name: next(run(made.problem(0), 0, 1)).loss for name, made in CONFIGURATIONS.items()}
    assert losses
    not_finite = [f"{name}: {loss}" for name, loss in losses.items() if not math.isfinite(loss)]
    assert not not_finite, "\n".join(not_finite)


def test_a_run_is_the_same_at_every_call():
    first, second = ([step.loss for step in run(CONFIGURATIONS["digits"].problem(0), 0, 5)] for _ in range(2))
    assert first == second


def test_the_splits_have_their_sizes_and_share_no_configuration():
    names = {split: {c.name for c in configurations} for split, configurations in SPLITS.items()}
    sizes = {"open": 44, "seen": 53, "second": 58}
    assert {split: len(names[split]) for split in sizes} == sizes
    assert len(names["held_out"]) >= 36
    assert len(set.union(*names.values())) == sum(map(len, names.values()))
    assert len({c.build for split in SPLITS.values() for c in split}) == len(CONFIGURATIONS)
    assert sum(c.stuck for c in SPLITS["held_out"]) >= 18
    assert sum(not c.stuck for c in SPLITS["held_out"]) >= 18
    assert sum(c.stuck for c in SPLITS["fresh"]) >= 14
    assert sum(not c.stuck for c in SPLITS["fresh"]) >= 10
    assert sum(c.stuck for c in SPLITS["midway"]) >= 20
    assert sum(not c.stuck for c in SPLITS["midway"]) >= 20


def test_causes_are_those_of_the_library_and_each_has_stuck_runs_in_every_split():
    alarms = list(Cause)[:8]
    for configurations in SPLITS.values():
        assert {c.kind for c in configurations if c.stuck} == set(map(str, alarms))
        assert {cause for c in configurations for cause in c.accepts} <= set(map(str, alarms))


def test_labels_cover_every_configuration():
    labels = load_labels()
    assert {name for name, _ in labels} == set(CONFIGURATIONS)
    for (name, seed), label in labels.items():
        assert label.horizon == CONFIGURATIONS[name].horizon, name
        assert label.kind == CONFIGURATIONS[name].kind, name
        assert label.accepts == CONFIGURATIONS[name].accepts, name
        assert (label.label == "stuck") == (CONFIGURATIONS[name].stuck and bool(label.stuck)), (name, seed)
        assert label.label != "healthy" or not label.stuck


# --- the same run, with and without Lightning


class Losses(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(float(outputs["loss"]))


SAME = ["wine_with_dropout", "clipped_to_nothing", "long_warmup", "optimizer_of_a_copy", "recurrence_frozen_early"]


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("horizon_known", [True, False])
def test_lightning_trains_the_same_run(name, horizon_known):
    losses = Losses()
    with silence():
        fit(CONFIGURATIONS[name].problem(1), 1, 120, losses, horizon_known=horizon_known)
    assert losses.seen == pytest.approx([step.loss for step in run(CONFIGURATIONS[name].problem(1), 1, 120)], rel=1e-4)


def test_the_hook_of_a_problem_is_called_once_before_each_optimizer_step():
    seen, problem = [], CONFIGURATIONS["accumulated_batches"].problem(1)
    with silence():
        fit(replace(problem, before_step=seen.append), 1, 10)
    assert seen == list(range(10))


def test_lightning_accumulates_the_same_batches():
    losses = Losses()
    with silence():
        fit(CONFIGURATIONS["accumulated_batches"].problem(1), 1, 10, losses)
    steps = [sum(losses.seen[i : i + 4]) for i in range(0, 40, 4)]
    expected = [step.loss for step in run(CONFIGURATIONS["accumulated_batches"].problem(1), 1, 10)]
    assert steps == pytest.approx(expected, rel=1e-4)


# --- labels


def test_a_loss_that_never_falls_is_one_plateau():
    assert plateaus([1.0] * 121, 1000, floor=0.0, trivial=1.0) == (((0, 1000),), ())


def test_a_loss_that_falls_steadily_has_no_plateau():
    assert plateaus([0.99**i for i in range(121)], 1000, floor=0.0, trivial=1.0) == ((), ())


def test_a_plateau_ends_where_the_loss_begins_to_fall():
    losses = [1.0] * 40 + [0.5**i for i in range(1, 82)]
    assert plateaus(losses, 1000, floor=0.0, trivial=1.0) == (((0, 400),), ())


def test_a_short_plateau_is_ambiguous():
    losses = [1.0] * 10 + [0.5**i for i in range(1, 112)]
    assert plateaus(losses, 1000, floor=0.0, trivial=1.0) == ((), ((0, 100),))


def test_a_plateau_near_the_floor_is_ambiguous_and_a_lower_one_does_not_count():
    assert plateaus([0.1] * 121, 1000, floor=0.0, trivial=1.0) == ((), ((0, 1000),))
    assert plateaus([0.04] * 121, 1000, floor=0.0, trivial=1.0) == ((), ())


def test_losses_that_are_not_finite_are_a_plateau():
    losses = [0.5**i for i in range(20)] + [math.inf] * 101
    assert plateaus(losses, 1000, floor=0.0, trivial=1.0) == (((200, 1000),), ())


def test_a_plateau_that_begins_shortly_before_the_end_is_ambiguous():
    losses = [0.99**i for i in range(91)] + [0.99**90] * 30
    lasting, ambiguous = plateaus(losses, 1000, floor=0.0, trivial=1.0)
    assert lasting == ()
    assert ambiguous == (
        (870, 1000),
    )  # 0.99^3 is not yet a fall of 3%, so from 0.99^87 on the loss does not fall by 3% again


def test_intervals_are_merged_and_subtracted():
    assert merge([(5, 7), (0, 2), (1, 3), (4, 4)]) == ((0, 3), (5, 7))
    assert subtract([(0, 10)], [(2, 3), (9, 12)]) == ((0, 2), (3, 9))


# --- scores


def stuck(*intervals, cause="saddle_point", accepts=()):
    return Label("stuck", 1000, cause, accepts, intervals, ())


HEALTHY = Label("healthy", 1000, "improving", (), (), ((500, 600),))


def test_an_alarm_within_the_plateau_is_a_hit_with_its_delay_and_cause():
    outcome = compare(
        "run/0", stuck((100, 500), accepts=("flat_region",)), [Alarm(200, "flat_region"), Alarm(700, None)]
    )
    assert outcome.hit == Alarm(200, "flat_region")
    assert outcome.delay == 0.25
    assert (outcome.strict, outcome.lenient) == (False, True)
    assert outcome.false_alarms == (Alarm(700, None),)


def test_alarms_shortly_after_a_plateau_or_in_ambiguous_stretches_are_not_false():
    assert compare("run/0", stuck((100, 500)), [Alarm(530, None)]).hit == Alarm(530, None)
    assert compare("run/0", stuck((100, 500)), [Alarm(531, None)]).false_alarms == (Alarm(531, None),)
    assert compare("run/0", HEALTHY, [Alarm(550, None)]).false_alarms == ()


def test_the_scores_are_those_computed_by_hand():
    score = summarise([
        compare("a/0", stuck((0, 1000)), [Alarm(100, "saddle_point")]),
        compare("b/0", stuck((0, 500)), [Alarm(200, "flat_region")]),
        compare("c/0", stuck((0, 1000)), []),
        compare("d/0", stuck((0, 1000), cause="diverged"), [Alarm(900, "diverged")]),
        compare("e/0", stuck((0, 1000), cause="poor_minimum"), [], settled=True),
        compare("f/0", stuck((0, 1000), cause="poor_minimum"), []),
        compare("g/0", HEALTHY, [Alarm(10, None), Alarm(20, None)]),
        compare("h/0", HEALTHY, []),
    ])
    assert (score.stuck, score.healthy) == (6, 2)
    assert score.recall == 3 / 4
    assert score.poor == 1 / 2
    assert score.false_alarm_runs == 1 / 2
    assert score.false_alarms == pytest.approx(2 / 1.8)
    assert score.strict == score.lenient == 2 / 3
    assert score.delay == pytest.approx(0.25)  # the median of 0.1 and 0.4; the run that diverges has no delay
    assert score.delay_p90 == pytest.approx(0.37)


def test_the_scores_of_no_runs_are_none():
    score = summarise([])
    assert (score.recall, score.false_alarm_runs, score.false_alarms, score.delay) == (None, None, None, None)


def test_the_report_names_every_rule_and_every_mistake():
    labels = {("a", 0): stuck((0, 1000)), ("b", 0): HEALTHY, ("c", 0): stuck((0, 1000), cause="diverged")}
    runs = [
        RunResult("a", 0, (Alarm(100, "flat_region"),), (), 2.0, 1.0, {"rule": [Alarm(300, None)]}),
        RunResult("b", 0, (Alarm(100, "diverged"),), (), 2.0, 1.0, {"rule": []}),
        RunResult("c", 0, (), (Alarm(500, "settled"),), 3.0, 1.0, {"rule": []}, error="RuntimeError: no"),
    ]
    text = report.report(runs, labels)
    assert "| LandscapeMonitor | 50.0% | 100.0% | 1.111 | 0.10 / 0.10 | 0.0% / 0.0% |  |" in text
    assert "| rule | 50.0% | 0.0% | 0.000 | 0.30 / 0.30 | none named |  |" in text
    assert "## saddle_point: 1 runs" in text
    assert "- wrong cause: a/0, saddle_point called flat_region" in text
    assert "- false alarm in a healthy run: b/0, diverged at 100" in text
    assert "- missed: c/0, diverged in ((0, 1000),), called settled" in text
    assert "- error in c/0: RuntimeError: no" in text
    assert "median 2.00, all runs together 2.33" in text


# --- the published rules


def trace_of(losses, **statistics):
    """Return a trace of 50 epochs of two steps, with the same statistics at every save, or functions of the step."""
    values = {
        "mean_gradients": (1e-2,),
        "gradient_norms": (1.0, 1.0),
        "zero_gradients": (0.0,),
        "weight_means": (0.1,),
        "update_ratios": (1e-3,),
        **statistics,
    }
    saves = [
        TensorStatistics(step, **{name: value(step) if callable(value) else value for name, value in values.items()})
        for step in range(100)
    ]
    return Trace(100, [float(loss) for loss in losses], saves)


FALLING = [0.95**i for i in range(100)]
FLAT = [1.0] * 100
CHANGING = {"weight_means": lambda step: (0.1 + step,)}


def lightnings_early_stopping(patience, epochs):
    rule = EarlyStopping("loss", patience=patience)
    for epoch, loss in enumerate(epochs):
        stop, _ = rule._evaluate_stopping_criteria(torch.tensor(loss))
        if stop:
            return epoch
    return None


@pytest.mark.parametrize("patience", [3, 10])
def test_early_stopping_raises_its_first_alarm_where_lightning_stops(patience):
    losses = [*FALLING[:40], *[0.2 + 0.1 * math.sin(i) for i in range(60)]]
    trace = trace_of(losses)
    alarms = baselines.early_stopping(patience)(trace)
    assert alarms[0].step == 2 * lightnings_early_stopping(patience, trace.epochs()) + 1
    assert baselines.early_stopping(patience)(trace_of(FALLING)) == []


def test_reduce_on_plateau_raises_alarms_where_pytorch_reduces_the_rate():
    losses = [*FALLING[:40], *[0.2 + 0.1 * math.sin(i) for i in range(60)]]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, fired = ReduceLROnPlateau(optimizer, factor=0.5, eps=0.0), []
    for epoch, loss in enumerate(trace_of(losses).epochs()):
        before = optimizer.param_groups[0]["lr"]
        scheduler.step(loss)
        if optimizer.param_groups[0]["lr"] < before:
            fired.append(2 * epoch + 1)
    assert fired
    assert [alarm.step for alarm in baselines.reduce_on_plateau(trace_of(losses))] == fired


def test_loss_not_decreasing_compares_with_ten_steps_before():
    assert baselines.loss_not_decreasing(trace_of(FALLING)) == []
    assert baselines.loss_not_decreasing(trace_of(FLAT)) == [Alarm(10, None)]
    assert baselines.loss_not_decreasing(trace_of([*FALLING[:50], *[0.01] * 50])) == [Alarm(60, None)]


def test_vanishing_gradient_and_update_ratio_have_their_thresholds():
    gone = trace_of(FLAT, mean_gradients=lambda step: (1.0, 1e-8 if step >= 30 else 1.0))
    assert baselines.vanishing_gradient(gone) == [Alarm(30, "flat_region")]
    assert baselines.weight_update_ratio(trace_of(FLAT)) == []
    assert baselines.weight_update_ratio(trace_of(FLAT, update_ratios=(0.0, 1.0))) == [Alarm(0, "not_updating")]
    assert baselines.weight_update_ratio(trace_of(FLAT, update_ratios=(11.0,))) == [Alarm(0, "learning_rate_too_large")]


def test_autotrainer_detects_its_five_symptoms():
    assert baselines.autotrainer(trace_of(FALLING)) == []
    assert baselines.autotrainer(trace_of(FLAT)) == [Alarm(30, "learning_rate_too_small")]
    assert baselines.autotrainer(trace_of(FALLING, zero_gradients=(0.8,)))[0] == Alarm(6, "flat_region")
    assert baselines.autotrainer(trace_of(FALLING, gradient_norms=(1e-6, 1.0)))[0] == Alarm(6, "flat_region")
    assert baselines.autotrainer(trace_of(FALLING, gradient_norms=(100.0, 1.0)))[0] == Alarm(6, "diverged")
    swinging = [1.0 if i // 2 % 2 else 0.5 for i in range(100)]
    assert baselines.autotrainer(trace_of(swinging))[-1].cause == "learning_rate_too_large"


def test_deep_diagnosis_requires_exact_equality():
    assert baselines.deep_diagnosis(trace_of(FALLING, **CHANGING)) == []
    assert baselines.deep_diagnosis(trace_of(FLAT, **CHANGING)) == [Alarm(8, None)]
    assert baselines.deep_diagnosis(trace_of(FALLING)) == [Alarm(8, "not_updating")]
    nan = trace_of([*FALLING[:20], *[math.nan] * 80], **CHANGING)
    assert baselines.deep_diagnosis(nan)[0] == Alarm(20, "diverged")
    dead = trace_of(FALLING, **CHANGING, zero_outputs=0.7)
    assert baselines.deep_diagnosis(dead) == [Alarm(98, "flat_region")]
    assert baselines.deep_diagnosis(trace_of(FALLING, **CHANGING, saturated=0.6))[0] == Alarm(10, "flat_region")


def test_the_slope_test_raises_an_alarm_unless_the_loss_falls_significantly():
    assert baselines.slope_t_test(trace_of(FALLING)) == []
    assert baselines.slope_t_test(trace_of(FLAT))[0] == Alarm(19, None)


def test_a_trace_has_statistics_at_every_percent_with_the_update_of_that_step():
    trace = record(CONFIGURATIONS["regression_at_2e-7"].problem(0), 0, 200)
    assert len(trace.losses) == 200
    assert [saved.step for saved in trace.saves] == list(range(0, 200, 2))
    weight, *_ = CONFIGURATIONS["regression_at_2e-7"].problem(0).model.parameters()
    expected = 2e-7 * trace.saves[0].gradient_norms[0] / float(weight.detach().norm())
    assert trace.saves[0].update_ratios[0] == pytest.approx(expected, rel=0.05)


def test_a_trace_shows_dead_and_saturated_layers():
    dead = record(CONFIGURATIONS["dead_relus"].problem(0), 0, 100)
    assert dead.saves[5].zero_outputs == 1.0
    saturated = record(CONFIGURATIONS["saturated_tanh"].problem(0), 0, 100)
    assert saturated.saves[5].saturated > 0.5
    assert all(rule(saturated) is not None for rule in baselines.RULES.values())


# --- the command


@pytest.mark.parametrize("mode", ["default", "no_horizon", "cheap"])
def test_a_run_is_trained_with_the_monitor_to_its_end(mode):
    result = watch(Job("overflow", 0, mode, only_monitor=True))
    assert result.error is None
    assert result.rules == {}
    assert all(0 <= alarm.step <= 1000 for alarm in result.alarms)


def test_the_default_split_is_the_open_one():
    options = commands.parser().parse_args(["--seeds", "0"])
    names = {name for name, _ in commands.chosen_runs(options, ["open"])}
    assert names == {c.name for c in SPLITS["open"]}
    options = commands.parser().parse_args(["--split", "held_out", "--seeds", "0", "1"])
    assert len(commands.chosen_runs(options, ["open"])) == 2 * len(SPLITS["held_out"])
