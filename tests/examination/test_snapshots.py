"""Where a run was: in order of time, and in bounded memory."""

from __future__ import annotations

import torch
from torch import nn

from lightning_landscape.examination.snapshots import TRAIL, TRAIL_BYTES, Snapshots, parameters_of

NAMES = ("initial", "previous", "best")


def module(value=0.0, width=2):
    layer = nn.Linear(width, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(value)
    return layer


def walked(steps, width=2, names=NAMES):
    """A run that is looked at after every step, and is best at step 3."""
    snapshots = Snapshots(names)
    snapshots.take("initial", module(0.0, width))
    for step in steps:
        here = module(float(step), width)
        snapshots.take("previous", here, step)
        snapshots.take_best(abs(step - 3), here, step)
        snapshots.follow(here, step)
    return snapshots


def path(snapshots, width=2):
    points = snapshots.points(parameters_of(module(0.0, width)))
    return {name: float(point["weight"][0, 0]) for name, point in points.items()}


def test_points_come_in_the_order_of_time_and_each_place_once():
    assert path(walked(range(1, 6))) == {
        "initial": 0.0,
        "step 1": 1.0,
        "step 2": 2.0,
        "best": 3.0,
        "step 4": 4.0,
        "previous": 5.0,
    }


def test_a_path_of_any_length_has_few_points_and_its_latest():
    snapshots = walked(range(1, 500))
    values = list(path(snapshots).values())
    assert values == sorted(values)
    assert len(values) <= TRAIL + len(NAMES)
    assert values[-1] == 499.0


def test_the_points_of_the_path_stay_within_their_bytes_and_a_large_model_has_none():
    width = TRAIL_BYTES // (4 * 2)
    assert len(path(walked(range(10, 15), width), width)) <= len(NAMES) + 2
    large = TRAIL_BYTES // 4 + 1
    assert set(path(walked([10, 11], large), large)) <= set(NAMES)


def test_a_path_survives_saving_and_a_state_of_old_is_taken_without_one():
    snapshots = walked(range(1, 6))
    other = Snapshots(NAMES)
    other.load_state_dict(snapshots.state_dict())
    assert path(other) == path(snapshots)
    state = snapshots.state_dict()
    del state["steps"], state["trail"]
    other.load_state_dict(state)
    assert set(path(other)) == set(NAMES)


def test_a_point_of_another_model_is_left_out_and_the_path_begins_anew():
    snapshots = walked(range(1, 4))
    like = {"other": torch.zeros(3)}
    assert snapshots.points(like) == {}
    snapshots.follow(nn.Sequential(module()), 9)
    assert list(snapshots.state_dict()["trail"]) == [9]


def test_files_come_before_the_run_since_nobody_knows_their_time(tmp_path):
    file = tmp_path / "a.ckpt"
    torch.save({"state_dict": module(7.0).state_dict()}, file)
    assert list(path(walked([1], names=("initial", str(file)))))[:2] == [str(file), "initial"]
