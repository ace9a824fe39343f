"""The properties of readings, and the conversion of evidence and verdicts to builtins and back."""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from types import ModuleType

import pytest

from lightning_landscape import evidence
from lightning_landscape.evidence import (
    Activity,
    Alternatives,
    BatchContents,
    BeforeAndAfter,
    BestConstant,
    Cause,
    Clipping,
    Course,
    Curvature,
    Descent,
    Divergence,
    EntryContents,
    Evidence,
    Finding,
    GradientNoise,
    GradientScale,
    HeldTensors,
    InputUse,
    KeptGradients,
    Line,
    LinearFit,
    LossFloor,
    LossLevel,
    LostGradients,
    Measurements,
    MetricTrend,
    NotFinite,
    OptimizerGroup,
    Outputs,
    OutputSpread,
    Part,
    Parts,
    Plane,
    Plateau,
    Player,
    Players,
    Restart,
    RestartedRun,
    RunComparison,
    RunPath,
    SameBatches,
    Schedule,
    Scheduler,
    Schedulers,
    Spectrum,
    StartingPoint,
    Symmetry,
    Trend,
    Trials,
    UpdateStatistics,
    Verdict,
    WeightHistory,
    WhatIf,
    Wiring,
    checked,
    to_builtins,
)
from lightning_landscape.evidence.wiring import GraphCut, OutputRange, SquashedTwice, StrongDropout

# A fall of 1.2% of 2.0, which is 0.024, counts as progress.
FLAT = Trend(window=100, level=2.0, progress=0.0, margin=0.02, tolerance=0.012)
DOWN = Descent((-1.0, 0.0, 1.0), (0.5, 1.0, 0.5), None)
PART = Part(
    name="net.0",
    share=0.5,
    trainable=True,
    frozen_since=None,
    group=0,
    learning_rate=0.1,
    reached=None,
    grad_norm=None,
    norm=2.0,
    initial_norm=0.0,
    distance=math.inf,
)
GROUP = OptimizerGroup(0, 0, learning_rate=0.1, base_rate=None, weight_decay=0.0, parts=("net.0",))
COURSE = Course("going on as it is", (0, 40), (1.0, 0.5), (0.4, 0.6))
PLAYER = Player(
    index=0, networks=("generator",), kind="Adam", steps=300, with_gradient=300, measured=30, learning_rate=2e-4,
    scheduled=False, loss_start=0.7, loss_now=1.2, loss_spread=0.2, grad_largest=1.0, grad_now=0.8, update_ratio=3e-3,
    travel=3.0, predicted=9.0, weight_norm=6.0,
)  # fmt: skip
READINGS = (
    COURSE,
    WhatIf(COURSE, COURSE, 100),
    RunPath(("a", "b"), (10, 20), ((1.0, 0.7, 0.5),), (0.0,), 64),
    MetricTrend(
        name="reward",
        rises=True,
        declared=True,
        values=80,
        first_step=0,
        step=400,
        first=1.0,
        best=2.0,
        best_step=100,
        now=1.9,
        gained=1.0,
        worse=0.0,
        since=90,
    ),
    Plateau(step=203, since=90),
    replace(FLAT, predicted=0.5),
    LossFloor(0.5),
    LossLevel(start=2.3, best=2.2, now=2.25),
    Divergence(step=7, finite=False, start=2.3, now=math.inf),
    SameBatches(("step 40", "now"), ((2.3, 2.1), (2.2, math.inf))),
    Schedule(learning_rate=0.01, peak=0.1, elapsed=None),
    Scheduler("OneCycleLR", "step", length=900, length_name="total_steps", target_rate=0.1),
    Schedulers((Scheduler("ReduceLROnPlateau", "epoch", monitor="loss", patience=10, factor=0.1),), 28.0),
    UpdateStatistics(update_ratio=None, travelled=0.5, no_grad_share=0.0, not_in_optimizer=0.25),
    GradientNoise(signal=0.1, noise=3.0, batches=4, batch_samples=32.0),
    GradientScale(norm=0.5, relative=2.0, groups={"net.0": 0.3, "net.2": 0.4}),
    Activity(dead=0.5, dead_layer="net.1", saturated=0.0, saturated_layer=None, layers=2, samples=64),
    Line("initial", (0.0, 0.5, 1.0, 1.5), (2.0, 3.0, 1.0, 0.9), barrier=1.0, monotone=False, samples=64, anchor_step=0),
    Curvature(
        lambda_min=-1.0,
        lambda_max=2.0,
        residual_min=0.1,
        residual_max=0.1,
        error=0.0,
        loss=1.0,
        gradient_norm=0.5,
        relative_gradient=0.5,
        products=12,
        method="double backward",
        reason=None,
        parameters=2,
        samples=64,
        descent=DOWN,
    ),
    DOWN,
    Spectrum((-1.0, 2.0), (0.5, 0.5), 1.0, 0.1, 0.5, 40, "double backward", None, 2, 64),
    Plane("initial", "best", (0.0, 1.0), (0.0, 1.0), ((1.0, 2.0), (3.0, math.inf)), {"initial": (1.0, 0.0)}, 0.0, 64),
    StartingPoint(loss=2.3, now=2.2),
    InputUse(loss=2.3, shuffled=2.31, moved=0.02, varied=True, targets=("labels",), paired=False),
    Trials({"adam": 0.2, "line search": -math.inf}, steps=40, relative_gradient=0.5, decay_pull=0.0, samples=64),
    Alternatives({"a perturbation": 0.3}, steps=40, batches=8),
    Restart(gain=0.4, seeds=2, steps=300, own=RestartedRun(0.4, 300, 120, 0.5, seeds=2), held_out_batches=8),
    RestartedRun(gain=-math.inf, steps=100),
    NotFinite("forward", "log", "net.2", "train.py, line 3", after="softmax", outcome="-inf", inputs=(0.0,), step=410),
    Symmetry(share=0.75, layer="net.0"),
    EntryContents("1", target=True, size=2.0, mean_size=1.5, spread=0.5, values=64),
    BatchContents(
        8,
        (EntryContents("0", target=False, size=1.0, mean_size=0.8, spread=1.0, values=512, not_finite=3),),
        class_shares=(0.5, 1.0),
    ),
    BeforeAndAfter(
        2.2, 0.3, 2.3, error=0.1, batches=8, moved=math.inf, dead=1.0, dead_layer="net.1", norms={"net": 2.0}
    ),
    WeightHistory(best_step=90, best_loss=0.3, since=90, steps=113, samples=3, reach=0.1, step_length=0.001),
    Outputs((OutputSpread("net.2", 0.001, 0.9),), 128, 2.3, 2.3, best_constant=BestConstant("mse_loss", 2.3, 2.3)),
    OutputSpread("net.2", now=0.001),
    BestConstant("cross_entropy", loss=2.3, constant=2.25),
    LinearFit(0.1, by_chance=-0.01, samples=128),
    Measurements({"weight_norm": 0.5}),
    Parts((PART,), (GROUP,), step=7),
    PART,
    GROUP,
    HeldTensors(("net.2",), 0.5, 0.25, outside=2, outside_share=0.5, replaced=("net.2",)),
    PLAYER,
    Players((PLAYER,), elapsed=0.5),
    KeptGradients(optimizer=0, steps=4),
    LostGradients({"net.2": 90}, measured=20),
    Clipping(median=0.5, largest=1.0, steps=50),
    RunComparison(("a", "b"), (0.5, 0.4), ((0.0, 0.1), (0.1, 0.0)), samples=64, points=11, notes=("Mind the gap.",)),
    Wiring(
        squashed=(SquashedTwice("softmax", "cross_entropy", "net.1", 10),),
        cuts=(GraphCut("argmax", "", ("net.0.weight",), 0.5, "net.0", "net.2", feeds_layers=True),),
        dropouts=(StrongDropout("net.2", 0.95),),
        ranges=(OutputRange("relu", "net.1", "mse_loss", 0.0, None, -1.0, 1.0, 0.5, 0.25, None),),
        unseen=("the TorchScript module self.net",),
    ),
)


@dataclass(frozen=True)
class OfTheirOwn:
    """A reading that a user defines."""

    value: float


@pytest.mark.parametrize(
    ("trend", "stalled"),
    [
        (replace(FLAT, progress=0.0039), True),
        (replace(FLAT, progress=0.0041), False),  # 0.0041 + 0.02 > 0.024
        (replace(FLAT, margin=0.0239), True),
        (replace(FLAT, margin=0.0241), False),
        (replace(FLAT, progress=-1.0, margin=1.0), True),
        (replace(FLAT, level=0.0), False),
    ],
)
def test_a_loss_has_stalled_if_the_test_rules_out_a_fall_of_the_threshold(trend, stalled):
    assert trend.stalled is stalled


def test_the_share_that_was_lost_is_that_of_the_gain_over_the_initial_weights():
    assert BeforeAndAfter(now=2.2, best=0.3, start=2.3).lost_share == pytest.approx(0.95)
    assert BeforeAndAfter(now=-7.8, best=-9.7, start=-7.7).lost_share == pytest.approx(0.95)
    assert BeforeAndAfter(now=2.2, best=2.5, start=2.3).lost_share is None
    assert BeforeAndAfter(now=2.2, best=0.3).lost_share is None


def test_the_reach_of_the_weights_is_counted_in_lengths_of_a_step():
    history = WeightHistory(90, 0.3, since=90, steps=100, samples=3, reach=0.1, step_length=0.001)
    assert history.reach_in_steps == pytest.approx(100.0)
    assert replace(history, step_length=0.0).reach_in_steps is None
    assert replace(history, reach=None).reach_in_steps is None


@pytest.mark.parametrize(("predicted", "bounded"), [(0.0071, True), (0.0073, False), (0.0, True), (None, False)])
def test_a_stall_is_bounded_if_the_updates_can_lower_the_loss_by_less_than_30_percent_of_the_threshold(
    predicted, bounded
):
    noisy = replace(FLAT, margin=1.0, predicted=predicted)  # 0.3 * 0.024 = 0.0072
    assert noisy.bounded is bounded
    assert noisy.stalled is bounded


def test_a_trend_is_not_bounded_if_the_loss_has_fallen():
    assert not replace(FLAT, progress=1.0, margin=0.1, predicted=0.0).bounded


@pytest.mark.parametrize(("margin", "powered"), [(0.0479, True), (0.0481, False)])
def test_a_test_has_power_if_it_would_detect_a_fall_of_twice_the_threshold(margin, powered):
    assert replace(FLAT, margin=margin).powered is powered


@pytest.mark.parametrize(
    ("progress", "margin", "seems_stalled"),
    [
        (0.0, 0.023, True),  # the strict test shows it
        (0.0, 0.025, True),  # the strict test could not show it of any loss; one standard error is 0.01
        (0.0, 0.061, False),  # one standard error is more than the threshold
        (-0.03, 0.12, True),
        (0.013, 0.023, False),  # the strict test can tell, and does not show it
        (0.013, 0.025, True),
    ],
)
def test_one_standard_error_decides_only_where_noise_hides_that_of_a_flat_loss_too(progress, margin, seems_stalled):
    trend = replace(FLAT, progress=progress, margin=margin)  # the threshold is 0.024
    assert trend.seems_stalled is seems_stalled
    assert trend.stalled is (progress + margin < 0.024)
    assert trend.proven is (trend.stalled and margin < 0.048)


@pytest.mark.parametrize(("progress", "falling"), [(0.0239, False), (0.0241, True), (0.0, False), (-0.1, False)])
def test_a_loss_is_falling_if_it_fell_significantly_by_more_than_the_threshold(progress, falling):
    assert replace(FLAT, progress=progress).falling is falling
    assert not replace(FLAT, progress=progress, margin=progress + 0.001).falling


@pytest.mark.parametrize(
    ("trend", "sentence"),
    [
        (FLAT, "The training loss fell by less than 1% in 100 steps; the test would have noticed 1.2%."),
        (replace(FLAT, progress=-0.02), "not fallen at all in 100 steps; the test would have noticed a fall of 1.2%."),
        # A fall of 1.2% could not be seen in this noise, so the sentence must not say that it would have been.
        (replace(FLAT, progress=-0.1, margin=0.09), "the test would have noticed a fall of 4.5%"),
        (replace(FLAT, progress=-5.0, margin=4.0), "has risen in 100 steps, by more than its noise explains."),
        (
            replace(FLAT, margin=1.0, predicted=2e-5),
            "steps this small can lower the training loss by less than 0.01%.",
        ),
        (replace(FLAT, margin=1.0, predicted=2e-3), "steps this small can lower the training loss by at most 0.1%."),
        (replace(FLAT, margin=1.0, predicted=0.0), "The weights have not moved in 100 steps."),
        (replace(FLAT, progress=0.1), "fell by 5% in 100 steps (give or take 1%)"),
        (replace(FLAT, margin=0.1), "the noise of 100 steps can hide a fall by 5%."),
        (replace(FLAT, margin=59.34), "the noise of 100 steps can hide any fall."),
        (replace(FLAT, level=0.0), "averages zero over 100 steps"),
    ],
)
def test_the_sentence_names_the_largest_possible_fall_and_the_smallest_detectable_one(trend, sentence):
    assert sentence in trend.sentence()


@pytest.mark.parametrize("scale", [2.0**-20, 1.0, 2.0**20])
def test_the_unit_of_the_loss_changes_neither_decisions_nor_sentences(scale):
    trends = [FLAT, replace(FLAT, progress=0.03), replace(FLAT, margin=1.0, predicted=0.001)]
    for trend in trends:
        other = replace(
            trend,
            level=trend.level * scale,
            progress=trend.progress * scale,
            margin=trend.margin * scale,
            predicted=None if trend.predicted is None else trend.predicted * scale,
        )
        assert (other.stalled, other.powered, other.falling) == (trend.stalled, trend.powered, trend.falling)
        assert other.sentence() == trend.sentence()


@pytest.mark.parametrize(
    ("start", "now", "share"),
    [
        (2.0, 1.0, 0.5),
        (2.0, 4.0, 2.0),
        (-1.0, -2.0, 0.5),
        (-2.0, -1.0, 2.0),
        (1.0, -1.0, 0.0),
        (-1.0, 1.0, math.inf),
        (0.0, 0.0, 1.0),
        (0.0, 1.0, math.inf),
        (1.0, 0.0, 0.0),
    ],
)
def test_the_share_of_the_start_is_below_1_if_the_loss_fell_for_either_sign(start, now, share):
    assert LossLevel(start, min(start, now), now).share_of_start == share


@pytest.mark.parametrize(("now", "solved"), [(0.0999, True), (0.1001, False), (0.0, True), (-0.1, False)])
def test_a_positive_loss_is_solved_below_a_tenth_of_its_start(now, solved):
    assert LossLevel(1.0, now, now).solved is solved
    assert not LossLevel(-1.0, -10.0, -10.0).solved


def test_a_loss_that_began_above_that_of_a_constant_prediction_is_solved_below_a_tenth_of_the_latter():
    assert not LossLevel(500.0, 2.3, 2.3, constant=2.3).solved
    assert LossLevel(500.0, 0.2, 0.2, constant=2.3).solved
    assert LossLevel(1.0, 0.09, 0.09, constant=2.3).solved
    assert LossLevel(500.0, 2.3, 2.3, constant=0.0).solved, "a constant that leaves nothing to predict says nothing"


def test_a_learning_rate_that_was_never_above_zero_is_at_its_peak():
    assert Schedule(0.0, 0.0, None).share_of_peak == 1.0
    assert Schedule(0.02, 0.1, None).share_of_peak == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("groups", "ratio"),
    [
        ({"a": 0.5, "b": 9.0, "c": 2.0}, 0.25),
        ({"a": 0.5}, 1.0),
        ({}, 1.0),
        ({"a": 1.0, "b": 0.0}, math.inf),
        ({"a": 0.0, "b": 1.0}, 0.0),
    ],
)
def test_first_to_last_is_the_ratio_of_the_first_and_the_last_group(groups, ratio):
    assert GradientScale(1.0, 1.0, groups).first_to_last == ratio


def test_evidence_is_keyed_by_type_and_a_newer_reading_replaces_an_older_one():
    older, newer = Plateau(1, 1), Plateau(2, 1)
    known = Evidence(older, FLAT).including(newer)
    assert known.get(Plateau) is newer
    assert known.get(Trend) is FLAT
    assert known.get(Line) is None
    assert len(known) == 2


def test_a_reading_of_your_own_needs_no_registration():
    assert Evidence(OfTheirOwn(3.0)).get(OfTheirOwn) == OfTheirOwn(3.0)


def test_evidence_in_another_order_is_equal_and_has_the_same_hash():
    one, other = Evidence(*READINGS), Evidence(*reversed(READINGS))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Evidence(*READINGS[:-1])
    assert one != "evidence"


def test_every_kind_of_reading_survives_json():
    known = Evidence(*READINGS)
    assert Evidence.from_dict(json.loads(json.dumps(known.to_dict()))) == known
    kinds = {v for v in vars(evidence).values() if isinstance(v, type) and is_dataclass(v)}
    kinds -= {Verdict, Finding}  # these are drawn from evidence and are not part of it
    assert {type(reading) for reading in READINGS} == kinds


@dataclass(frozen=True)
class Nested:
    """A reading that contains readings, and a field that its constructor computes."""

    parts: tuple[OfTheirOwn, ...]
    by_name: Mapping[str, OfTheirOwn]
    one: OfTheirOwn | None
    total: float = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "total", sum(part.value for part in self.parts))


class Imported:
    @dataclass(frozen=True)
    class Inner:
        value: float


NESTED = Nested((OfTheirOwn(1.0), OfTheirOwn(2.0)), {"a": OfTheirOwn(3.0)}, OfTheirOwn(4.0))


@pytest.mark.parametrize("reading", [OfTheirOwn(3.0), Imported.Inner(2.0), NESTED])
def test_a_reading_of_your_own_survives_json_by_the_name_of_its_module(reading):
    data = json.loads(json.dumps(Evidence(FLAT, reading).to_dict()))
    assert set(data) == {"Trend", f"{__name__}:{type(reading).__qualname__}"}
    assert Evidence.from_dict(data).get(type(reading)) == reading


def test_a_reading_class_with_the_name_of_one_of_the_library_does_not_replace_it():
    theirs = type("Trials", (OfTheirOwn,), {})(3.0)
    ours = next(reading for reading in READINGS if isinstance(reading, Trials))
    back = Evidence.from_dict(json.loads(json.dumps(Evidence(ours, theirs).to_dict())))
    assert back.get(Trials) == ours
    assert Evidence.from_dict(Evidence(theirs).to_dict()).get(Trials) is None


def test_a_reading_whose_class_is_not_imported_is_kept_as_it_was_stored_and_nothing_is_imported():
    data = {
        "Trend": to_builtins(FLAT),
        "this.is.not_there:Reading": {"value": [1, {"a": None}]},
        "Older": {"value": 3.0},
    }
    known = set(sys.modules)
    back = Evidence.from_dict(json.loads(json.dumps(data)))
    assert set(sys.modules) == known
    assert list(back) == [FLAT]
    assert back.to_dict() == data
    assert back.including(Plateau(1, 1)).to_dict() == data | {
        "Plateau": {"step": 1, "since": 1, "proven": False, "asked": False}
    }
    assert back != Evidence(FLAT)


def test_the_getattr_of_a_module_is_not_called(monkeypatch):
    lazy = ModuleType("lazy_module")
    lazy.__getattr__ = pytest.fail
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    data = {"lazy_module:Reading": {"value": 1.0}}
    assert Evidence.from_dict(data).to_dict() == data


@pytest.mark.parametrize("name", [f"{__name__}:NESTED", "json:JSONDecoder", "math:pi", ":", "a:b:c", "Cause", "math"])
def test_a_stored_name_that_belongs_to_no_reading_is_kept_and_no_object_is_created(name):
    data = {name: {"value": 1.0}}
    assert len(Evidence.from_dict(data)) == 0
    assert Evidence.from_dict(data).to_dict() == data


def test_a_reading_is_restored_without_running_code_of_its_class(monkeypatch):
    data = Evidence(NESTED, OfTheirOwn(3.0)).to_dict()
    for kind in (Nested, OfTheirOwn):
        monkeypatch.setattr(kind, "__init__", pytest.fail)
    monkeypatch.setattr(Nested, "__post_init__", pytest.fail)
    assert Evidence.from_dict(data).get(Nested).by_name["a"].value == 3.0


def test_a_reading_whose_class_has_other_fields_now_is_kept_as_it_was_stored():
    data = {f"{__name__}:OfTheirOwn": {"older": 1.0}, "Trials": {"number": 3}}
    back = Evidence.from_dict(data)
    assert back.get(OfTheirOwn) is back.get(Trials) is None
    assert back.to_dict() == data


def test_a_reading_of_a_local_class_is_returned_to_code_that_has_the_class():
    @dataclass(frozen=True)
    class Local:
        value: float

    assert Evidence.from_dict(Evidence(Local(2.0)).to_dict()).get(Local) == Local(2.0)


def test_a_reading_of_builtins_is_not_changed_by_checked():
    assert checked(NESTED) is NESTED
    for reading in READINGS:
        assert checked(reading) is reading


@pytest.mark.parametrize("value", [0.5, {"a": 1}, (1.0,), OfTheirOwn, None])
def test_a_value_that_is_no_dataclass_is_refused_as_a_reading_and_shown(value):
    with pytest.raises(TypeError, match="a reading is a dataclass of plain numbers, got ") as raised:
        checked(value)
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize("value", [object(), OfTheirOwn(1j), {"a": (b"",)}, lambda: 1])
def test_a_field_that_cannot_be_stored_in_a_checkpoint_is_named(value):
    with pytest.raises(TypeError, match=r"OfTheirOwn.value is .*, which cannot be stored in a checkpoint"):
        checked(OfTheirOwn(value))


@pytest.mark.parametrize("cause", Cause)
def test_a_verdict_survives_json_with_its_evidence(cause):
    verdict = Verdict(cause, 203, 90, stuck=True, reason="r", advice="a", evidence=Evidence(*READINGS))
    back = Verdict.from_dict(json.loads(json.dumps(verdict.to_dict())))
    assert back == verdict
    assert back.evidence == verdict.evidence


def test_a_verdict_that_was_stored_without_the_field_targets_can_be_loaded():
    old = {"loss": 2.3, "shuffled": 2.31, "moved": 0.02, "varied": True}
    verdict = Verdict(Cause.SETTLED, 203, 90, stuck=False, reason="r").to_dict() | {"evidence": {"InputUse": old}}
    use = Verdict.from_dict(verdict).evidence.get(InputUse)
    assert use == InputUse(**old, targets=(), paired=True)


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: type(reading).__name__)
def test_a_reading_cannot_be_changed(reading):
    with pytest.raises(AttributeError):
        setattr(reading, fields(reading)[0].name, 0)


def test_the_text_of_a_cause_is_its_value():
    assert f"{Cause.SADDLE_POINT}" == "saddle_point"
    assert Cause("saddle_point") is Cause.SADDLE_POINT


@pytest.mark.parametrize(
    ("plateau", "stuck", "words"),
    [
        (Plateau(100, 50), False, "noise hides whether the loss still falls"),
        (Plateau(100, 50, proven=True), False, "the loss has stopped falling"),
        (Plateau(100, 50, asked=True), False, "the loss has stopped falling"),
        (Plateau(100, 50), True, "the loss has stopped falling"),
    ],
)
def test_an_undecided_verdict_says_that_the_loss_has_stopped_only_where_a_test_shows_it(plateau, stuck, words):
    hidden = Trend(50, level=1.0, progress=0.0, margin=0.1, tolerance=0.012)
    verdict = Verdict(Cause.UNDECIDED, 100, 50, stuck=stuck, reason="", evidence=Evidence(plateau, hidden))
    assert words in verdict.title


def test_the_loss_that_is_quoted_as_the_first_is_that_of_the_first_batch_where_it_is_known():
    assert LossLevel(2.0, 0.5, 0.5, first=2.4).began == 2.4
    assert LossLevel(2.0, 0.5, 0.5).began == LossLevel(2.0, 0.5, 0.5, first=math.inf).began == 2.0
