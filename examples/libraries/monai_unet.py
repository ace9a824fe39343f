"""MONAI: its networks and losses in a `LightningModule` of your own, so the monitor goes to `callbacks=`.

``pip install monai lightning``
"""

import lightning as L
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor, last_report


def scans(count: int = 512, size: int = 24) -> TensorDataset:
    """Return noisy pictures of discs, and the masks of the discs."""
    centre = 6 + 12 * torch.rand(count, 2, 1, 1)
    radius = 2 + 4 * torch.rand(count, 1, 1)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    mask = (rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2 < radius**2
    return TensorDataset((mask + 0.7 * torch.randn(count, size, size))[:, None], mask[:, None].float())


class Segmentation(L.LightningModule):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.net = UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=(8, 16, 32), strides=(2, 2))
        self.loss = DiceCELoss(sigmoid=True)
        self.rate = rate

    def training_step(self, batch, batch_idx):
        image, mask = batch
        loss = self.loss(self.net(image), mask)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    model, loader = Segmentation(rate), DataLoader(scans(), batch_size=16, shuffle=True)
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(model, loader)
    return model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
