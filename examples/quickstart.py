"""Train a stuck, a miswired and a healthy network on scikit-learn's digits, and say what watching them took.

Run it by ``make demo``, or by ``python examples/quickstart.py [directory] [stuck] [miswired] [healthy]``.
"""

import logging
import shlex
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor

RUNS = {  # activation, width, depth, last layers, samples in a batch, epochs, learning rate
    "stuck": (nn.Sigmoid, 64, 8, [], 32, 20, 0.05),  # too many sigmoids: the gradient vanishes
    "miswired": (nn.ReLU, 64, 2, [nn.Softmax(1)], 32, 5, 0.05),  # cross_entropy applies the softmax itself
    "healthy": (nn.ReLU, 1024, 2, [], 128, 150, 0.003),
}


class Classifier(L.LightningModule):
    def __init__(self, activation: type[nn.Module], width: int, depth: int, last: list[nn.Module], rate: float):
        super().__init__()
        hidden = [layer for a, b in pairwise([64] + [width] * depth) for layer in (nn.Linear(a, b), activation())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, 10), *last)
        self.rate = rate

    def training_step(self, batch, batch_idx):
        images, digits = batch
        loss = nn.functional.cross_entropy(self.net(images), digits)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate, momentum=0.9)


def train(kind: str, out: Path) -> Path:
    """Train one of the runs, print what watching it took, and return the file of its report."""
    L.seed_everything(0, verbose=False)
    activation, width, depth, last, batch_size, epochs, rate = RUNS[kind]
    pixels, digits = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits))
    monitor = LandscapeMonitor()  # a run needs only this line and `callbacks=[monitor]`
    trainer = L.Trainer(
        max_epochs=epochs, callbacks=[monitor], logger=TensorBoardLogger(out, name=kind), accelerator="cpu",
        log_every_n_steps=10, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader, began = DataLoader(data, batch_size=batch_size, shuffle=True), time.perf_counter()
    trainer.fit(Classifier(activation, width, depth, last, rate), loader)
    seconds, share = time.perf_counter() - began, trainer.callback_metrics["landscape/overhead"]
    (cost,) = [note for note in monitor.report.to_dict()["notes"] if note.startswith("watching")]
    part = f", {share:.1%} of the training time" if kind == "healthy" and "%" not in cost else ""
    print(f"The fit took {seconds:.1f} s; {cost}{part}.")
    return Path(trainer.log_dir, "landscape", "landscape_report.html")


def pasted(path: str | Path) -> str:
    """Return the path as a shell takes it, from here on if it lies below."""
    path = Path(path).absolute()
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def main(arguments: list[str]) -> None:
    """Train the runs of these names, or all, with logs in this directory, and print how to see them."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # of Lightning's own code, with newer versions of torch
    out, reports = Path(arguments[0] if arguments else "out/demo"), {}
    for kind in arguments[1:] or RUNS:
        print(f"\n=== {kind} ===", flush=True)
        reports[kind] = train(kind, out)
    print("\n=== See it ===\nStart TensorBoard, then open http://localhost:6006/#lightning_landscape")
    print(f"  {pasted(sys.executable)} -m tensorboard.main --port 6006 --logdir {pasted(out)}")
    print("Or open a report, which is one file, in a browser")
    print("\n".join(f"  {pasted(report)}" for report in reports.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
