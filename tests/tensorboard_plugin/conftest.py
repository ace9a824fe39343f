"""TensorBoard as a user runs it: with the wheel of this library installed, real runs, and a free port."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 600
"""seconds after which a test stops waiting; far more than is needed on a busy machine"""
HOSTILE = "<img src=x onerror=alert(1)>"


class Server:
    """The address and the process of a running TensorBoard."""

    def __init__(self, url, process):
        self.url, self.process = url, process

    def ask(self, path):
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return json.load(answer)


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


@contextmanager
def tensorboard(site, logdir, *arguments, before="", prefix=""):
    """Start TensorBoard, wait until it answers, and stop it in the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = f"{before}\nimport sys\nfrom tensorboard.main import run_main\nsys.exit(run_main())"
    command = [sys.executable, "-c", program, "--logdir", str(logdir), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    process = subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=logdir
    )
    server = Server(f"http://127.0.0.1:{port}{prefix}", process)
    try:

        def answers():
            try:
                return server.ask("/data/plugins_listing")
            except OSError:
                if process.poll() is not None:
                    raise AssertionError(process.stderr.read().decode()[-2000:]) from None
                return None

        until(answers)
        yield server
    finally:
        process.terminate()
        process.communicate()


def until(condition):
    """Call `condition` until its result is true, and return that; TensorBoard reads its files in the background."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if value := condition():
                return value
        except Exception as error:
            if type(error).__name__ != "StaleElementReferenceException":  # the page has just replaced the element
                raise
        assert time.monotonic() < end, f"still false after {PATIENCE} s"
        time.sleep(0.1)


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
        until(lambda: len(running.ask("/data/plugin/lightning_landscape/runs")) == 3)
        yield running


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Return a headless Chromium without background network access."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed (as root on Debian: make browser)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--window-size=1440,1200"),
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver))
    yield running
    running.quit()
