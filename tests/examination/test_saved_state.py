"""States of older checkpoints. Version 0.1 wrote `states/version_0_1.ckpt` at step 80 of a run that got stuck."""

import warnings
from pathlib import Path

import pytest
import torch

from lightning_landscape import LandscapeMonitor
from lightning_landscape.evidence import Cause, Curvature, UpdateStatistics
from lightning_landscape.examination import saved_state
from lightning_landscape.examination.run_state import RunState
from tests.faults.runs import Stuck, fit

STORED = Path(__file__).parent / "states" / "version_0_1.ckpt"
STEPS = 120


@pytest.fixture(scope="module")
def monitor():
    """Return a monitor of this version that continued from step 80 of the stored run."""
    monitor = LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, norm_every_n_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(Stuck(), monitor, ckpt_path=STORED, steps=STEPS)
    return monitor


def test_a_resumed_run_of_version_0_1_keeps_its_verdicts_and_outcomes(monitor):
    assert monitor._state.steps == STEPS
    assert [(verdict.cause, verdict.step) for verdict in monitor.verdicts] == [(Cause.UNDECIDED, 49)]
    (outcome,) = monitor.remedy_outcomes
    assert (outcome.step, outcome.said) == (49, ("note noted it",))


def test_its_readings_are_in_the_log_once_and_new_ones_follow(monitor):
    lines = monitor.readings.lines()
    assert list(lines) == ["initial", "previous", "best"]
    steps = [step for step, _ in lines["initial"]]
    assert steps[0] < 80 < steps[-1]
    assert len(set(steps)) == len(steps)
    assert monitor.readings.latest(Curvature) is not None


def test_the_evidence_of_its_verdict_has_the_new_names(monitor):
    updates = monitor.verdicts[0].evidence.get(UpdateStatistics)
    (state,) = torch.load(STORED, weights_only=True)["callbacks"].values()
    stored = state["seen"]["verdicts"][0]["evidence"]["Movement"]
    assert (updates.no_grad_share, updates.not_in_optimizer) == (stored["without_gradient"], stored["not_held"])
    assert "parameters without a gradient" in monitor.report.to_markdown()


def test_it_is_saved_again_in_the_new_schema(monitor):
    state = monitor.state_dict()
    assert state["schema"] == saved_state.SCHEMA
    assert {"seen", "chronicle", "treatments", "told"}.isdisjoint({*state, *state["run"]})


def test_loading_an_old_state_does_not_change_it():
    (state,) = torch.load(STORED, weights_only=True)["callbacks"].values()
    before = sorted(state["seen"])
    assert saved_state.restore(state, {"run": RunState(120, state["seen"]["gradients"]["groups"])})
    assert sorted(state["seen"]) == before


@pytest.mark.parametrize("schema", [0, 1, saved_state.SCHEMA + 1, None, "3"])
def test_a_state_of_an_unknown_schema_is_refused(schema, caplog):
    caplog.set_level("INFO", "lightning_landscape")
    assert not saved_state.restore({"schema": schema, "run": {}}, {"run": RunState(10)})
    assert f"schemas 2 and {saved_state.SCHEMA} are known, got {schema!r}" in caplog.text
