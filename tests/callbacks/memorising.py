"""A short real run that memorises random labels, and logs a validation loss."""

import warnings

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor


class Memorising(L.LightningModule):
    """A network with far more weights than it has samples."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def watched_fit(folder, **settings):
    """Train in this folder, with a TensorBoard logger, and return the monitor."""
    torch.manual_seed(0)
    inputs, labels = torch.randn(96, 8), torch.randint(3, (96,))
    train, others = (TensorDataset(inputs[part], labels[part]) for part in (slice(32), slice(32, None)))
    monitor = LandscapeMonitor(effort="light", **settings)
    trainer = L.Trainer(
        max_epochs=40, accelerator="cpu", callbacks=[monitor], logger=TensorBoardLogger(folder, name="", version="run"),
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=4,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Memorising(), DataLoader(train, batch_size=8, shuffle=True), DataLoader(others, batch_size=64))
    return monitor
