"""What the card says of a run besides its verdict: what was checked, how it goes, and what that cost."""

import pytest

from lightning_landscape.callbacks.run_facts import facts_of
from lightning_landscape.callbacks.views import document_of, report_of
from lightning_landscape.evidence import Line, Wiring
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.tracking.step_record import StepRecord
from tests.clocks import ManualClock


def healthy(steps=400):
    state = RunState(horizon=1000, groups=("a", "b"))
    for step in range(steps):
        norms = {"grad_norm": 1.0, "group_norms": (1.0, 2.0), "update_norm": 0.002, "weight_norm": 1.0}
        state.update(StepRecord(step, 0, 2.0 - step / steps, 0.01, stepped=True, **norms))
    return state


def timed(steps, training, spent):
    clock = ManualClock()
    stopwatch = Stopwatch(clock)
    clock.move(training)
    with stopwatch.spending():
        clock.move(spent)
    stopwatch.count(steps)
    return stopwatch


def test_the_facts_say_what_was_checked_how_the_run_goes_and_what_that_cost():
    state = healthy()
    state.readings.add(10, [Wiring(), Line("initial", (0.0, 1.0), (2.0, 1.0), barrier=0.0, monotone=True, samples=8)])
    known = facts_of(state, timed(400, training=100.0, spent=2.0), 63.7)
    facts = dict(known["facts"])
    assert facts["Checked"] == (
        "the loss of 400 steps, the gradients of 2 parts, how model, loss and optimizer are connected and the loss on "
        "lines to earlier weights; no mistake was found"
    )
    assert facts["Trend"].startswith("the loss fell by ")
    assert facts["Step size"] == "one step moves the weights by 0.2% of their norm"
    assert facts["Gradient noise"] == "as large as the signal in a batch of 64 samples"
    assert facts["Price"] == "watching and diagnosing took 2.0 s, 2.0% of the training time"
    assert known["seconds_per_step"] == pytest.approx(102 / 400)


def test_before_the_first_step_there_are_no_facts():
    assert facts_of(RunState(), None, None) == {"facts": []}


def test_the_price_stands_among_the_facts_and_not_once_more_among_the_notes():
    state, stopwatch = healthy(), timed(400, training=100.0, spent=2.0)
    (note,) = stopwatch.notes()
    report = report_of(state, stopwatch)
    assert note in report
    course = report.document["course"]
    assert ["Price", note] in course["facts"]
    assert note not in course["notes"]
    assert document_of(state, stopwatch)["course"]["facts"] == course["facts"]
