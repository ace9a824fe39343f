"""Train one healthy and one stuck network on scikit-learn's digits, and print the monitor's report on each.

Run it by ``make demo``, or by ``python examples/quickstart.py [directory] [epochs]``.
"""

import logging
import sys
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor


class Classifier(L.LightningModule):
    def __init__(self, activation: type[nn.Module], depth: int):
        super().__init__()
        hidden = [layer for _ in range(depth) for layer in (nn.Linear(64, 64), activation())]
        self.net = nn.Sequential(*hidden, nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        images, digits = batch
        loss = nn.functional.cross_entropy(self.net(images), digits)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def train(name: str, module: L.LightningModule, out: Path, epochs: int) -> LandscapeMonitor:
    data = load_digits()
    images, digits = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    monitor = LandscapeMonitor()  # a run needs only this line and `callbacks=[monitor]`
    trainer = L.Trainer(
        max_epochs=epochs,
        callbacks=[monitor],
        logger=[TensorBoardLogger(out, name=name), CSVLogger(out, name=f"{name}-files")],
        log_every_n_steps=10,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(images, digits), batch_size=32, shuffle=True))
    return monitor


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    out, epochs = Path(sys.argv[1] if len(sys.argv) > 1 else "out"), int(sys.argv[2] if len(sys.argv) > 2 else 30)
    L.seed_everything(0, verbose=False)
    for name, module in {"healthy": Classifier(nn.ReLU, 2), "stuck": Classifier(nn.Sigmoid, 8)}.items():
        print(f"\n{name}: {train(name, module, out, epochs).report}")
    print(f"\nLogs: {out}\nPictures: {out}/*-files/*/landscape/*.png\nTo see them: tensorboard --logdir {out}")
