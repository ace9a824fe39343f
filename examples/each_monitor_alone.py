"""Train a sigmoid network that is too deep to learn scikit-learn's digits, once with each monitor alone.

``python examples/each_monitor_alone.py [directory] [epochs]`` prints the scalars and the report of each monitor.
"""

import logging
import sys
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import GradientNormMonitor, LandscapeMonitor, LossInterpolationMonitor, PlateauMonitor


class DeepSigmoid(L.LightningModule):
    def __init__(self):
        super().__init__()
        hidden = [layer for _ in range(8) for layer in (nn.Linear(64, 64), nn.Sigmoid())]
        self.net = nn.Sequential(*hidden, nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        images, digits = batch
        loss = nn.functional.cross_entropy(self.net(images), digits)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    out, epochs = Path(sys.argv[1] if len(sys.argv) > 1 else "out"), int(sys.argv[2] if len(sys.argv) > 2 else 10)
    data = load_digits()
    images, digits = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
    for kind in (GradientNormMonitor, PlateauMonitor, LossInterpolationMonitor, LandscapeMonitor):
        print(f"\n--- {kind.__name__}", flush=True)
        L.seed_everything(0, verbose=False)
        monitor = kind()
        trainer = L.Trainer(
            max_epochs=epochs,
            callbacks=[monitor],
            logger=TensorBoardLogger(out, name=kind.__name__),
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(DeepSigmoid(), DataLoader(TensorDataset(images, digits), batch_size=32, shuffle=True))
        for name, value in sorted(trainer.callback_metrics.items()):
            if name.startswith("landscape/"):
                print(f"{name} = {value.item():.4g}")
        print(monitor.report, flush=True)
    print(f"\nTo see more: tensorboard --logdir {out}")
