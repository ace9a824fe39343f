"""Checkpoints of small runs."""

import warnings

import lightning as L
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from tests.command_line import shop

STEPS = 64


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Return the folders of checkpoints of a healthy run, of one that cannot learn, and of one without arguments."""
    root = tmp_path_factory.mktemp("runs")
    for name, module in (
        ("healthy", shop.Classifier),
        ("dead", shop.Dead),
        ("bare", lambda: shop.NoHyperparameters(6)),
    ):
        L.seed_everything(0, verbose=False)
        saving = ModelCheckpoint(root / name, filename="{step}", every_n_train_steps=16, save_top_k=-1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = L.Trainer(
                max_steps=STEPS,
                max_epochs=-1,
                accelerator="cpu",
                logger=False,
                callbacks=[saving],
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module(), datamodule=shop.Data())
    return root


@pytest.fixture(scope="session")
def dead(checkpoints):
    return checkpoints / "dead" / f"step={STEPS}.ckpt"


@pytest.fixture(scope="session")
def healthy(checkpoints):
    return checkpoints / "healthy" / "step=16.ckpt"
