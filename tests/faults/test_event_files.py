"""F32: event files with damage, and with records that cannot be read."""

from __future__ import annotations

import json
import shutil
import struct
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from werkzeug.test import Client
from werkzeug.wrappers import Response

from lightning_landscape.reporting import loggers
from lightning_landscape.tensorboard_plugin import LandscapeLoader
from tests.faults.runs import MONITORS, Flat, fit, warnings_of


def answer_of_the_tab(folder):
    """Return the status and the document that the TensorBoard tab's server sends for the run in this directory."""
    multiplexer = EventMultiplexer(tensor_size_guidance={}).AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    context = SimpleNamespace(data_provider=MultiplexerDataProvider(multiplexer, str(folder)), logdir=str(folder))
    tab = LandscapeLoader().load(context)
    client = Client(tab.get_plugin_apps()["/run"], Response)
    answer = client.get("/run?run=run", environ_overrides={"tensorboard.experiment_id": ""})
    return answer.status_code, json.loads(answer.data)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return the directory of one run, which no test may change."""
    folder = tmp_path_factory.mktemp("recorded")
    logger = TensorBoardLogger(folder, name="", version="run")
    warnings_of(lambda: fit(Flat(), MONITORS["landscape"](), steps=60, logger=logger))
    return folder


@pytest.fixture
def written(recorded, tmp_path):
    """Return a copy of the run's directory, which the test may change."""
    return shutil.copytree(recorded, tmp_path / "copy")


def test_f32_a_file_without_damage_is_read_completely(written):
    status, answer = answer_of_the_tab(written)
    assert status == 200
    assert answer["skipped"] == 0
    assert answer["parts"]["course"]["verdicts"]


UNREADABLE = ["{", "[1, 2]", "null", "NaN", "\ud83e\udde0", "[" * 10_000]
UNREADABLE += ['{"schema": 1, "x": 1e999}', '{"schema": "x"}']


@pytest.mark.parametrize("text", UNREADABLE, ids=range(len(UNREADABLE)))
def test_f32_a_record_that_cannot_be_read_is_counted_and_the_other_records_are_shown(written, text):
    logger = TensorBoardLogger(written, name="", version="run")
    loggers.send_record(logger, "strange", text.encode("utf-8", "replace").decode(), 99)
    logger.experiment.close()
    status, answer = answer_of_the_tab(written)
    assert status == 200
    assert answer["skipped"] <= 1
    assert answer["parts"]["course"]["verdicts"]


@pytest.mark.parametrize("damage", ["truncated", "a flipped byte", "garbage", "a wrong length"])
def test_f32_of_a_damaged_file_the_tab_shows_what_can_be_read_and_does_not_fail(written, damage):
    (path,) = (written / "run").glob("events.out.*")
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        del data[len(data) // 2 :]
    elif damage == "a flipped byte":
        data[len(data) // 2] ^= 0xFF
    elif damage == "garbage":
        data[:] = b"no event file at all" * 50
    else:
        data[:8] = struct.pack("<Q", 2**40)
    path.write_bytes(data)
    status, answer = answer_of_the_tab(written)
    assert status == 200
    assert isinstance(answer["parts"], dict)
