"""Lightly: its losses and heads in a `LightningModule` of your own, so the monitor goes to `callbacks=`.

``pip install lightly``. Judged is the contrastive loss; it needs no labels.
"""

import lightning as L
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor, last_report


def two_views(count: int = 1024) -> TensorDataset:
    """Return pairs of pictures: each pair shows one pattern at two brightnesses and with two noises."""
    patterns = nn.functional.interpolate(torch.randn(count, 3, 4, 4), size=16, mode="bilinear")
    views = [patterns * (0.5 + torch.rand(count, 1, 1, 1)) + 0.3 * torch.randn(count, 3, 16, 16) for _ in range(2)]
    return TensorDataset(*views)


class SimCLR(L.LightningModule):
    def __init__(self, rate: float) -> None:
        super().__init__()
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in ((3, 16), (16, 32), (32, 64))
        ]
        self.backbone = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.projection_head = SimCLRProjectionHead(64, 64, 32)
        self.criterion = NTXentLoss()
        self.rate = rate

    def training_step(self, batch, batch_idx):
        first, second = (self.projection_head(self.backbone(view)) for view in batch)
        loss = self.criterion(first, second)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate, momentum=0.9, weight_decay=5e-4)


def train(callbacks, rate: float = 0.06, steps: int = 400) -> nn.Module:
    model, loader = SimCLR(rate), DataLoader(two_views(), batch_size=32, shuffle=True, drop_last=True)
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(model, loader)
    return model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
