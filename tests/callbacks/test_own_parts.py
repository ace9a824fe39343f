"""A user's own probes, detectors, readings and scalars work in a run like those of the library."""

from __future__ import annotations

import re
import warnings
from collections import namedtuple
from dataclasses import dataclass
from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import Cause, LandscapeMonitor, LandscapeWarning, LossInterpolationMonitor, Verdict
from lightning_landscape.diagnosis import DETECTORS, needs_more_evidence
from lightning_landscape.errors import ProbeFailedWarning, ProbeSkippedWarning
from lightning_landscape.evidence import Evidence, Line, Plateau, Trials
from lightning_landscape.examination.naming import name_of
from lightning_landscape.examination.own_scalars import is_reserved
from lightning_landscape.probes import EXAMINATION, LossLine, PathPlane
from tests.faults.runs import MONITORS
from tests.saving import SaveAt

STEPS = 240


class SettlingModule(L.LightningModule):
    """A linear classifier of noisy labels, which reaches its minimum in the first steps and stays there."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Flat(SettlingModule):
    """The loss does not depend on the weights."""

    def training_step(self, batch, batch_idx):
        return 2.0 + 0.0 * super().training_step(batch, batch_idx)


def fit(monitor, *others, module=SettlingModule, steps=STEPS, ckpt_path=None):
    L.seed_everything(7, verbose=False)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 4, generator=generator)
    labels = (inputs[:, :3] + 1.5 * torch.randn(256, 3, generator=generator)).argmax(1)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(**quiet, max_steps=steps, accelerator="cpu", callbacks=[monitor, *others])
    trainer.fit(module(), DataLoader(TensorDataset(inputs, labels), batch_size=32), ckpt_path=ckpt_path)
    return trainer


def warnings_of(work):
    """Call `work` and return this library's warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    return [warning for warning in caught if isinstance(warning.message, LandscapeWarning)]


@dataclass(frozen=True)
class Scale:
    """The largest absolute weight, and the names of the parameters."""

    largest: float
    names: tuple[str, ...] = ()

    def scalars(self):
        return {"weights/largest": self.largest}


def scale(surface):
    return Scale(max(float(weight.abs().max()) for weight in surface.here.values()), tuple(surface.here))


def has_heavy_weight(evidence):
    """A detector that needs the reading of `scale`."""
    reading, plateau = evidence.get(Scale), evidence.get(Plateau)
    if reading is None:
        return None
    reason = f"A weight is {reading.largest:.3g} (threshold 0)."
    return Verdict(Cause.POOR_MINIMUM, plateau.step, plateau.since, stuck=True, reason=reason)


def monitor_with(**settings):
    return LandscapeMonitor(every_n_steps=50, **settings)


def causes(monitor):
    return [(verdict.cause, verdict.step, verdict.since, verdict.stuck) for verdict in monitor.verdicts]


class NotData:
    """An object that cannot be stored in a checkpoint."""


# Detectors and probes in a run.


def test_an_additional_probe_changes_no_verdict_and_removes_no_measurement():
    default, extended = monitor_with(), monitor_with(probes=[*EXAMINATION, scale])
    before, after = fit(default), fit(extended)
    assert default.verdicts[0].cause is Cause.UNDECIDED
    assert causes(extended) == causes(default)
    assert [verdict.reason for verdict in extended.verdicts] == [verdict.reason for verdict in default.verdicts]
    assert extended._state.readings.lines().keys() == default._state.readings.lines().keys()
    assert after.callback_metrics.keys() == before.callback_metrics.keys() | {"landscape/weights/largest"}
    assert "landscape/barrier" in after.callback_metrics
    assert extended.readings.kinds >= {"GradientNoise", "Line"}


def test_if_probes_replaces_the_default_ones_lines_noise_and_the_plane_of_an_alarm_are_still_measured():
    monitor = monitor_with(probes=[scale], detectors=[has_heavy_weight])
    with pytest.warns(LandscapeWarning, match="A weight is"):
        fit(monitor)
    assert monitor._state.readings.lines().keys() == {"initial", "previous", "best"}
    assert "GradientNoise" in monitor.readings.kinds
    assert monitor.planes


def test_a_plane_from_a_users_probe_does_not_replace_the_plane_of_an_alarm():
    def alarm(evidence):
        plateau = evidence.get(Plateau)
        return Verdict(Cause.POOR_MINIMUM, plateau.step, plateau.since, stuck=True, reason="It is late.")

    def run_with_plane(plane):
        monitor = monitor_with(probes=[*EXAMINATION, *plane], detectors=[alarm])
        warnings_of(lambda: fit(monitor, steps=1000))
        return monitor

    default, with_own_plane = run_with_plane([]), run_with_plane([PathPlane(resolution=3)])
    assert [verdict.reason for verdict in default.verdicts] == ["It is late."]
    assert default.planes
    assert len(with_own_plane.planes) > len(default.planes)
    assert [plane for plane in default.planes if plane not in with_own_plane.planes] == []


def test_with_an_empty_list_of_probes_the_loss_surface_is_not_evaluated():
    monitor = monitor_with(probes=())
    fit(monitor)
    assert not monitor._state.readings.lines()
    assert not monitor.planes
    assert not len(monitor._examination.probe_set)


def test_a_users_detector_can_reach_the_verdict_and_its_reading_is_in_the_evidence():
    monitor = monitor_with(probes=[*EXAMINATION, scale], detectors=[has_heavy_weight, *DETECTORS])
    with pytest.warns(LandscapeWarning, match=r"A weight is .* \(threshold 0\)"):
        fit(monitor)
    assert monitor.verdict.cause is Cause.POOR_MINIMUM
    assert monitor.verdict.evidence.get(Scale).names == ("net.weight", "net.bias")
    assert "Scale" in monitor.report.to_markdown()


def test_a_users_probe_runs_even_if_the_default_detectors_already_have_a_verdict():
    calls = []

    def counting(surface):
        calls.append(1)
        return scale(surface)

    monitor = monitor_with(probes=[*EXAMINATION, counting])
    fit(monitor)
    assert monitor.verdict.cause is Cause.UNDECIDED
    assert calls


def test_the_detectors_in_use_decide_whether_more_evidence_is_needed():
    def always_not_updating(evidence):
        return Verdict(Cause.NOT_UPDATING, 0, 0, stuck=True, reason="It is known.")

    assert needs_more_evidence(Evidence())
    assert not needs_more_evidence(Evidence(), [always_not_updating])


def test_if_a_detector_reaches_a_verdict_without_trials_no_trial_is_run():
    def always_not_updating(evidence):
        plateau = evidence.get(Plateau)
        return Verdict(Cause.NOT_UPDATING, plateau.step, plateau.since, stuck=True, reason="It is known.")

    monitor = monitor_with(detectors=[always_not_updating])
    with pytest.warns(LandscapeWarning, match="It is known"):
        fit(monitor)
    assert monitor.verdict.cause is Cause.NOT_UPDATING
    assert monitor.verdict.evidence.get(Trials) is None
    assert monitor.planes  # the plane of the alarm was measured


@pytest.mark.parametrize(
    "broken",
    [
        lambda evidence: evidence.get(Scale).largest,
        lambda evidence: "saddle_point",
        lambda evidence: Verdict("no cause", 1, 1, stuck=True, reason=""),
        lambda evidence: Verdict(Cause.SADDLE_POINT, torch.tensor(1), 1, stuck=True, reason=""),
        lambda evidence: Verdict(Cause.SADDLE_POINT, 1, 1, stuck=True, reason="", evidence=Evidence(NotData())),
    ],
)
def test_a_detector_that_fails_is_warned_of_by_name_and_the_others_reach_the_verdict(broken):
    broken.__name__ = "broken"
    monitor, default = monitor_with(detectors=[broken, *DETECTORS]), monitor_with()
    (warning,) = warnings_of(lambda: fit(monitor))
    fit(default)
    assert warning.category is ProbeFailedWarning
    assert "broken failed and training goes on" in str(warning.message)
    assert causes(monitor) == causes(default)
    assert "broken failed" in monitor.report


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detectors": 3}, "detectors must be a sequence of functions, got 3"),
        (
            {"detectors": [has_heavy_weight, "settled"]},
            r"detectors must be a sequence of functions, got \[.*'settled'\]",
        ),
        ({"detectors": iter([has_heavy_weight])}, "detectors must be a sequence of functions, got <list_iterator"),
        ({"probes": iter([scale])}, "probes must be a sequence of functions, got <list_iterator"),
        ({"probes": [LossLine]}, r"probes must be a sequence of functions, got \[<class '.*LossLine'>\]"),
    ],
)
def test_detectors_or_probes_that_are_not_a_sequence_of_functions_raise_a_value_error(settings, message):
    with pytest.raises(ValueError, match=message):
        LandscapeMonitor(**settings)


def test_the_default_probes_can_still_be_imported_from_callbacks_landscape():
    from lightning_landscape.callbacks import landscape

    assert landscape.EXAMINATION is EXAMINATION


# Each line is measured once at a check.


def test_the_interpolation_monitor_measures_each_line_once_at_a_check(monkeypatch):
    measured, measure = [], LossLine.__call__

    def counting(probe, surface):
        measured.append((probe.anchor, monitor._state.steps))
        return measure(probe, surface)

    monkeypatch.setattr(LossLine, "__call__", counting)
    monitor = LossInterpolationMonitor()
    warnings_of(lambda: fit(monitor, module=Flat))
    assert monitor.verdicts  # the run has stalled
    assert len({step for _, step in measured}) > 1
    assert len(measured) == len(set(measured))


def test_a_line_that_is_also_given_as_a_probe_is_measured_once_at_a_check(monkeypatch):
    measured, measure = [], LossLine.__call__

    def counting(probe, surface):
        measured.append((probe.anchor, monitor._state.steps))
        return measure(probe, surface)

    monkeypatch.setattr(LossLine, "__call__", counting)
    monitor = monitor_with(probes=[*EXAMINATION, LossLine("best"), LossLine("best")])
    fit(monitor)
    assert ("best" in {anchor for anchor, _ in measured}) is True
    assert len(measured) == len(set(measured))


# Values that a probe may return.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.5", "0.5"),
        ({"largest": 1.0}, "{'largest': 1.0}"),
        (np.ones(2), "array"),
        (namedtuple("Pair", "a b")(1, 2), "Pair"),
        (Scale, "class"),
        ((Scale(1.0),), "Scale"),
    ],
)
def test_a_probe_that_returns_no_dataclass_is_warned_of_with_the_value_and_the_verdict_is_reached(value, shown):
    def returns_value(surface):
        return value

    monitor, default = monitor_with(probes=[returns_value, *EXAMINATION]), monitor_with()
    (warning,) = warnings_of(lambda: fit(monitor))
    fit(default)
    assert warning.category is ProbeFailedWarning
    assert "returns_value failed and training goes on" in str(warning.message)
    assert "dataclass" in str(warning.message)
    assert shown in str(warning.message)
    assert causes(monitor) == causes(default)
    assert monitor._state.readings.lines()


@dataclass(frozen=True)
class AnyValue:
    """A reading with a value of any type."""

    value: object


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(2.0), 2.0),
        (torch.ones(2, 1, requires_grad=True), ((1.0,), (1.0,))),
        (np.float64(3.0), 3.0),
        (np.array([1, 2]), (1, 2)),
        ({"a": np.int64(4)}, {"a": 4}),
        (Scale(np.float32(0.5)), Scale(0.5)),
        (Cause.SETTLED, "settled"),
        ({2, 1}, (1, 2)),
    ],
)
def test_tensors_and_arrays_in_a_reading_become_numbers_and_the_checkpoint_loads_weights_only(
    value, expected, tmp_path
):
    def any_value(surface):
        return AnyValue(value)

    def records_value(evidence):
        reading = evidence.get(AnyValue)
        if reading is not None:
            values.append(reading.value)
        return

    values, path = [], tmp_path / "last.ckpt"
    monitor = monitor_with(probes=[*EXAMINATION, any_value], detectors=[records_value, *DETECTORS])
    assert warnings_of(lambda: fit(monitor, SaveAt(STEPS, path))) == []
    assert values
    assert all(type(number) is type(expected) and number == expected for number in values)
    state = torch.load(path, weights_only=True)["callbacks"][monitor.state_key]
    assert f"{__name__}:AnyValue" in state["run"]["verdicts"][-1]["evidence"]


def test_a_reading_that_a_checkpoint_cannot_store_is_warned_of_with_the_name_of_its_field():
    def any_value(surface):
        return AnyValue(NotData())

    monitor = monitor_with(probes=[any_value, *EXAMINATION])
    (warning,) = warnings_of(lambda: fit(monitor))
    assert "any_value failed" in str(warning.message)
    assert "AnyValue.value" in str(warning.message)
    assert "NotData" in str(warning.message)
    assert monitor.verdict.cause is Cause.UNDECIDED


def classes_with_library_names():
    """Return two reading classes of a user that have the names of classes of this library."""

    @dataclass(frozen=True)
    class Trials:
        number: int

    @dataclass(frozen=True)
    class Plane:
        wings: int

    return Trials, Plane


@pytest.mark.parametrize("index", [0, 1])
def test_readings_whose_class_has_the_name_of_a_library_class_survive_a_resume(index, tmp_path):
    kind = classes_with_library_names()[index]

    def probe_of_kind(surface):
        return kind(3)

    settings = {"probes": [*EXAMINATION, probe_of_kind]}
    path, straight, resumed = tmp_path / "half.ckpt", monitor_with(**settings), monitor_with(**settings)
    fit(straight, SaveAt(STEPS // 2, path))
    fit(resumed, ckpt_path=path)
    assert resumed._state.steps == STEPS
    assert causes(resumed) == causes(straight)
    assert resumed.verdicts[0].evidence.get(kind) == kind(3)
    assert resumed.verdicts[0].evidence.get(Trials) == straight.verdicts[0].evidence.get(Trials)
    assert resumed.report.to_dict()["verdicts"] == straight.report.to_dict()["verdicts"]


def test_a_state_of_an_older_version_with_readings_by_their_class_name_alone_can_be_resumed(tmp_path):
    path, settings = tmp_path / "half.ckpt", {"probes": [*EXAMINATION, scale]}
    first, resumed = monitor_with(**settings), monitor_with(**settings)
    fit(first, SaveAt(STEPS // 2, path))
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint["callbacks"][first.state_key]
    evidence = state["run"]["verdicts"][0]["evidence"]
    evidence["Trials" if "Trials" not in evidence else "Scale"] = evidence.pop(f"{__name__}:Scale")
    torch.save(checkpoint, path)
    fit(resumed, ckpt_path=path)
    assert resumed._state.steps == STEPS
    assert causes(resumed) == causes(first)


def test_a_reading_of_a_subclass_of_line_with_more_fields_survives_a_resume(tmp_path):
    @dataclass(frozen=True)
    class Labelled(Line):
        label: str = "mine"

    def labelled(surface):
        return Labelled("own", (0.0, 1.0), (1.0, 1.0), barrier=0.0, monotone=True, samples=1)

    path = tmp_path / "half.ckpt"
    first, resumed = (monitor_with(probes=[*EXAMINATION, labelled]) for _ in range(2))
    fit(first, SaveAt(STEPS // 2, path))
    fit(resumed, ckpt_path=path)
    assert resumed._state.steps == STEPS


# Scalars of a user's reading.


def test_a_users_scalar_is_published_and_survives_a_resume(tmp_path):
    path = tmp_path / "half.ckpt"
    first, resumed = (monitor_with(probes=[*EXAMINATION, scale]) for _ in range(2))
    published = fit(first, SaveAt(STEPS // 2, path)).callback_metrics
    assert float(published["landscape/weights/largest"]) > 0

    class ReadsFirstMetric(L.Callback):
        value = None

        def on_train_batch_start(self, trainer, *args):
            metric = float(trainer.callback_metrics["landscape/weights/largest"])
            ReadsFirstMetric.value = ReadsFirstMetric.value or metric

    fit(resumed, ReadsFirstMetric(), ckpt_path=path)
    state = torch.load(path, weights_only=True)["callbacks"][first.state_key]
    assert ReadsFirstMetric.value == pytest.approx(state["run"]["scalars"]["weights/largest"])


def test_other_callbacks_can_read_a_users_scalar_right_after_it_was_measured():
    calls = []

    def counting(surface):
        calls.append(1)
        return scale(surface)

    class ReadsMetrics(L.Callback):
        def on_train_batch_end(self, trainer, *args):
            assert bool(calls) == ("landscape/weights/largest" in trainer.callback_metrics)

    fit(monitor_with(probes=[*EXAMINATION, counting]), ReadsMetrics())
    assert calls


@dataclass(frozen=True)
class WithScalars:
    """A reading whose scalars are `answer`, or that raises an error with `answer` if that is a string."""

    answer: object

    @property
    def scalars(self):
        if isinstance(self.answer, str):
            raise RuntimeError(self.answer)
        return self.answer


def test_scalars_may_be_a_property_and_nan_is_not_published():
    monitor = monitor_with(probes=[*EXAMINATION, lambda surface: WithScalars({"mine": 2.5, "unknown": float("nan")})])
    metrics = fit(monitor).callback_metrics
    assert float(metrics["landscape/mine"]) == 2.5
    assert "landscape/unknown" not in metrics


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        *(
            (
                {name: 3.0},
                f"the scalar '{name}' of WithScalars is skipped: the library itself uses the name landscape/{name}",
            )
            for name in ("verdict", "lambda_min", "plane", "line_from_here")
        ),
        ({"": 3.0}, "the scalar '' of WithScalars is skipped: its name must be a string that is not empty"),
        ({"mine": "high"}, "the scalar 'mine' of WithScalars is skipped: it must be a number, got 'high'"),
        ([1.0], r"showing the scalars of WithScalars is skipped: .*mapping from names to numbers, got \[1.0\]"),
        ("no luck", "showing the scalars of WithScalars is skipped: RuntimeError: no luck"),
    ],
)
def test_scalars_that_cannot_be_published_are_warned_of_once_with_a_reason_and_the_reading_is_kept(answer, message):
    monitor, metrics = monitor_with(probes=[*EXAMINATION, lambda surface: WithScalars(answer)]), {}
    (warning,) = warnings_of(lambda: metrics.update(fit(monitor).callback_metrics))
    assert warning.category is ProbeSkippedWarning
    assert re.search(message, str(warning.message))
    assert monitor.verdict.evidence.get(WithScalars) is not None
    assert metrics["landscape/verdict"] != 3.0


def test_the_name_of_a_scalar_of_the_library_cannot_be_used_by_a_users_scalar():
    for make in MONITORS.values():
        names = fit(make()).callback_metrics.keys()
        assert {name for name in names if name.startswith("landscape/")}
        assert all(is_reserved(name.removeprefix("landscape/")) for name in names if name.startswith("landscape/"))


# The names of functions in messages.


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (scale, "scale"),
        (partial(scale), "scale"),
        (partial(scale, by=2), "scale(by=2)"),
        (LossLine("best"), "LossLine(anchor='best', points=11)"),
        (NotData(), "NotData"),
    ],
)
def test_a_function_is_named_by_its_own_name_and_settings(function, name):
    assert name_of(function) == name


def test_a_lambda_is_named_by_its_line_and_file():
    assert re.fullmatch(r"the lambda at line \d+ of test_own_parts.py", name_of(lambda: 1))
