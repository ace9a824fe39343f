"""Every monitor in every way of training: the run ends, is the same to the bit, and gets no unfounded warning."""

from __future__ import annotations

import functools
import logging
import tempfile
from pathlib import Path

import pytest

import lightning_landscape
from tests.matrices.runs import Outcome, outcome
from tests.matrices.settings import SETTINGS
from tests.matrices.watchers import WATCHERS, pairs

DIFFERENT_IN_KIND = {
    "plain",
    "accumulate",  # several batches per optimizer step
    "manual, two optimizers",  # several optimizer steps per batch, and the loss is not judged
    "compiled whole",  # the trainer gets the compiled module around the user's
    "barebones",  # no logger, no progress bar
    "resumed mid-epoch",  # the monitor's state is loaded
    "iterable",  # the length of an epoch is unknown
    "stuck",  # an alarm is expected
}


@functools.cache
def alone(name: str) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return outcome(SETTINGS[name], None, Path(folder))


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(("name", "watcher"), pairs(SETTINGS, DIFFERENT_IN_KIND, ("LandscapeMonitor", "all probes")))
def test_the_run_is_identical_and_only_the_warnings_of_the_table_are_given(name, watcher, tmp_path, caplog, capfd):
    setting, without = SETTINGS[name], alone(name)
    capfd.readouterr()
    with caplog.at_level(logging.WARNING, "lightning_landscape"):
        with_monitor = outcome(setting, WATCHERS[watcher].make, tmp_path)

    differences = with_monitor.trace.differences(without.trace)  # in its own line: pytest would print both traces
    assert differences == []
    assert with_monitor.other_warnings == without.other_warnings
    assert with_monitor.monitor.report.steps == setting.steps
    assert_only_allowed_warnings(setting, with_monitor)
    assert [record.getMessage() for record in caplog.records if record.name == "lightning_landscape"] == []
    said = [line for line in "".join(capfd.readouterr()).splitlines() if "landscape" in line]
    assert (name == "stuck") or (len(said) <= 2 and all(line.startswith("lightning_landscape: ") for line in said)), (
        said
    )


def assert_only_allowed_warnings(setting, outcome):
    assert len(outcome.landscape_warnings) == len(set(outcome.landscape_warnings))
    codes = {text[: text.index("]") + 1] for text in outcome.landscape_warnings}
    assert codes <= set(setting.allowed_codes)


def test_the_settings_that_all_monitors_are_tested_in_are_in_the_table():
    assert SETTINGS.keys() >= DIFFERENT_IN_KIND


def test_every_public_monitor_is_in_the_table_of_monitors():
    public = {name for name in lightning_landscape.__all__ if name.endswith("Monitor")} - {"Monitor"}  # the base class
    assert public == {name for name in WATCHERS if name.endswith("Monitor")}
