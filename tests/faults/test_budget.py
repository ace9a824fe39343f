"""F09: probes that take longer than the budget allows."""

from __future__ import annotations

import time

import pytest

from lightning_landscape import LandscapeMonitor
from lightning_landscape.callbacks import budget
from lightning_landscape.probes import LossLine
from tests.faults.runs import Flat, watched


@pytest.fixture
def looks(monkeypatch):
    """Lines that take a tenth of a second each, where nothing is free because a run is short."""
    taken = []
    line = LossLine.__call__

    def slowly(self, surface):
        taken.append(self.anchor)
        time.sleep(0.1)
        return line(self, surface)

    monkeypatch.setattr(LossLine, "__call__", slowly)
    monkeypatch.setattr(budget, "LEAST", 0.0)
    monkeypatch.setattr(budget, "SHORT_RUN", 0.0)
    return taken


def monitor(share):
    return LandscapeMonitor(every=10, points=3, batches=2, anchors=["initial"], budget=share)


def test_f09_looks_that_the_budget_does_not_pay_for_wait_and_the_report_says_so(looks):
    unlimited, limited = monitor(None), monitor(0.02)
    watched(unlimited, steps=120)
    without = len(looks)
    looks.clear()
    watched(limited, steps=120)
    assert without >= 8
    assert len(looks) <= without // 4
    assert "a look was skipped: the budget did not pay for it when it was due" in limited.report
    assert "of the training time (budget 0.02" in limited.report


def test_f09_a_budget_that_is_spent_silences_no_first_examination_of_an_episode(looks):
    stuck = monitor(0.001)
    assert len(watched(stuck, Flat, steps=120)) == 1
    assert stuck.verdict is not None
    assert stuck.verdict.stuck
