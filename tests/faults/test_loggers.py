"""F14-F18: loggers that fail, none or many of them, packages that are missing, and no display."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.faults.runs import MONITORS, NO_LOGGER, Flat, fit, said_by

ROOT = Path(__file__).parents[2]
every_monitor = pytest.mark.parametrize("name", MONITORS)


class Memory(Logger):
    """Keeps its rows; takes pictures as W&B does."""

    name, version = "memory", 0

    def __init__(self):
        super().__init__()
        self.rows, self.pictures = [], []

    def log_hyperparams(self, *args, **kwargs): ...

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def log_image(self, key, images, step=None):
        self.pictures.append((key, step))

    def ours(self):
        return [step for step, metrics in self.rows if any(key.startswith("landscape/") for key in metrics)]


class NoPictures(Memory):
    tried = 0

    def log_image(self, key, images, step=None):
        self.tried += 1
        raise ConnectionError("the network is down")


class NoNumbersOfOurs(Memory):
    tried = 0

    def log_metrics(self, metrics, step=None):
        if any(key.startswith("landscape/") for key in metrics):
            self.tried += 1
            raise OSError("gone")
        super().log_metrics(metrics, step)


def timeless(rows):
    """The rows without what the clock says."""
    return [(step, {key: row[key] for key in row if key != "landscape/overhead"}) for step, row in rows]


STEPS = 60
"""six looks, with the alarm at one of them: as many as it takes to refuse three times and then be left alone"""


@functools.cache
def alone(name):
    """What a logger gets that is the only one."""
    logger = Memory()
    said_by(lambda: fit(Flat(), MONITORS[name](), steps=STEPS, logger=[logger]))
    return logger


@every_monitor
@pytest.mark.parametrize("kind", [NoPictures, NoNumbersOfOurs])
def test_f14_a_logger_that_raises_is_muted_after_three_and_the_others_get_everything(name, kind):
    expected, bad, good, monitor = alone(name), kind(), Memory(), MONITORS[name]()
    said = said_by(lambda: fit(Flat(), monitor, steps=STEPS, logger=[bad, good]))
    assert len(said) <= 1  # the alarm; a logger's failure is no warning of its own
    assert timeless(good.rows) == timeless(expected.rows)
    assert good.pictures == expected.pictures
    assert getattr(bad, "tried", 0) <= 3
    assert monitor._reporter.failures[1] == 0
    if monitor._reporter.failures[0]:
        assert f"{kind.__name__} failed {monitor._reporter.failures[0]} time" in monitor.report
    if kind is NoPictures:
        assert bad.ours() == expected.ours()


@every_monitor
@pytest.mark.parametrize("logger", [NO_LOGGER, None], ids=["False", "None"])
def test_f15_without_a_logger_warnings_and_report_remain(name, logger, tmp_path):
    monitor = MONITORS[name]()
    settings = {"logger": logger, "default_root_dir": tmp_path}
    said = said_by(lambda: fit(Flat(), monitor, steps=STEPS, **settings))
    assert len(said) <= 1
    assert not monitor._guard.failures
    assert bool(monitor.verdicts) is (name != "gradient norm")
    assert f"{STEPS} optimizer steps were watched" in monitor.report


@every_monitor
def test_f16_of_three_loggers_each_gets_the_numbers_and_csv_gets_pictures_as_files(name, tmp_path):
    loggers = [Memory(), CSVLogger(tmp_path / "csv", name="", version=""), TensorBoardLogger(tmp_path / "tb", name="")]
    monitor = MONITORS[name]()
    said_by(lambda: fit(Flat(), monitor, steps=STEPS, logger=loggers))
    assert monitor._reporter.failures == [0, 0, 0]
    ours = {key for _, metrics in loggers[0].rows for key in metrics if key.startswith("landscape/")}
    assert ours
    header = (tmp_path / "csv/metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    events = EventAccumulator(loggers[2].log_dir).Reload()
    assert ours <= set(header)
    assert ours <= set(events.Tags()["scalars"])
    drawn = {key for key, _ in loggers[0].pictures}
    assert drawn == {tag for tag in events.Tags()["images"] if tag.startswith("landscape/")}
    files = {path.name.rsplit("-", 1)[0] for path in (tmp_path / "csv/landscape").glob("*.png")}
    assert files == {key.removeprefix("landscape/") for key in drawn}


MISSING = """
import sys, logging
import lightning.pytorch, torchmetrics  # they want it where it is installed
for missing in sys.argv[1:]:
    sys.modules[missing] = None
    for name in [name for name in sys.modules if name.startswith(missing + ".")]:
        del sys.modules[name]
import lightning_landscape
from tests.faults.test_loggers import *
for name in MONITORS:
    logger, monitor = Memory(), MONITORS[name]()
    said = said_by(lambda: fit(Flat(), monitor, steps=STEPS, logger=[logger]))
    print("watched", name, monitor._state.steps, len(logger.ours()), sum("failed" in text for text in said), len(said))
"""


def output_of(code, *arguments, **environment):
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=settings | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_f17_where_drawing_is_impossible_it_is_told_once_and_all_numbers_are_there():
    lines = [line.split() for line in output_of(MISSING, "matplotlib").splitlines() if line.startswith("watched")]
    assert len(lines) == len(MONITORS)
    for *name, steps, rows, failed, said in lines:
        assert steps == str(STEPS)
        assert int(rows) > 0, name
        assert int(failed) <= 1
        assert int(said) - int(failed) <= 1


@pytest.mark.slow
def test_f17_rich_and_a_notebook_are_not_needed():
    assert output_of(MISSING, "rich", "IPython").count("watched ") == len(MONITORS)


HEADLESS = """
import sys
from tests.faults.test_loggers import *
for name in MONITORS:
    logger, monitor = Memory(), MONITORS[name]()
    said_by(lambda: fit(Flat(), monitor, steps=STEPS, logger=[logger]))
    print("drawn", len(logger.pictures), monitor._guard.failures, monitor._reporter.failures)
pyplot = sys.modules.get("matplotlib.pyplot")
print("figures left", [] if pyplot is None else pyplot.get_fignums())
"""


@pytest.mark.slow
def test_f18_without_a_display_and_with_a_backend_that_needs_one_pictures_are_drawn_and_none_is_left():
    said = output_of(HEADLESS, MPLBACKEND="TkAgg", DISPLAY="")
    drawn = [line.split(" ", 2) for line in said.splitlines() if line.startswith("drawn")]
    assert [rest for _, _, rest in drawn] == ["{} [0]"] * len(MONITORS)
    assert sum(int(count) for _, count, _ in drawn) > 5
    assert "figures left []" in said
