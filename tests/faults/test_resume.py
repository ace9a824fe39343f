"""F23-F25: of a run that is stopped at any step and resumed, the monitor observes the same as of a straight run."""

from __future__ import annotations

import copy
import logging
import math
import os
import random
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import lightning as L
import pytest
import torch

from lightning_landscape import (
    CurvatureMonitor,
    GradientNormMonitor,
    LandscapeMonitor,
    LossInterpolationMonitor,
    PlateauMonitor,
)
from lightning_landscape.evidence import Curvature
from tests.faults.runs import MONITORS, Net, Stuck, bits, fit, trace, warnings_of
from tests.saving import SaveAt

STEPS = 120
STOPS = (3, 9, 16, 29, 31, 47, 64, 75, 99, 118)
"""before and at the first check, at the end of the loss's fall, at the end of an epoch (of 16 batches) and inside one,
on the plateau, and two steps before the end"""
FEW_STOPS = (16, 47, 99)
OTHERS = [name for name in MONITORS if name != "landscape"]
"""monitors that are tested at few steps, because their states are written and read by the code of `LandscapeMonitor`"""
every_monitor = pytest.mark.parametrize("name", MONITORS)
pytestmark = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


class RecordScalars(L.Callback):
    """Records the scalars in `callback_metrics` after each step."""

    def __init__(self):
        self.scalars = {}

    def on_train_batch_end(self, trainer, *args):
        values = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("landscape/")}
        values.pop("landscape/overhead", None)  # depends on the clock
        self.scalars[trainer.global_step] = {name: repr(value) for name, value in values.items()}


def run(monitor, *others, ckpt_path=None, steps=STEPS):
    """Train with the monitor, and return the trace and the scalars after each step."""
    recorder, runs = RecordScalars(), []
    warnings_of(lambda: runs.append(fit(Stuck(), monitor, recorder, *others, ckpt_path=ckpt_path, steps=steps)))
    return trace(runs[0]), recorder.scalars


@pytest.mark.parametrize(
    ("name", "stop"), [("landscape", stop) for stop in STOPS] + [(name, stop) for name in OTHERS for stop in FEW_STOPS]
)
def test_f23_f24_a_resumed_run_has_the_verdicts_scalars_readings_and_weights_of_a_straight_run(name, stop, tmp_path):
    path, whole, rest = tmp_path / "stop.ckpt", MONITORS[name](), MONITORS[name]()
    straight, scalars = run(whole, SaveAt(stop, path))
    resumed, after = run(rest, ckpt_path=path)
    assert rest.verdicts == whole.verdicts
    assert rest._state.state_dict() == whole._state.state_dict()
    assert rest._state.readings.lines() == whole._state.readings.lines()
    assert rest._state.readings.latest(Curvature) == whole._state.readings.latest(Curvature)
    assert bits(rest._examination.snapshots.state_dict()) == bits(whole._examination.snapshots.state_dict())
    checks = [step for step in after if step > stop and step % 10 == 0]  # nothing is published between checks
    assert [after[step] for step in checks] == [scalars[step] for step in checks]
    for key in ("step", "weights", "optimizers"):
        assert resumed[key] == straight[key]


@cache
def state_of(name):
    """Return the state of this monitor after 60 steps."""
    monitor = MONITORS[name]()
    run(monitor, steps=60)
    return monitor.state_dict()


def test_f23_the_run_of_these_tests_gets_an_alarm():
    monitor = MONITORS["landscape"]()
    run(monitor)
    assert any(verdict.stuck for verdict in monitor.verdicts)


CHANGED = {
    "landscape": lambda: LandscapeMonitor(every_n_steps=7, num_points=5, max_batches=3, norm_every_n_steps=2),
    "gradient norm": lambda: GradientNormMonitor(every_n_steps=3),
    "plateau": lambda: PlateauMonitor(norm_every_n_steps=3),
    "interpolation": lambda: LossInterpolationMonitor(
        every_n_steps=7, num_points=5, max_batches=3, anchors=["initial", "best"]
    ),
    "curvature": lambda: CurvatureMonitor(every_n_steps=7, iterations=4, max_batches=3),
}


@every_monitor
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_f23_a_resumed_run_has_the_settings_of_the_new_monitor_and_the_observations_of_the_old_one(name, tmp_path):
    path, rest = tmp_path / "stop.ckpt", CHANGED[name]()
    run(MONITORS[name](), SaveAt(60, path))
    run(rest, ckpt_path=path)
    assert rest._state.steps == STEPS  # the 60 of the first run and the 60 of the second
    examination, fresh = rest._examination, CHANGED[name]()._examination
    assert (examination.schedule.every_n_steps, examination.probe_set.max_batches) == (
        fresh.schedule.every_n_steps,
        fresh.probe_set.max_batches,
    )
    assert rest._recorder.norm_every_n_steps == CHANGED[name]()._recorder.norm_every_n_steps
    if name == "interpolation":
        points = [len(line.losses) for _, line in rest.readings.lines()["initial"]]
        assert points[0] == 4  # num_points=3 of the first run, and one point beyond the end of the line
        assert points[-1] == 6


def with_value(state, *path, value):
    """Return a copy of a nested state with `value` at `path`."""
    state = copy.deepcopy(state)
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return state


def paths_of(state, path=()):
    """Yield the path of every value in a nested state."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from paths_of(value, (*path, key))
    elif isinstance(state, list) and state:
        yield from paths_of(state[0], (*path, 0))
    yield path


GARBAGE = [None, "text", -1, 10**400, math.nan, math.inf, [], {}, [[["deep"]]], torch.ones(3), True]


@cache
def weights_without_monitor():
    return trace(fit(Net()))["weights"]


def fit_from_state(name, state, caplog):
    """Train with a monitor that loads `state`, and require unchanged weights.

    Return the monitor and the log records that say that it starts anew.
    """
    monitor = MONITORS[name]()
    monitor.load_state_dict(copy.deepcopy(state))
    expected = weights_without_monitor()
    caplog.clear()
    with caplog.at_level(logging.INFO, "lightning_landscape"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = trace(fit(Net(), monitor))
    assert changed["weights"] == expected
    records = [record for record in caplog.records if "starts anew" in record.getMessage()]
    return monitor, records


NO_STATES = [
    {"seen": 3},
    {"recorder": None, "seen": {"schema": 99}},
    {"recorder": [], "seen": [], "examination": []},
    {"anything": torch.ones(2)},
    [1, 2],
    "text",
    7,
]


@pytest.mark.parametrize(
    ("name", "state"), [("landscape", state) for state in NO_STATES] + [(name, {"seen": 3}) for name in OTHERS]
)
def test_f25_garbage_in_place_of_a_state_is_ignored_with_one_log_record_and_the_monitor_starts_anew(
    name, state, caplog
):
    monitor, records = fit_from_state(name, state, caplog)
    assert len(records) == 1
    assert monitor._state.steps == 40
    assert not monitor._guard.failures
    assert monitor._intervals.horizon == 40


@pytest.mark.parametrize(
    ("name", "schema"), [("landscape", schema) for schema in (0, 1, 4, 99, None, "3")] + [(name, 4) for name in OTHERS]
)
def test_f25_a_state_of_an_unknown_schema_is_ignored_with_one_log_record(name, schema, caplog):
    monitor, records = fit_from_state(name, with_value(state_of(name), "schema", value=schema), caplog)
    assert len(records) == 1
    assert "schema" in records[0].getMessage()
    assert monitor._state.steps == 40


@every_monitor
def test_f25_a_state_with_a_wrong_value_anywhere_never_raises(name, caplog):
    state, generator = state_of(name), random.Random(11)
    paths = [path for path in paths_of(state) if path]
    for path in generator.sample(paths, min(30 if name == "landscape" else 10, len(paths))):
        monitor, records = fit_from_state(name, with_value(state, *path, value=generator.choice(GARBAGE)), caplog)
        assert len(records) <= 1
        assert "watched." in monitor.report


@every_monitor
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_f25_resumed_from_a_checkpoint_without_its_state_a_monitor_observes_the_rest_of_the_run(name, tmp_path):
    path = tmp_path / "alone.ckpt"
    fit(Net(), steps=30).save_checkpoint(path)
    monitor = MONITORS[name]()
    assert warnings_of(lambda: fit(Net(), monitor, ckpt_path=path, steps=50)) == []
    assert monitor._state.steps == 20
    assert monitor._intervals.horizon == 20


def test_f25_a_checkpoint_with_the_states_of_monitors_can_be_resumed_without_monitors(tmp_path):
    path = tmp_path / "ours.ckpt"
    fit(Net(), *(make() for make in MONITORS.values()), steps=30).save_checkpoint(path)
    with pytest.warns(UserWarning, match="Be aware that when using `ckpt_path`"):
        assert fit(Net(), ckpt_path=path, steps=50).global_step == 50


WITHOUT_US = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lightning_landscape", "lightning"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import torch
state = torch.load(sys.argv[1], weights_only=True)
print(len(state["callbacks"]), sorted(state["state_dict"])[0])
"""


def test_f24_a_checkpoint_can_be_loaded_where_this_library_is_not_installed(tmp_path):
    path = tmp_path / "ours.ckpt"
    fit(Net(), *(make() for make in MONITORS.values()), steps=30).save_checkpoint(path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_US, str(path)],
        cwd=Path(path.anchor), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(len(MONITORS)), "net.0.bias"]


def test_f23_checkpoints_at_every_step_do_not_postpone_a_diagnosis_for_ever():
    """Captured batches are not in a checkpoint, so that saving one postpones a diagnosis until batches are captured."""

    class SaveAtEachStep(L.Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer._checkpoint_connector.dump_checkpoint()

    calls = []
    monitor = LandscapeMonitor(probes=(lambda surface: calls.append(surface.run.samples),), max_batches=4)
    run(monitor, SaveAtEachStep())
    assert calls
