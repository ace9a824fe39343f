"""F23-F25: a run that is stopped anywhere and resumed is watched as if it had never been stopped."""

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
from tests.faults.runs import MONITORS, Net, Stuck, bits, fit, said_by, trace

STEPS = 120
STOPS = (3, 9, 16, 29, 31, 47, 64, 75, 99, 118)
"""before the first look and at it, at both ends of the fall, at the end of an epoch (of 16 batches) and in the midst of
one, on the plateau, and two steps from the end"""
FEW = (16, 47, 99)
OTHERS = [name for name in MONITORS if name != "landscape"]
"""of whose state every part is a part of the first one's too, or read and written by the same lines of code"""
every_monitor = pytest.mark.parametrize("name", MONITORS)
pytestmark = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


class Saves(L.Callback):
    """Writes a checkpoint at one step, as anybody may."""

    def __init__(self, at, path):
        self.at, self.path = at, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.at:
            trainer.save_checkpoint(self.path)


class Rows(L.Callback):
    """The scalars that others can read after each step."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_end(self, trainer, *args):
        values = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("landscape/")}
        values.pop("landscape/overhead", None)  # the clock's
        self.seen[trainer.global_step] = {name: repr(value) for name, value in values.items()}


def run(monitor, *others, ckpt_path=None, steps=STEPS):
    rows = Rows()
    said_by(lambda: runs.append(fit(Stuck(), monitor, rows, *others, ckpt_path=ckpt_path, steps=steps)), runs := [])
    return trace(runs[0]), rows.seen


@pytest.mark.parametrize(
    ("name", "stop"), [("landscape", stop) for stop in STOPS] + [(name, stop) for name in OTHERS for stop in FEW]
)
def test_f23_f24_stopped_anywhere_and_resumed_by_default_a_run_is_seen_as_the_straight_one(name, stop, tmp_path):
    path, whole, rest = tmp_path / "stop.ckpt", MONITORS[name](), MONITORS[name]()
    straight, scalars = run(whole, Saves(stop, path))
    resumed, after = run(rest, ckpt_path=path)
    assert rest.verdicts == whole.verdicts
    assert rest._state.state_dict() == whole._state.state_dict()
    assert rest._state.readings.lines() == whole._state.readings.lines()
    assert rest._state.readings.latest(Curvature) == whole._state.readings.latest(Curvature)
    assert bits(rest._examination._snapshots.state_dict()) == bits(whole._examination._snapshots.state_dict())
    looked = [step for step in after if step > stop and step % 10 == 0]  # between two looks nothing is published
    assert [after[step] for step in looked] == [scalars[step] for step in looked]
    for key in ("step", "weights", "optimizers"):
        assert resumed[key] == straight[key]


@cache
def state_of(name):
    """What a checkpoint holds of this monitor in mid-run."""
    monitor = MONITORS[name]()
    run(monitor, steps=60)
    return monitor.state_dict()


def test_f23_the_stuck_run_gives_the_resumed_ones_something_to_agree_on():
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
def test_f23_changed_settings_win_in_the_new_run_which_goes_on_from_what_was_seen(name, tmp_path):
    path, rest = tmp_path / "stop.ckpt", CHANGED[name]()
    run(MONITORS[name](), Saves(60, path))
    run(rest, ckpt_path=path)
    assert rest._state.steps == STEPS  # and not only the 60 of the new run
    examination, fresh = rest._examination, CHANGED[name]()._examination
    assert (examination.schedule.every_n_steps, examination.probe_set.max_batches) == (
        fresh.schedule.every_n_steps,
        fresh.probe_set.max_batches,
    )
    assert rest._recorder.norm_every_n_steps == CHANGED[name]()._recorder.norm_every_n_steps
    if name == "interpolation":
        points = [len(line.losses) for _, line in rest.readings.lines()["initial"]]
        assert points[0] == 4  # three and one beyond, of the first run
        assert points[-1] == 6


def broken(state, *path, value):
    state = copy.deepcopy(state)
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return state


def leaves(state, path=()):
    """The path of every value in a nested state."""
    if isinstance(state, dict):
        for key, value in state.items():
            yield from leaves(value, (*path, key))
    elif isinstance(state, list) and state:
        yield from leaves(state[0], (*path, 0))
    yield path


GARBAGE = [None, "text", -1, 10**400, math.nan, math.inf, [], {}, [[["deep"]]], torch.ones(3), True]


@cache
def weights_alone():
    return trace(fit(Net()))["weights"]


def resume_from(name, state, caplog):
    """Fit on from a checkpoint that holds this, and require that it harms nobody."""
    monitor = MONITORS[name]()
    monitor.load_state_dict(copy.deepcopy(state))
    expected = weights_alone()
    caplog.clear()
    with caplog.at_level(logging.INFO, "lightning_landscape"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = trace(fit(Net(), monitor))
    assert changed["weights"] == expected
    told = [record for record in caplog.records if "starts anew" in record.getMessage()]
    return monitor, told


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
def test_f25_garbage_in_place_of_a_state_is_left_with_one_line_and_the_run_is_seen_from_its_start(name, state, caplog):
    monitor, told = resume_from(name, state, caplog)
    assert len(told) == 1
    assert monitor._state.steps == 40
    assert not monitor._guard.failures
    assert monitor._intervals.horizon == 40


@pytest.mark.parametrize(
    ("name", "schema"), [("landscape", schema) for schema in (0, 1, 4, 99, None, "3")] + [(name, 4) for name in OTHERS]
)
def test_f25_a_state_of_an_older_or_a_newer_schema_is_left_with_one_line(name, schema, caplog):
    monitor, told = resume_from(name, broken(state_of(name), "schema", value=schema), caplog)
    assert len(told) == 1
    assert "schema" in told[0].getMessage()
    assert monitor._state.steps == 40


@every_monitor
def test_f25_no_damage_to_any_part_of_a_state_ever_raises(name, caplog):
    state, generator = state_of(name), random.Random(11)
    paths = [path for path in leaves(state) if path]
    for path in generator.sample(paths, min(30 if name == "landscape" else 10, len(paths))):
        monitor, told = resume_from(name, broken(state, *path, value=generator.choice(GARBAGE)), caplog)
        assert len(told) <= 1
        assert "watched." in monitor.report


@every_monitor
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_f25_a_checkpoint_without_our_state_starts_afresh_for_the_rest_of_the_run(name, tmp_path):
    path = tmp_path / "alone.ckpt"
    fit(Net(), steps=30).save_checkpoint(path)
    monitor = MONITORS[name]()
    assert said_by(lambda: fit(Net(), monitor, ckpt_path=path, steps=50)) == []
    assert monitor._state.steps == 20
    assert monitor._intervals.horizon == 20


def test_f25_a_checkpoint_with_our_state_serves_a_run_without_us(tmp_path):
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


def test_f24_the_users_checkpoint_can_be_loaded_where_this_library_is_not_installed(tmp_path):
    path = tmp_path / "ours.ckpt"
    fit(Net(), *(make() for make in MONITORS.values()), steps=30).save_checkpoint(path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_US, str(path)],
        cwd=Path(path.anchor), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(len(MONITORS)), "net.0.bias"]


def test_f23_batches_that_a_checkpoint_does_not_hold_put_an_examination_off_once_and_not_for_ever():
    class Often(L.Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer._checkpoint_connector.dump_checkpoint()

    looks = []
    monitor = LandscapeMonitor(probes=(lambda surface: looks.append(surface.run.samples),), max_batches=4)
    run(monitor, Often())
    assert looks
