"""Real loggers, offline: TensorBoard, CSV, W&B and MLflow get everything, at the same steps as `train_loss`."""

import json
import os
import warnings
from unittest.mock import MagicMock

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor, PlateauMonitor, read_events
from lightning_landscape.errors import LandscapeWarning

NAMES = {"grad_norm", "plateau_length", "loss_trend", "verdict"}


class Stuck(L.LightningModule):
    """A deep network of sigmoid layers, in which the gradient vanishes."""

    def __init__(self):
        super().__init__()
        hidden = [part for _ in range(8) for part in (nn.Linear(16, 16), nn.Sigmoid())]
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Sigmoid(), *hidden, nn.Linear(16, 3))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


NO_LOGGER = False


def fit(logger, monitor=None, module=None, **settings):
    torch.manual_seed(7)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(640, 8, generator=generator)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = L.Trainer(
        **{"max_steps": 300, "log_every_n_steps": 10, **quiet, **settings},
        accelerator="cpu",
        logger=logger,
        callbacks=[LandscapeMonitor(max_batches=1) if monitor is None else monitor],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        trainer.fit(
            Stuck() if module is None else module, DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), 32)
        )
    return trainer


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_without_a_logger_and_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(NO_LOGGER, default_root_dir=tmp_path)
    assert files(tmp_path) == []


@pytest.mark.slow
def test_events_and_report_are_written_to_dirpath_without_a_logger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(NO_LOGGER, LandscapeMonitor(dirpath="mine"), default_root_dir=tmp_path)
    assert files(tmp_path) == ["mine/events.jsonl", "mine/landscape_report.html"]


def test_fast_dev_run_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(CSVLogger(tmp_path), fast_dev_run=True, default_root_dir=tmp_path)
    assert files(tmp_path) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the directory that a stuck run has written to; tests must not change it."""
    folder = tmp_path_factory.mktemp("runs")
    fit(TensorBoardLogger(folder, name="", version="run"))
    return folder / "run"


@pytest.mark.slow
def test_the_events_are_in_order_and_agree_with_the_verdict(run):
    events = read_events(run)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert {"readings", "verdict", "warning"} <= set(kinds)
    assert kinds.index("verdict") < kinds.index("warning")
    (verdict,) = (event for event in events if event["event"] == "verdict")
    assert verdict["cause"] == "flat_region"
    assert verdict["evidence"]["Trend"]["window"] > 0
    assert events[0]["horizon"] == 300
    assert events[-1]["status"] == "ended"
    assert events[-1]["steps"] == 300
    assert all(event["v"] == 1 and event["time"].endswith("+00:00") for event in events)


def test_the_report_is_written_when_the_user_s_own_error_ends_the_run(tmp_path):
    class Fails(Stuck):
        def training_step(self, batch, batch_idx):
            if self.global_step == 120:
                raise KeyError("mine")
            return super().training_step(batch, batch_idx)

    with pytest.raises(KeyError, match="mine"):
        fit(CSVLogger(tmp_path, name="", version="run"), module=Fails())
    assert read_events(tmp_path / "run")[-1]["status"] == "stopped by KeyError"
    assert "stopped by KeyError" in (tmp_path / "run/landscape/landscape_report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_record_for_the_tab_includes_the_earlier_ones_and_there_are_few(run):
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.PluginTagToContent("lightning_landscape")
    assert set(tags) >= {f"lightning_landscape/{part}" for part in ("course", "lines", "planes", "gradients")}
    records = [json.loads(e.tensor_proto.string_val[0]) for e in events.Tensors("lightning_landscape/course")]
    assert all(record["curve"]["step"][0] <= 1 for record in records)
    latest = [record["curve"]["step"][-1] for record in records]
    assert latest == sorted(latest)
    assert latest[-1] == 299
    assert len(records) <= 25
    assert records[-1]["segments"][-1][1] == "flat_region"
    assert records[-1]["status"] == "ended"


@pytest.mark.slow
def test_a_stuck_run_has_one_plane_in_events_images_records_and_report(run):
    found = [(e["step"], e["readings"].get("Plane")) for e in read_events(run) if e["event"] == "readings"]
    ((step, plane),) = [(step, plane) for step, plane in found if plane is not None]
    assert (len(plane["xs"]), len(plane["ys"])) == (11, 11)
    assert next(iter(plane["points"])).startswith("initial")
    events = EventAccumulator(str(run), size_guidance={"tensors": 0, "images": 0})
    events.Reload()
    assert len(events.Images("landscape/plane")) == 1
    (record,) = events.Tensors("lightning_landscape/planes")
    assert json.loads(record.tensor_proto.string_val[0])["planes"][0]["step"] == step
    assert '"planes"' in (run / "landscape/landscape_report.html").read_text(encoding="utf-8")


def test_a_monitor_of_one_thing_writes_no_events(tmp_path):
    fit(CSVLogger(tmp_path, name="", version="run"), PlateauMonitor())
    assert not (tmp_path / "run/landscape/events.jsonl").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pydantic.warnings.PydanticDeprecatedSince20")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_wandb_offline_gets_numbers_pictures_text_and_report(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "SILENT": "true", "DIR": tmp_path, "CONSOLE": "off"}.items():
        monkeypatch.setenv(f"WANDB_{name}", str(value))
    logger = WandbLogger(save_dir=tmp_path, offline=True, project="landscape")
    monitor = LandscapeMonitor(max_batches=1)
    fit(logger, monitor)
    run = logger.experiment
    summary = dict(run.summary)
    own = [name for name in files(tmp_path) if "landscape_report" in name or "events.jsonl" in name]
    wandb.finish()
    assert {f"landscape/{name}" for name in NAMES} <= summary.keys()
    assert summary["landscape/line_from_initial"]["_type"] == "images/separated"
    assert summary["landscape/verdict_card"]["_type"] == "table-file"
    assert any(name.endswith("landscape/events.jsonl") for name in own)
    assert any(name.startswith("wandb/") and name.endswith("landscape_report.html") for name in own)
    assert monitor._reporter.failures == [0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_s_file_store_gets_numbers_pictures_text_and_report_at_the_steps_of_train_loss(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = MLFlowLogger("landscape", tracking_uri=(tmp_path / "mlruns").as_uri())
    monitor = LandscapeMonitor(max_batches=1)
    fit(logger, monitor, accumulate_grad_batches=2)
    client, run = logger.experiment, logger.run_id
    at = {
        name: [m.step for m in client.get_metric_history(run, name)] for name in ("train_loss", "landscape/grad_norm")
    }
    assert at["train_loss"] == at["landscape/grad_norm"]
    assert {f"landscape/{name}" for name in NAMES} <= client.get_run(run).data.metrics.keys()
    artifacts = {item.path for item in client.list_artifacts(run, "landscape")}
    assert "landscape/landscape_report.html" in artifacts
    assert any(path.startswith("landscape/verdict_card-") for path in artifacts)
    assert any("line_from_initial" in item.path for item in client.list_artifacts(run, "images"))
    assert monitor._reporter.failures == [0]


class InMemory(Logger):
    """Keeps numbers in memory, yet has a directory and a version, as scvi-tools' SimpleLogger does."""

    name, version = "bare", 3

    def __init__(self, folder=None):
        super().__init__()
        self.folder, self.rows = folder or os.getcwd(), []

    @property
    def save_dir(self):
        return str(self.folder)

    def log_hyperparams(self, *args, **kwargs):
        pass

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


class Bare(InMemory):
    """A user's logger that writes numbers to a file, in a directory that it makes with the first number."""

    made = "bare/3"

    def log_metrics(self, metrics, step=None):
        super().log_metrics(metrics, step)
        (self.folder / self.made).mkdir(parents=True, exist_ok=True)
        with (self.folder / self.made / "numbers.txt").open("a") as file:
            file.write(f"{step} {metrics}\n")


class NamedByVersion(Bare):
    """A user's logger that writes where Lightning writes the checkpoints of a run with a number as version."""

    made = "bare/version_3"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Bare, NamedByVersion])
def test_an_unknown_logger_gets_numbers_and_gets_pictures_as_files_in_its_directory(tmp_path, kind):
    logger = kind(tmp_path)
    fit(logger)
    assert any("landscape/grad_norm" in row for _, row in logger.rows)
    names = files(tmp_path)
    assert f"{kind.made}/landscape/landscape_report.html" in names
    assert any(name.startswith(f"{kind.made}/landscape/grad_norms-") for name in names)
    assert next(event["event"] for event in read_events(tmp_path / kind.made)) == "start"
    assert all(name.startswith(kind.made) for name in names)


def mocked(folder):
    logger = MagicMock()
    logger.save_dir = logger.log_dir = str(folder / "never made")
    return [logger]  # Lightning takes a mock logger alone for an empty list of loggers


NO_FILES = {
    "in memory": lambda folder: InMemory(),
    "in memory, without a name": lambda folder: type("Nameless", (InMemory,), {"name": None, "version": None})(),
    "mocked": lambda folder: MagicMock(spec=Logger),
    "mocked with a directory": mocked,
    "dummy": lambda folder: DummyLogger(),
    "without save_dir": lambda folder: type("Nowhere", (InMemory,), {"save_dir": None})(),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_if_the_logger_writes_no_files_the_monitor_writes_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monitor = LandscapeMonitor(max_batches=1)
    fit(NO_FILES[name](tmp_path), monitor, default_root_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert monitor.verdict is not None
    assert monitor._reporter.failures == [0]


def test_checkpoints_do_not_count_as_files_of_a_logger(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second run finds the checkpoints of the first
        fit(InMemory(), max_steps=60, enable_checkpointing=True)
    assert {os.path.dirname(name) for name in files(tmp_path)} == {"bare/version_3/checkpoints"}


def test_a_long_run_draws_ever_more_rarely():
    from lightning_landscape.reporting.reporter import Reporter

    drawn = []
    reporter = Reporter([object()], "")
    for step in range(0, 100_000, 10):
        reporter.pictures(lambda: drawn.append(1) or {}, step)
    assert 40 < len(drawn) < 130
