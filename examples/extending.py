"""A probe, a detector, a remedy, a scalar and a monitor of your own, for a deep network that hardly passes a signal on.

Run it with ``python examples/extending.py [directory]``; docs/extending.md explains each part.
"""

import logging
import math
import sys

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from lightning_landscape import Cause, Examination, LandscapeMonitor, Measurements, Monitor
from lightning_landscape.diagnosis import DETECTORS, verdict_of
from lightning_landscape.probes import EXAMINATION


def gain(surface):  # a probe: its number is logged as landscape/gain
    """Return the factor by which all layers together scale a signal."""
    return math.prod(float(weight.norm()) / len(weight) ** 0.5 for weight in surface.here.values())


def shrinking_layers(evidence):  # a detector
    """Return an alarm if the gain is below 0.1."""
    numbers = evidence.get(Measurements)
    if numbers is None or numbers.values.get("gain", 1.0) > 0.1:
        return None
    reason = f"All layers together scale a signal by {numbers.values['gain']:.2g} (threshold 0.1)."
    return verdict_of(evidence, Cause.FLAT_REGION, reason)


@torch.no_grad()
def rescale(verdict, optimizer):  # a remedy
    """Scale the weights of each layer to a gain of 1."""
    for weight in optimizer.param_groups[0]["params"]:
        weight.mul_(len(weight) ** 0.5 / weight.norm())
    return "scaled the weights of each layer to a gain of 1"


class StepLengthMonitor(LandscapeMonitor):
    """A `LandscapeMonitor` with one more scalar for each step."""

    def scalars(self, record):
        own = {} if record.grad_norm is None else {"step_length": record.learning_rate * record.grad_norm}
        return {**super().scalars(record), **own}


def imbalance(surface):
    """Return the norm of the largest layer over that of the smallest."""
    norms = [float(weight.norm()) for weight in surface.here.values()]
    return max(norms) / min(norms)


class ImbalanceMonitor(Monitor):
    """Measures the imbalance every 20 steps, and reaches no verdicts."""

    def __init__(self):
        super().__init__(Examination(scheduled=[imbalance], every_n_steps=20, detectors=[]))


class DeepLinear(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(*[torch.nn.Linear(8, 8, bias=False) for _ in range(10)])

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.mse_loss(self.net(batch), batch.flip(1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    out = sys.argv[1] if len(sys.argv) > 1 else "out"
    L.seed_everything(0, verbose=False)
    own = {"probes": [gain, *EXAMINATION], "detectors": [shrinking_layers, *DETECTORS], "remedies": [rescale]}
    callbacks = [StepLengthMonitor(**own), ImbalanceMonitor()]
    quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(
        max_steps=300, callbacks=callbacks, logger=CSVLogger(out, "extending"), accelerator="cpu", **quiet
    )
    trainer.fit(DeepLinear(), DataLoader(torch.randn(512, 8), batch_size=32, shuffle=True))
    print(callbacks[0].report)
    for name in ("gain", "step_length", "imbalance"):
        print(f"landscape/{name} = {trainer.callback_metrics[f'landscape/{name}'].item():.4g}")
