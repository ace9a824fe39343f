"""A user's own probes, detectors, readings and scalars are treated in a run as those of the library."""

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

STEPS = 240


class Settles(L.LightningModule):
    """A linear classifier of noisy labels, which reaches its minimum in the first steps."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 3)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Flat(Settles):
    """A module whose loss does not depend on its weights."""

    def training_step(self, batch, batch_idx):
        return 2.0 + 0.0 * super().training_step(batch, batch_idx)


class Saves(L.Callback):
    """Writes a checkpoint after one step."""

    def __init__(self, at, path):
        self.at, self.path = at, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.at:
            trainer.save_checkpoint(self.path)


def fit(monitor, *others, module=Settles, steps=STEPS, ckpt_path=None):
    L.seed_everything(7, verbose=False)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 4, generator=generator)
    labels = (inputs[:, :3] + 1.5 * torch.randn(256, 3, generator=generator)).argmax(1)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(**quiet, max_steps=steps, accelerator="cpu", callbacks=[monitor, *others])
    trainer.fit(module(), DataLoader(TensorDataset(inputs, labels), batch_size=32), ckpt_path=ckpt_path)
    return trainer


def said_by(work):
    """Return the library's warnings during `work`."""
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


def heavy(evidence):
    """Return an alarm once there is a reading of `scale`."""
    found, plateau = evidence.get(Scale), evidence.get(Plateau)
    if found is None:
        return None
    reason = f"A weight is {found.largest:.3g} (threshold 0)."
    return Verdict(Cause.POOR_MINIMUM, plateau.step, plateau.since, stuck=True, reason=reason)


def monitor_with(**settings):
    return LandscapeMonitor(every_n_steps=50, **settings)


def causes(monitor):
    return [(verdict.cause, verdict.step, verdict.since, verdict.stuck) for verdict in monitor.verdicts]


class Opaque:
    pass


# Detectors and probes in a run.


def test_an_additional_probe_changes_no_verdict_and_no_other_measurement():
    usual, extended = monitor_with(), monitor_with(probes=[*EXAMINATION, scale])
    before, after = fit(usual), fit(extended)
    assert usual.verdicts[0].cause is Cause.SETTLED
    assert causes(extended) == causes(usual)
    assert [verdict.reason for verdict in extended.verdicts] == [verdict.reason for verdict in usual.verdicts]
    assert extended._state.readings.lines().keys() == usual._state.readings.lines().keys()
    assert after.callback_metrics.keys() == before.callback_metrics.keys() | {"landscape/weights/largest"}
    assert "landscape/barrier" in after.callback_metrics
    assert extended.readings.kinds >= {"GradientNoise", "Line"}


def test_with_other_probes_lines_noise_scale_and_the_plane_of_an_alarm_are_still_measured():
    monitor = monitor_with(probes=[scale], detectors=[heavy])
    with pytest.warns(LandscapeWarning, match="A weight is"):
        fit(monitor)
    assert monitor._state.readings.lines().keys() == {"initial", "previous", "best"}
    assert "GradientNoise" in monitor.readings.kinds
    assert monitor.planes


def test_a_plane_of_the_users_own_probe_does_not_replace_the_plane_of_an_alarm():
    def alarm_after_step_150(evidence):
        plateau = evidence.get(Plateau)
        if plateau.step < 150:
            return Verdict(Cause.UNDECIDED, plateau.step, plateau.since, stuck=False, reason="It is early.")
        return Verdict(Cause.POOR_MINIMUM, plateau.step, plateau.since, stuck=True, reason="It is late.")

    def watch(plane):
        monitor = monitor_with(probes=[*EXAMINATION, *plane], detectors=[alarm_after_step_150])
        said_by(lambda: fit(monitor, steps=1000))
        return monitor

    usual, own = watch([]), watch([PathPlane(resolution=3)])
    assert [verdict.reason for verdict in usual.verdicts] == ["It is late."]
    assert usual.planes
    assert len(own.planes) > len(usual.planes)
    assert [plane for plane in usual.planes if plane not in own.planes] == []


def test_with_an_empty_list_of_probes_none_runs():
    monitor = monitor_with(probes=())
    fit(monitor)
    assert not monitor._state.readings.lines()
    assert not monitor.planes
    assert not len(monitor._examination.probe_set)


def test_the_users_detector_names_the_cause_and_its_reading_is_in_the_evidence():
    monitor = monitor_with(probes=[*EXAMINATION, scale], detectors=[heavy, *DETECTORS])
    with pytest.warns(LandscapeWarning, match=r"A weight is .* \(threshold 0\)"):
        fit(monitor)
    assert monitor.verdict.cause is Cause.POOR_MINIMUM
    assert monitor.verdict.evidence.get(Scale).names == ("net.weight", "net.bias")
    assert "| Scale.largest |" in monitor.report.to_markdown()


def test_the_users_probe_runs_even_if_the_cause_is_known():
    calls = []

    def counted(surface):
        calls.append(1)
        return scale(surface)

    monitor = monitor_with(probes=[*EXAMINATION, counted])
    fit(monitor)
    assert monitor.verdict.cause is Cause.SETTLED
    assert calls


def test_the_detectors_in_use_decide_whether_more_expensive_probes_are_needed():
    def sure(evidence):
        return Verdict(Cause.NOT_UPDATING, 0, 0, stuck=True, reason="It is known.")

    assert needs_more_evidence(Evidence())
    assert not needs_more_evidence(Evidence(), [sure])


def test_no_trial_runs_if_the_detectors_know_the_cause_without_it():
    def sure(evidence):
        plateau = evidence.get(Plateau)
        return Verdict(Cause.NOT_UPDATING, plateau.step, plateau.since, stuck=True, reason="It is known.")

    monitor = monitor_with(detectors=[sure])
    with pytest.warns(LandscapeWarning, match="It is known"):
        fit(monitor)
    assert monitor.verdict.cause is Cause.NOT_UPDATING
    assert monitor.verdict.evidence.get(Trials) is None
    assert monitor.planes


@pytest.mark.parametrize(
    "broken",
    [
        lambda evidence: evidence.get(Scale).largest,
        lambda evidence: "saddle_point",
        lambda evidence: Verdict("no cause", 1, 1, stuck=True, reason=""),
        lambda evidence: Verdict(Cause.SADDLE_POINT, torch.tensor(1), 1, stuck=True, reason=""),
        lambda evidence: Verdict(Cause.SADDLE_POINT, 1, 1, stuck=True, reason="", evidence=Evidence(Opaque())),
    ],
)
def test_a_detector_that_fails_is_named_and_the_others_reach_the_verdict(broken):
    broken.__name__ = "broken"
    monitor, usual = monitor_with(detectors=[broken, *DETECTORS]), monitor_with()
    (said,) = said_by(lambda: fit(monitor))
    fit(usual)
    assert said.category is ProbeFailedWarning
    assert "broken failed and training goes on" in str(said.message)
    assert causes(monitor) == causes(usual)
    assert "broken failed" in monitor.report


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detectors": 3}, "detectors must be a sequence of functions, got 3"),
        ({"detectors": [heavy, "settled"]}, r"detectors must be a sequence of functions, got \[.*'settled'\]"),
        ({"detectors": iter([heavy])}, "detectors must be a sequence of functions, got <list_iterator"),
        ({"probes": iter([scale])}, "probes must be a sequence of functions, got <list_iterator"),
        ({"probes": [LossLine]}, r"probes must be a sequence of functions, got \[<class '.*LossLine'>\]"),
    ],
)
def test_detectors_and_probes_that_are_no_sequence_of_functions_are_refused_with_their_value(settings, message):
    with pytest.raises(ValueError, match=message):
        LandscapeMonitor(**settings)


def test_the_usual_probes_can_be_imported_from_their_earlier_place():
    from lightning_landscape.callbacks import landscape

    assert landscape.EXAMINATION is EXAMINATION


# Each probe once.


def test_the_interpolation_monitor_measures_each_line_once_per_check(monkeypatch):
    measured, measure = [], LossLine.__call__

    def counted(probe, surface):
        measured.append((probe.anchor, monitor._state.steps))
        return measure(probe, surface)

    monkeypatch.setattr(LossLine, "__call__", counted)
    monitor = LossInterpolationMonitor()
    said_by(lambda: fit(monitor, module=Flat))
    assert monitor.verdicts  # there was a stall
    assert len({step for _, step in measured}) > 1
    assert len(measured) == len(set(measured))


def test_a_line_that_is_also_among_the_probes_is_measured_once_per_check(monkeypatch):
    measured, measure = [], LossLine.__call__

    def counted(probe, surface):
        measured.append((probe.anchor, monitor._state.steps))
        return measure(probe, surface)

    monkeypatch.setattr(LossLine, "__call__", counted)
    monitor = monitor_with(probes=[*EXAMINATION, LossLine("best"), LossLine("best")])
    fit(monitor)
    assert ("best" in {anchor for anchor, _ in measured}) is True
    assert len(measured) == len(set(measured))


# What a probe returns.


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
def test_the_warning_on_a_probe_that_returns_no_reading_shows_the_value_and_a_verdict_is_reached(value, shown):
    def odd(surface):
        return value

    monitor, usual = monitor_with(probes=[odd, *EXAMINATION]), monitor_with()
    (said,) = said_by(lambda: fit(monitor))
    fit(usual)
    assert said.category is ProbeFailedWarning
    assert "odd failed and training goes on" in str(said.message)
    assert "dataclass" in str(said.message)
    assert shown in str(said.message)
    assert causes(monitor) == causes(usual)
    assert monitor._state.readings.lines()


@dataclass(frozen=True)
class Holds:
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
def test_tensors_and_arrays_in_a_reading_become_numbers_and_the_checkpoint_loads_with_weights_only(
    value, expected, tmp_path
):
    def holding(surface):
        return Holds(value)

    def collect(evidence):
        reading = evidence.get(Holds)
        if reading is not None:
            values.append(reading.value)
        return

    values, path = [], tmp_path / "last.ckpt"
    monitor = monitor_with(probes=[*EXAMINATION, holding], detectors=[collect, *DETECTORS])
    assert said_by(lambda: fit(monitor, Saves(STEPS, path))) == []
    assert values
    assert all(type(found) is type(expected) and found == expected for found in values)
    state = torch.load(path, weights_only=True)["callbacks"][monitor.state_key]
    assert f"{__name__}:Holds" in state["run"]["verdicts"][-1]["evidence"]


def test_a_reading_that_cannot_be_saved_is_refused_with_the_name_of_its_field():
    def holding(surface):
        return Holds(Opaque())

    monitor = monitor_with(probes=[holding, *EXAMINATION])
    (said,) = said_by(lambda: fit(monitor))
    assert "holding failed" in str(said.message)
    assert "Holds.value" in str(said.message)
    assert "Opaque" in str(said.message)
    assert monitor.verdict.cause is Cause.SETTLED


def of_the_same_name():
    """Return two classes with the names of classes of the library."""

    @dataclass(frozen=True)
    class Trials:
        number: int

    @dataclass(frozen=True)
    class Plane:
        wings: int

    return Trials, Plane


@pytest.mark.parametrize("place", [0, 1])
def test_readings_with_the_class_names_of_the_library_survive_a_resume(place, tmp_path):
    kind = of_the_same_name()[place]

    def same_name(surface):
        return kind(3)

    settings = {"probes": [*EXAMINATION, same_name]}
    path, whole, rest = tmp_path / "half.ckpt", monitor_with(**settings), monitor_with(**settings)
    fit(whole, Saves(STEPS // 2, path))
    fit(rest, ckpt_path=path)
    assert rest._state.steps == STEPS
    assert causes(rest) == causes(whole)
    assert rest.verdicts[0].evidence.get(kind) == kind(3)
    assert rest.verdicts[0].evidence.get(Trials) == whole.verdicts[0].evidence.get(Trials)
    assert rest.report.to_dict()["verdicts"] == whole.report.to_dict()["verdicts"]


def test_the_state_of_an_older_version_with_a_reading_under_its_class_name_can_be_loaded(tmp_path):
    path, settings = tmp_path / "half.ckpt", {"probes": [*EXAMINATION, scale]}
    first, rest = monitor_with(**settings), monitor_with(**settings)
    fit(first, Saves(STEPS // 2, path))
    checkpoint = torch.load(path, weights_only=True)
    state = checkpoint["callbacks"][first.state_key]
    evidence = state["run"]["verdicts"][0]["evidence"]
    evidence["Trials" if "Trials" not in evidence else "Scale"] = evidence.pop(f"{__name__}:Scale")
    torch.save(checkpoint, path)
    fit(rest, ckpt_path=path)
    assert rest._state.steps == STEPS
    assert causes(rest) == causes(first)


def test_a_subclass_of_line_with_another_field_survives_a_resume(tmp_path):
    @dataclass(frozen=True)
    class Labelled(Line):
        label: str = "mine"

    def labelled(surface):
        return Labelled("own", (0.0, 1.0), (1.0, 1.0), barrier=0.0, monotone=True, samples=1)

    path = tmp_path / "half.ckpt"
    first, rest = (monitor_with(probes=[*EXAMINATION, labelled]) for _ in range(2))
    fit(first, Saves(STEPS // 2, path))
    fit(rest, ckpt_path=path)
    assert rest._state.steps == STEPS


# The user's own scalars.


def test_the_users_scalar_is_published_and_survives_a_resume(tmp_path):
    path = tmp_path / "half.ckpt"
    first, rest = (monitor_with(probes=[*EXAMINATION, scale]) for _ in range(2))
    published = fit(first, Saves(STEPS // 2, path)).callback_metrics
    assert float(published["landscape/weights/largest"]) > 0

    class First(L.Callback):
        found = None

        def on_train_batch_start(self, trainer, *args):
            First.found = First.found or float(trainer.callback_metrics["landscape/weights/largest"])

    fit(rest, First(), ckpt_path=path)
    state = torch.load(path, weights_only=True)["callbacks"][first.state_key]
    assert First.found == pytest.approx(state["run"]["scalars"]["weights/largest"])


def test_other_callbacks_can_read_the_users_scalar_as_soon_as_it_is_measured():
    calls = []

    def counted(surface):
        calls.append(1)
        return scale(surface)

    class ReadsMetrics(L.Callback):
        def on_train_batch_end(self, trainer, *args):
            assert bool(calls) == ("landscape/weights/largest" in trainer.callback_metrics)

    fit(monitor_with(probes=[*EXAMINATION, counted]), ReadsMetrics())
    assert calls


@dataclass(frozen=True)
class Shows:
    """A reading with these scalars, or with an error in place of them."""

    what: object

    @property
    def scalars(self):
        if isinstance(self.what, str):
            raise RuntimeError(self.what)
        return self.what


def test_scalars_may_be_a_property_and_a_tensor_in_them_is_a_number():
    monitor = monitor_with(probes=[*EXAMINATION, lambda surface: Shows({"mine": 2.5, "unknown": float("nan")})])
    metrics = fit(monitor).callback_metrics
    assert float(metrics["landscape/mine"]) == 2.5
    assert "landscape/unknown" not in metrics


@pytest.mark.parametrize(
    ("what", "message"),
    [
        *(
            ({name: 3.0}, f"the scalar '{name}' of Shows is skipped: the library itself uses the name landscape/{name}")
            for name in ("verdict", "lambda_min", "plane", "line_from_here")
        ),
        ({"": 3.0}, "the scalar '' of Shows is skipped: its name must be a string that is not empty"),
        ({"mine": "high"}, "the scalar 'mine' of Shows is skipped: it must be a number, got 'high'"),
        ([1.0], r"showing the scalars of Shows is skipped: .*mapping from names to numbers, got \[1.0\]"),
        ("no luck", "showing the scalars of Shows is skipped: RuntimeError: no luck"),
    ],
)
def test_an_invalid_scalar_is_refused_once_with_the_reason_and_the_reading_is_kept(what, message):
    monitor, metrics = monitor_with(probes=[*EXAMINATION, lambda surface: Shows(what)]), {}
    (said,) = said_by(lambda: metrics.update(fit(monitor).callback_metrics))
    assert said.category is ProbeSkippedWarning
    assert re.search(message, str(said.message))
    assert monitor.verdict.evidence.get(Shows) is not None
    assert metrics["landscape/verdict"] != 3.0


def test_users_cannot_use_the_name_of_any_scalar_of_the_library():
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
        (Opaque(), "Opaque"),
    ],
)
def test_a_function_has_a_readable_name(function, name):
    assert name_of(function) == name


def test_the_name_of_a_lambda_is_its_place():
    assert re.fullmatch(r"the lambda at line \d+ of test_own_parts.py", name_of(lambda: 1))
