"""Of a model with large weights, a diagnosis keeps one copy, leaves out what needs more, and says so."""

from __future__ import annotations

import pytest

from lightning_landscape import LandscapeMonitor
from lightning_landscape.evidence import Curvature, Plane, Trials
from tests.faults.runs import Net, Stuck, fit, trace, trace_alone

pytestmark = pytest.mark.filterwarnings("ignore::lightning_landscape.LandscapeWarning")


@pytest.fixture
def everything_is_large(monkeypatch):
    for module in ("surface", "examination.memory"):
        monkeypatch.setattr(f"lightning_landscape.{module}.LARGE_WEIGHTS", 0)


def watched(module=None):
    monitor = LandscapeMonitor(effort="standard")
    fit(module or Stuck(), monitor, steps=120)
    return monitor


def test_what_is_left_out_of_a_large_model_is_named(everything_is_large):
    monitor = watched()
    gains = monitor.readings.latest(Trials).gains
    assert {"this optimizer", "line search"} <= gains.keys()
    assert gains.keys().isdisjoint({"adam", "mean of the path"})
    assert monitor.readings.latest(Plane) is monitor.readings.latest(Curvature) is None
    notes = "\n".join(monitor.report.to_dict()["notes"])
    for what in ("trials with Adam was skipped: the weights take 0 MiB", "the noise of the gradient was skipped"):
        assert what in notes


def test_of_a_small_model_nothing_is_left_out_for_memory():
    monitor = watched()
    assert {"adam", "mean of the path"} <= monitor.readings.latest(Trials).gains.keys()
    assert "MiB" not in str(monitor.report)


@pytest.mark.parametrize("module", [Net, Stuck])
def test_a_large_model_trains_as_without_the_monitor(everything_is_large, module):
    assert trace(fit(module(), LandscapeMonitor(effort="standard"), steps=120)) == trace_alone(module, steps=120)
