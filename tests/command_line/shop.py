"""The modules and the data of the runs whose checkpoints the tests of the command line look at."""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(L.LightningModule):
    """A small network that learns well."""

    bias = 0.0

    def __init__(self, width=8, lr=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
        with torch.no_grad():
            self.net[0].bias.fill_(self.bias)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


class Dead(Classifier):
    """The same with units whose inputs are all negative, so that it cannot learn."""

    bias = -20.0


class NoHyperparameters(Classifier):
    """It needs an argument that its checkpoints do not hold."""

    def __init__(self, width):
        super().__init__(width)

    def save_hyperparameters(self, *args, **kwargs):
        self._set_hparams({"lr": 0.1})

    def on_save_checkpoint(self, checkpoint):
        checkpoint.pop("hyper_parameters", None)


class Data(L.LightningDataModule):
    def setup(self, stage):
        inputs = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))
        self.samples = TensorDataset(inputs, inputs[:, :3].argmax(1))

    def train_dataloader(self):
        return DataLoader(self.samples, batch_size=32, shuffle=True)


def loader():
    data = Data()
    data.setup("fit")
    return data.train_dataloader()


def without_batches():
    return 7
