"""Every callback in every way of training: the run ends, is the same to the bit, and hears nothing that is not so."""

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
    "accumulate",  # a step of several batches
    "manual, two optimizers",  # several steps of a batch, and no judgement
    "compiled whole",  # a module within a module
    "barebones",  # no logger, no progress bar
    "resumed mid-epoch",  # a state to go on from
    "iterable",  # no known length
    "stuck",  # something to say
}


@functools.cache
def alone(name: str) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return outcome(SETTINGS[name], None, Path(folder))


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("name", "watcher"), pairs(SETTINGS, DIFFERENT_IN_KIND, ("LandscapeMonitor", "whole examination"))
)
def test_the_run_ends_is_identical_to_the_bit_and_hears_nothing_stray(name, watcher, tmp_path, caplog, capfd):
    setting, before = SETTINGS[name], alone(name)
    capfd.readouterr()
    with caplog.at_level(logging.WARNING, "lightning_landscape"):
        after = outcome(setting, WATCHERS[watcher].make, tmp_path)

    differences = after.trace.differences(before.trace)  # by itself: pytest would print both traces
    assert differences == []
    assert after.warnings == before.warnings
    assert after.watching.report.steps == setting.steps
    assert_it_speaks_only_as_the_table_says(setting, after)
    assert [record.getMessage() for record in caplog.records if record.name == "lightning_landscape"] == []
    assert (name == "stuck") or "landscape" not in "".join(capfd.readouterr())


def assert_it_speaks_only_as_the_table_says(setting, after):
    assert len(after.said) == len(set(after.said))
    assert {text[: text.index("]") + 1] for text in after.said} <= set(setting.may_say)


def test_the_settings_for_every_callback_are_in_the_table():
    assert SETTINGS.keys() >= DIFFERENT_IN_KIND


def test_every_callback_of_the_library_is_in_the_matrix():
    public = {name for name in lightning_landscape.__all__ if name.endswith("Monitor")}
    assert public == {name for name in WATCHERS if name.endswith("Monitor")}
