"""Anchors and the path of a run: in the order of their steps, and in bounded memory."""

from __future__ import annotations

import torch
from torch import nn

from lightning_landscape.examination.snapshots import PATH_BYTES, PATH_POINTS, RECENT_BYTES, Snapshots, weights_of
from lightning_landscape.tracking.mean_loss import MeanLoss

NAMES = ("initial", "previous", "best")


def module(value=0.0, width=2):
    layer = nn.Linear(width, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(value)
    return layer


def snapshots_of_run(steps, width=2, names=NAMES):
    """Return the snapshots after each of these steps of a run whose loss is lowest at step 3."""
    snapshots = Snapshots(names)
    snapshots.take("initial", module(0.0, width))
    for step in steps:
        here = module(float(step), width)
        snapshots.take("previous", here, step)
        snapshots.take_best(abs(step - 3), here, step)
        snapshots.add_to_path(here, step)
    return snapshots


def path(snapshots, width=2):
    points = snapshots.points(weights_of(module(0.0, width)))
    return {name: float(point["weight"][0, 0]) for name, point in points.items()}


def test_points_are_in_the_order_of_their_steps_and_each_step_occurs_once():
    assert path(snapshots_of_run(range(1, 6))) == {
        "initial": 0.0,
        "step 1": 1.0,
        "step 2": 2.0,
        "best": 3.0,
        "step 4": 4.0,
        "previous": 5.0,
    }


def test_the_path_of_a_long_run_has_few_points_and_the_latest_is_one_of_them():
    snapshots = snapshots_of_run(range(1, 500))
    values = list(path(snapshots).values())
    assert values == sorted(values)
    assert len(values) <= PATH_POINTS + len(NAMES)
    assert values[-1] == 499.0


def test_the_path_has_as_many_points_as_fit_and_none_of_a_large_model():
    width = PATH_BYTES // (4 * 2)
    assert len(path(snapshots_of_run(range(10, 15), width), width)) <= len(NAMES) + 2
    large = PATH_BYTES // 4 + 1
    assert set(path(snapshots_of_run([10, 11], large), large)) <= set(NAMES)


def test_a_path_survives_a_checkpoint_and_an_older_state_without_one_can_be_loaded():
    snapshots = snapshots_of_run(range(1, 6))
    other = Snapshots(NAMES)
    other.load_state_dict(snapshots.state_dict())
    assert path(other) == path(snapshots)
    state = snapshots.state_dict()
    del state["steps"], state["trail"]
    other.load_state_dict(state)
    assert set(path(other)) == set(NAMES)


def test_a_point_of_another_model_is_left_out_and_a_new_path_begins():
    snapshots = snapshots_of_run(range(1, 4))
    like = {"other": torch.zeros(3)}
    assert snapshots.points(like) == {}
    snapshots.add_to_path(nn.Sequential(module()), 9)
    assert list(snapshots.state_dict()["trail"]) == [9]


def test_checkpoint_files_come_before_the_points_of_the_run(tmp_path):
    file = tmp_path / "a.ckpt"
    torch.save({"state_dict": module(7.0).state_dict()}, file)
    assert list(path(snapshots_of_run([1], names=("initial", str(file)))))[:2] == [str(file), "initial"]


def by_step(snapshots, width=2):
    points = snapshots.points(weights_of(module(0.0, width)), by_step=True)
    return {name: float(point["weight"][0, 0]) for name, point in points.items()}


def losses(*values):
    recent = MeanLoss()
    for value in values:
        recent.add(value)
    return recent


def test_recent_weights_are_copied_every_40_steps_and_offered_only_after_a_divergence():
    snapshots = snapshots_of_run([3])
    for step in (9, 19, 49, 59):
        snapshots.take_recent(module(float(step)), step, losses())
    assert by_step(snapshots) == {"step 0": 0.0, "step 3": 3.0, "step 49": 49.0}
    assert "step 49" not in path(snapshots)


def test_larger_weights_are_copied_more_seldom_and_only_finite_ones():
    snapshots, width = Snapshots(NAMES), 2 * RECENT_BYTES // 4
    snapshots.take_recent(module(float("nan")), 9, losses())
    assert by_step(snapshots) == {}
    for step in (9, 49, 88):
        snapshots.take_recent(module(float(step), width), step, losses())
    assert by_step(snapshots, width) == {"step 9": 9.0}
    snapshots.take_recent(module(89.0, width), 89, losses())
    assert by_step(snapshots, width) == {"step 89": 89.0}


def test_very_large_weights_are_best_only_where_all_weights_are_copied(monkeypatch):
    monkeypatch.setattr("lightning_landscape.examination.snapshots.MOST_RECENT_BYTES", 7)
    snapshots = Snapshots(NAMES)
    snapshots.take_recent(module(1.0), 9, losses(1.0))
    assert by_step(snapshots) == {}
    snapshots.take_all(module(2.0), 19, 0.5, on_path=False)
    assert snapshots.best == (19, 0.5)


def test_recent_weights_survive_a_checkpoint():
    snapshots, resumed = snapshots_of_run([]), Snapshots(NAMES)
    snapshots.take_recent(module(9.0), 9, losses())
    resumed.load_state_dict(snapshots.state_dict())
    assert by_step(resumed) == by_step(snapshots) == {"step 0": 0.0, "step 9": 9.0}


def test_the_best_weights_are_those_before_the_lowest_losses():
    snapshots = Snapshots(NAMES)
    # The losses are those of the 40 steps before: the weights of step 79 are followed by the lowest of them.
    for step, before in ((39, [5.0]), (79, [3.0, 2.0]), (119, [1.0]), (159, [7.0]), (199, [2.0])):
        snapshots.take_recent(module(float(step)), step, losses(*before))
    assert snapshots.best == (79, 1.0)
    assert path(snapshots)["best"] == 79.0
    resumed = Snapshots(NAMES)
    resumed.load_state_dict(snapshots.state_dict())
    assert resumed.best == (79, 1.0)


def test_a_mean_loss_begins_anew_with_each_copy():
    snapshots, recent = Snapshots(NAMES), losses(5.0)
    snapshots.take_recent(module(1.0), 9, recent)
    assert recent.mean is None
    recent.add(2.0)
    snapshots.take_recent(module(1.0), 19, recent)  # too early
    assert recent.mean == 2.0
