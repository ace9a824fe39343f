"""Tuners that train many times: Optuna in this process, and Ray Tune, which pickles the monitor for each trial."""

from __future__ import annotations

import pytest

from lightning_landscape import LandscapeMonitor, last_report
from tests.faults.runs import Net, fit

NEEDS = "needs {0} (pip install -c constraints.txt '.[tuners]')"


def test_an_optuna_trial_can_keep_the_report_of_its_fit():
    optuna = pytest.importorskip("optuna", reason=NEEDS.format("optuna"))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monitor = LandscapeMonitor(effort="light")

    def objective(trial):
        fit(Net(trial.suggest_float("lr", 1e-3, 1e-1, log=True)), monitor, steps=20 + trial.number)
        report = last_report()
        assert report == monitor.report
        trial.set_user_attr("landscape", report.to_dict())
        return report.to_dict()["loss"]["now"]

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=3)
    reports = [trial.user_attrs["landscape"] for trial in study.trials]
    assert [report["steps"] for report in reports] == [20, 21, 22]
    assert [trial.value for trial in study.trials] == [report["loss"]["now"] for report in reports]


def test_ray_pickles_a_small_monitor_into_each_trial_and_each_trial_has_its_own_report():
    cloudpickle = pytest.importorskip("ray.cloudpickle", reason=NEEDS.format("ray"))
    monitor = LandscapeMonitor(effort="light")
    fit(Net(), monitor, steps=40)

    def train(config):
        fit(Net(0.05), monitor, steps=config["steps"])
        return monitor.report.steps, last_report().steps

    pickled = cloudpickle.dumps(train)  # as Ray Tune does before it sends the function to the process of a trial
    assert len(pickled) < 2**20
    assert [cloudpickle.loads(pickled)({"steps": steps}) for steps in (20, 30)] == [(20, 20), (30, 30)]
    assert monitor.report.steps == 40  # a trial in another process does not change this monitor
