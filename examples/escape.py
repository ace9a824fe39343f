"""Train a deep linear network that starts near a saddle point, without a remedy and with `remedies.Perturb`.

The weights start near zero, where their products and all gradients are tiny, so the loss is flat [Saxe et al. 2014,
arXiv:1312.6120]. ``python examples/escape.py [directory]`` prints both reports and saves a picture of both losses.
"""

import logging
import sys
from pathlib import Path

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.plots import loss_figure, save
from lightning_landscape.remedies import Perturb, Remedy


class DeepLinear(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(*[nn.Linear(8, 8, bias=False) for _ in range(4)])
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.01)
        self.losses = []

    def training_step(self, batch, batch_idx):
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.losses.append((self.global_step, loss.detach()))
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(*remedies: Remedy) -> tuple[list[tuple[int, float]], LandscapeMonitor]:
    L.seed_everything(0, verbose=False)
    inputs, rotation = torch.randn(512, 8), torch.linalg.qr(torch.randn(8, 8)).Q
    batches = DataLoader(TensorDataset(inputs, inputs @ rotation), batch_size=32, shuffle=True)
    module, monitor = DeepLinear(), LandscapeMonitor(remedies=remedies)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"), False)
    L.Trainer(max_steps=1500, callbacks=[monitor], accelerator="cpu", **quiet).fit(module, batches)
    return [(step, float(loss)) for step, loss in module.losses], monitor


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    (stuck, watcher), (escaped, monitor) = train(), train(Perturb(scale=0.5))
    print(f"without remedies: {watcher.report}\n\nwith Perturb: {monitor.report}")
    marks = [(verdict.step, f"verdict {verdict.cause}") for verdict in monitor.verdicts]
    for outcome in monitor.remedy_outcomes:
        marks += [(outcome.step, "Perturb"), *([(outcome.escaped, "escaped")] if outcome.escaped else [])]
    save(loss_figure({"with Perturb": escaped, "without remedies": stuck}, marks), out / "escape.png")
    print(f"\nPicture: {out / 'escape.png'}")
