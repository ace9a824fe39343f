"""The history of a metric: bounded, continued after a resume, and without the values that are not finite."""

import json
from math import inf, nan

import pytest

from lightning_landscape.tracking.metric_history import POINTS, MetricHistory
from lightning_landscape.tracking.validation_loss import validation_loss


def fed(values, mode="max", horizon=None, every=10):
    history = MetricHistory("reward", mode, horizon=horizon)
    for i, value in enumerate(values):
        history.update(i * every, value)
    return history


def test_a_million_values_would_take_no_more_memory_than_two_hundred():
    history = fed([i / 5000 for i in range(5000)])
    drawn = history.drawn()
    assert history.count == 5000
    assert len(drawn["step"]) == len(drawn["value"]) <= POINTS
    assert drawn["best"] == {"step": 49990, "value": 4999 / 5000}
    assert drawn["value"] == sorted(drawn["value"])
    assert json.loads(json.dumps(drawn)) == drawn


def test_the_plateau_begins_where_the_metric_stopped_and_its_length_counts_optimizer_steps():
    history = fed([min(i, 20) / 20 for i in range(60)])
    assert (history.since, history.plateau_length) == (200, 390)
    assert not history.improves


def test_a_rising_metric_has_no_plateau_and_a_falling_one_with_mode_min_neither():
    assert fed([i / 60 for i in range(60)]).plateau_length == 0
    assert fed([-i / 60 for i in range(60)], mode="min").plateau_length == 0
    assert fed([i / 60 for i in range(60)]).improves


def test_a_short_rest_in_a_long_run_is_no_plateau():
    values = [min(i, 8) / 8 for i in range(20)]
    assert fed(values, horizon=None).plateau_length > 0
    assert fed(values, horizon=100_000).plateau_length == 0


def test_values_that_are_not_finite_are_counted_and_left_out():
    history = fed([nan, 1.0, inf, 2.0, nan])
    assert (history.count, history.not_finite, history.best) == (2, 3, (30, 2.0))


def test_a_resumed_history_goes_on_as_one_that_was_not_stopped():
    values = [min(i, 300) / 300 + (i % 7) / 100 for i in range(900)]
    straight, begun = fed(values), fed(values[:457])
    resumed = MetricHistory("reward", "max")
    resumed.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    for i, value in enumerate(values[457:], 457):
        resumed.update(10 * i, value)
    assert resumed.state_dict() == straight.state_dict()
    assert (resumed.since, resumed.shown) == (straight.since, straight.shown)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["val_acc", "val_loss", "val_loss_epoch"], "val_loss"),
        (["valid/loss", "valid/f1"], "valid/loss"),
        (["loss/val"], "loss/val"),
        (["validationLoss"], "validationLoss"),
        (["val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"], "val_loss/dataloader_idx_0"),
        (["val/kl_loss", "val/recon_loss", "val/loss"], "val/loss"),
        (["val/kl_loss", "val/recon_loss"], None),
        (["val/loss_best"], None),
        (["validation_nll"], "validation_nll"),
        (["val_acc", "lossless_ratio"], None),
    ],
)
def test_the_validation_loss_is_recognised_by_its_name(names, found):
    assert validation_loss(names) == found
