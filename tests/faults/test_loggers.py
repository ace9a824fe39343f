"""F14-F18: loggers that raise, no logger or several, packages that are missing, and no display."""

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

from tests.faults.runs import MONITORS, NO_LOGGER, Flat, fit, warnings_of

ROOT = Path(__file__).parents[2]
every_monitor = pytest.mark.parametrize("name", MONITORS)


class Memory(Logger):
    """A logger that has its rows in memory and takes images with the method `log_image`, like W&B's."""

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


class RaisesForImages(Memory):
    tried = 0

    def log_image(self, key, images, step=None):
        self.tried += 1
        raise ConnectionError("the network is down")


class RaisesForOurMetrics(Memory):
    tried = 0

    def log_metrics(self, metrics, step=None):
        if any(key.startswith("landscape/") for key in metrics):
            self.tried += 1
            raise OSError("gone")
        super().log_metrics(metrics, step)


def without_overhead(rows):
    """Return the rows without the one scalar that depends on the clock."""
    return [(step, {key: row[key] for key in row if key != "landscape/overhead"}) for step, row in rows]


STEPS = 60
"""enough for six checks, one of them with the alarm, so that a logger that always raises is called three times"""


@functools.cache
def alone(name):
    """Return a logger after a run in which it was the only one."""
    logger = Memory()
    warnings_of(lambda: fit(Flat(), MONITORS[name](), steps=STEPS, logger=[logger]))
    return logger


@every_monitor
@pytest.mark.parametrize("kind", [RaisesForImages, RaisesForOurMetrics])
def test_f14_a_logger_that_raises_is_switched_off_after_three_failures_and_other_loggers_get_everything(name, kind):
    expected, bad, good, monitor = alone(name), kind(), Memory(), MONITORS[name]()
    messages = warnings_of(lambda: fit(Flat(), monitor, steps=STEPS, logger=[bad, good]))
    assert len(messages) <= 1  # the alarm; a logger's failure is logged, not warned of
    assert without_overhead(good.rows) == without_overhead(expected.rows)
    assert good.pictures == expected.pictures
    assert getattr(bad, "tried", 0) <= 3
    assert monitor._reporter.failures[1] == 0
    if monitor._reporter.failures[0]:
        assert f"{kind.__name__} failed {monitor._reporter.failures[0]} time" in monitor.report
    if kind is RaisesForImages:
        assert bad.ours() == expected.ours()


@every_monitor
@pytest.mark.parametrize("logger", [NO_LOGGER, None], ids=["False", "None"])
def test_f15_without_a_logger_there_are_still_warnings_and_a_report(name, logger, tmp_path):
    monitor = MONITORS[name]()
    settings = {"logger": logger, "default_root_dir": tmp_path}
    messages = warnings_of(lambda: fit(Flat(), monitor, steps=STEPS, **settings))
    assert len(messages) <= 1
    assert not monitor._guard.failures
    assert bool(monitor.verdicts) is (name != "gradient norm")
    assert f"{STEPS} optimizer steps were watched" in monitor.report


@every_monitor
def test_f16_each_of_three_loggers_gets_the_scalars_and_the_figures_and_csv_gets_these_as_files(name, tmp_path):
    loggers = [Memory(), CSVLogger(tmp_path / "csv", name="", version=""), TensorBoardLogger(tmp_path / "tb", name="")]
    monitor = MONITORS[name]()
    warnings_of(lambda: fit(Flat(), monitor, steps=STEPS, logger=loggers))
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
import lightning.pytorch, torchmetrics  # first, because these import matplotlib and rich if they are installed
for missing in sys.argv[1:]:
    sys.modules[missing] = None
    for name in [name for name in sys.modules if name.startswith(missing + ".")]:
        del sys.modules[name]
import lightning_landscape
from tests.faults.test_loggers import *
for name in MONITORS:
    logger, monitor = Memory(), MONITORS[name]()
    messages = warnings_of(lambda: fit(Flat(), monitor, steps=STEPS, logger=[logger]))
    failed = sum("failed" in text for text in messages)
    print("watched", name, monitor._state.steps, len(logger.ours()), failed, len(messages))
"""


def output_of(code, *arguments, **environment):
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=settings | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_f17_without_matplotlib_there_is_one_warning_and_all_scalars_are_logged():
    lines = [line.split() for line in output_of(MISSING, "matplotlib").splitlines() if line.startswith("watched")]
    assert len(lines) == len(MONITORS)
    for *name, steps, rows, failures, warned in lines:
        assert steps == str(STEPS)
        assert int(rows) > 0, name
        assert int(failures) <= 1
        assert int(warned) - int(failures) <= 1


@pytest.mark.slow
def test_f17_rich_and_ipython_are_not_needed():
    assert output_of(MISSING, "rich", "IPython").count("watched ") == len(MONITORS)


HEADLESS = """
import sys
from tests.faults.test_loggers import *
for name in MONITORS:
    logger, monitor = Memory(), MONITORS[name]()
    warnings_of(lambda: fit(Flat(), monitor, steps=STEPS, logger=[logger]))
    print("drawn", len(logger.pictures), monitor._guard.failures, monitor._reporter.failures)
pyplot = sys.modules.get("matplotlib.pyplot")
print("figures left", [] if pyplot is None else pyplot.get_fignums())
"""


@pytest.mark.slow
def test_f18_without_a_display_figures_are_drawn_and_closed_even_if_the_backend_needs_a_display():
    output = output_of(HEADLESS, MPLBACKEND="TkAgg", DISPLAY="")
    drawn = [line.split(" ", 2) for line in output.splitlines() if line.startswith("drawn")]
    assert [rest for _, _, rest in drawn] == ["{} [0]"] * len(MONITORS)
    assert sum(int(count) for _, count, _ in drawn) > 5
    assert "figures left []" in output
