"""A LightningCLI that trains with the monitor of ``config.yaml``: ``python main.py fit --config config.yaml``."""

import lightning as L
import torch
from lightning.pytorch.cli import LightningCLI
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Digits(L.LightningDataModule):
    def __init__(self, batch_size: int = 32):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        data = load_digits()
        images, digits = torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)
        return DataLoader(TensorDataset(images, digits), batch_size=self.batch_size, shuffle=True)


class Classifier(L.LightningModule):
    def __init__(self, width: int = 64, learning_rate: float = 0.1):
        super().__init__()
        self.learning_rate = learning_rate
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def training_step(self, batch, batch_idx):
        images, digits = batch
        loss = nn.functional.cross_entropy(self.net(images), digits)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


if __name__ == "__main__":
    LightningCLI(Classifier, Digits)
