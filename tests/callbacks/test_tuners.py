"""Tuners that train many times: Optuna in this process, and Ray Tune, which pickles the monitor for each trial."""

from __future__ import annotations

import os

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


@pytest.mark.slow
def test_a_ray_trial_gets_a_copy_of_the_monitor_and_reports_its_own_run(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason=NEEDS.format("ray"))
    tune = pytest.importorskip("ray.tune", reason=NEEDS.format("ray[tune]"))
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}.items():
        monkeypatch.setenv(name, value)
    monitor = LandscapeMonitor(effort="light")

    def train(config):
        fit(Net(0.05), monitor, steps=config["steps"])
        tune.report({"steps": monitor.report.steps, "last": last_report().steps})

    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=10**8,
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}},
    )  # fmt: skip
    try:
        tuner = tune.Tuner(
            train,
            param_space={"steps": tune.grid_search([20, 30])},
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        )
        results = tuner.fit()
    finally:
        ray.shutdown()
    assert not results.errors
    assert sorted((result.metrics["steps"], result.metrics["last"]) for result in results) == [(20, 20), (30, 30)]
    assert monitor.report == "No optimizer step was watched."  # the trials ran in other processes
