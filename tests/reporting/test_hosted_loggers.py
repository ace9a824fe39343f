"""Loggers of services that need an account: Comet with an offline experiment, Lit with doubles of its classes."""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_landscape import LandscapeMonitor
from tests.reporting.test_loggers import NAMES, fit

ROOT = Path(__file__).parents[2]


def present(name):
    return importlib.util.find_spec(name) is not None


@pytest.mark.slow
@pytest.mark.skipif(not present("comet_ml"), reason="needs comet_ml (pip install comet-ml)")
def test_comet_offline_gets_numbers_pictures_text_and_report(tmp_path):
    environment = {**os.environ, "COMET_LOGGING_CONSOLE": "ERROR", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.reporting.comet_offline", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(archive) as content:
        messages = [json.loads(line) for line in content.read("messages.json").splitlines()]
    metrics = [m["payload"]["metric"] for m in messages if m["type"] == "metric_msg"]
    at = {
        name: [m["step"] for m in metrics if m["metricName"] == name] for name in ("train_loss", "landscape/grad_norm")
    }
    assert at["train_loss"] == at["landscape/grad_norm"]
    assert {f"landscape/{name}" for name in NAMES} <= {m["metricName"] for m in metrics}
    uploads = [m["payload"] for m in messages if m["type"] == "file_upload"]
    pictures = {upload["additional_params"].get("figName") for upload in uploads}
    assert {"landscape/plane", "landscape/grad_norms", "landscape/line_from_initial"} <= pictures
    assert "landscape_report.html" in {upload["additional_params"].get("fileName") for upload in uploads}
    assert "text-sample" in {upload["upload_type"] for upload in uploads}


class File:
    """A double of `litlogger.File`."""

    def __init__(self, path, description=""):
        self.path = path


class Series(list):
    """A double of `litlogger.series.Series`."""

    def append(self, value, step=None):
        super().append((step, value))


class Experiment:
    """A double of `litlogger.Experiment`: each key holds a series, a file or a text, and never changes its type."""

    def __init__(self):
        self.values, self.finalized = {}, []

    def __getitem__(self, key):
        return self.values.setdefault(key, Series())

    def __setitem__(self, key, value):
        if not isinstance(value, (str, File)):
            raise TypeError(f"Can only assign str or File, got {type(value).__name__}")
        if key in self.values and type(self.values[key]) is not type(value):
            raise KeyError(key)
        self.values[key] = value

    def finalize(self, status=None):
        self.finalized.append(status)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LitLogger does not support `log_graph`")
def test_lit_s_logger_uploads_numbers_pictures_text_and_report(tmp_path, monkeypatch):
    loggers = pytest.importorskip("lightning.pytorch.loggers.litlogger", reason="Lightning 2.6 and later have it")
    monkeypatch.setitem(sys.modules, "litlogger", SimpleNamespace(File=File, Experiment=Experiment))
    monkeypatch.chdir(tmp_path)
    logger = loggers.LitLogger(root_dir=tmp_path, name="run")
    logger._experiment = sent = Experiment()
    monitor = LandscapeMonitor(max_batches=1)
    fit(logger, monitor)
    assert monitor._reporter.failures == [0]
    assert [step for step, _ in sent["train_loss"]] == [step for step, _ in sent["landscape/grad_norm"]]
    assert {f"landscape/{name}" for name in NAMES} <= sent.values.keys()
    files = {Path(value.path) for value in sent.values.values() if isinstance(value, File)}
    assert all(path.is_file() for path in files)
    assert tmp_path / "run/landscape/landscape_report.html" in files
    assert {path.name.split("-")[0] for path in files} >= {"plane", "grad_norms", "line_from_initial", "verdict_card"}
    assert sent.finalized == ["success"]


@pytest.mark.skipif(not present("litlogger"), reason="needs litlogger (pip install litlogger)")
def test_the_doubles_of_lit_have_the_signatures_of_the_real_classes():
    import litlogger
    from litlogger.series import Series as RealSeries

    pairs = [(File, litlogger.File), (Experiment, litlogger.Experiment), (Series, RealSeries)]
    for double, real in pairs:
        for name in {"__init__", "append", "__getitem__", "__setitem__", "finalize"} & vars(double).keys():
            if double is Experiment and name == "__init__":
                continue
            ours, theirs = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (double, real))
            assert ours == theirs[: len(ours)], f"{real.__name__}.{name}"
