"""TensorBoard as a user runs it: with the wheel of this library installed, real runs, and a free port."""

import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

from benchmarks.tab.browsing import chromium, tensorboard, until

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Return a directory in which the wheel of this library is unpacked, with its entry point, as by an installer."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def logdir(tmp_path_factory):
    """Return a log directory with three real runs: a healthy one, a stuck one, and one with a hostile name."""
    import lightning as L
    import torch
    from lightning.pytorch.loggers import TensorBoardLogger
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    from lightning_landscape import LandscapeMonitor
    from lightning_landscape.reporting.reporter import Reporter

    class Classifier(L.LightningModule):
        def __init__(self, depth, activation):
            super().__init__()
            hidden = [part for _ in range(depth) for part in (nn.Linear(16, 16), activation())]
            self.net = nn.Sequential(nn.Linear(8, 16), activation(), *hidden, nn.Linear(16, 3))

        def training_step(self, batch, batch_idx):
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    folder = tmp_path_factory.mktemp("runs")
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(640, 8, generator=generator)
    data = DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), batch_size=32)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    runs = {"healthy": (1, nn.ReLU), "stuck": (8, nn.Sigmoid), HOSTILE: (1, nn.Tanh)}
    for name, (depth, activation) in runs.items():
        torch.manual_seed(7)
        logger = TensorBoardLogger(folder, name="", version=name)
        trainer = L.Trainer(
            max_steps=300,
            accelerator="cpu",
            logger=logger,
            callbacks=[LandscapeMonitor(every_n_steps=30, max_batches=1, budget=None)],
            **quiet,
        )
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("ignore")
            patch.setattr(Reporter, "pictures", lambda *args, **kwargs: None)  # the tab does not use them
            trainer.fit(Classifier(depth, activation), data)
    return folder


@pytest.fixture(scope="session")
def server(installed, logdir):
    with tensorboard(installed, logdir) as running:
        until(lambda: len(running.ask("/data/plugin/lightning_landscape/runs")["runs"]) == 3)
        yield running


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Return a headless Chromium without background network access."""
    pytest.importorskip("selenium", reason="needs selenium")
    running = chromium(tmp_path_factory.mktemp("chromium"))
    if running is None:
        pytest.skip("chromium and chromedriver are not installed (as root on Debian: make browser)")
    yield running
    running.quit()
