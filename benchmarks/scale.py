"""Train networks of 1M to 400M parameters, bare and watched: peak memory, time, and what was left out.

    python -m benchmarks.scale                                   # up to 100M parameters, about 40 minutes
    python -m benchmarks.scale --millions 1 10 --nets mlp --optimizers sgd
    python -m benchmarks.scale --millions 400 --steps 60

Each run has a process of its own; the bare and the watched one take turns, so that other work on the machine slows
both of them. A stuck run has a learning rate that is far too small, so that it is diagnosed. The peak is that of the
resident memory beyond the bare run, as a multiple of the weights. Time is processor time, with one thread: threads that
wait for each other take processor time as well.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.networks import Block
from lightning_landscape import LandscapeMonitor

NETS = ("mlp", "conv", "transformer")
OPTIMIZERS = ("sgd", "adam")
RATES = {"sgd": 1e-2, "adam": 3e-4}
STUCK = 1e-7
"""the learning rate of a stuck run, as a share of that of a healthy one"""
BATCH = 16
TURN = 10.0
"""seconds for which one process runs while the other is stopped: many steps, of which few are interrupted"""


def for_relus(layer: nn.Module) -> None:
    """Draw the weights of a layer so that the size of its outputs does not shrink, however many ReLUs follow."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")


class Mlp(nn.Sequential):
    """Four hidden layers of equal width."""

    def __init__(self, parameters: float) -> None:
        width = int((parameters / 4) ** 0.5)
        layers = [layer for _ in range(4) for layer in (nn.Linear(width, width), nn.ReLU())]
        super().__init__(nn.Linear(64, width), nn.ReLU(), *layers, nn.Linear(width, 10))
        self.apply(for_relus)


class Conv(nn.Sequential):
    """Four convolutions of equal width on images of 8 x 8 pixels."""

    def __init__(self, parameters: float) -> None:
        width = int((parameters / 36) ** 0.5)
        layers = [layer for _ in range(4) for layer in (nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())]
        super().__init__(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, width, 3, 1, 1), *layers, nn.Flatten(), nn.Linear(width, 10)
        )
        self.apply(for_relus)


class Transformer(nn.Module):
    """Four causal layers on sequences of 16 tokens."""

    def __init__(self, parameters: float) -> None:
        super().__init__()
        width = 8 * int((parameters / 48) ** 0.5 / 8)
        self.embedding = nn.Linear(4, width)
        self.blocks = nn.Sequential(*(Block(width, 8) for _ in range(4)))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (samples, 10), for inputs of shape (samples, 64)."""
        return self.head(self.blocks(self.embedding(x.view(len(x), 16, 4))).mean(1))


class Module(L.LightningModule):
    """Classifies inputs whose first ten entries tell the label."""

    def __init__(self, net: nn.Module, optimizer: str, rate: float) -> None:
        super().__init__()
        self.net, self.optimizer, self.rate = net, optimizer, rate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the cross-entropy of one batch."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.optimizer]
        return kind(self.parameters(), lr=self.rate)


def memory(field: str) -> int:
    """Return a line of the process's memory, such as ``VmHWM``, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))


def train(millions: float, net: str, optimizer: str, *, stuck: bool, watched: bool, steps: int) -> dict[str, Any]:
    """Train one network in this process, and return what that took."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(2048, 64)
    data = TensorDataset(x, (x[:, :10] + 0.5 * torch.randn(2048, 10)).argmax(1))
    monitor = LandscapeMonitor()
    folder = tempfile.TemporaryDirectory()
    trainer = L.Trainer(
        max_steps=steps,
        callbacks=[monitor] if watched else [],
        accelerator="cpu",
        logger=CSVLogger(folder.name),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    before = memory("VmRSS")
    made = {"mlp": Mlp, "conv": Conv, "transformer": Transformer}[net](1e6 * millions)
    module = Module(made, optimizer, RATES[optimizer] * (STUCK if stuck else 1.0))
    start = time.process_time()
    trainer.fit(module, DataLoader(data, BATCH, shuffle=True, drop_last=True))
    verdict = monitor.verdict
    said = "" if verdict is None else f"{verdict.cause.value}{'' if verdict.stuck else ' (no alarm)'}"
    return {
        "seconds": time.process_time() - start,
        "peak": memory("VmHWM") - before,
        "weights": sum(p.numel() * p.element_size() for p in module.parameters()),
        "verdict": said,
        "notes": [note for note in monitor.report.to_dict()["notes"] if "left out" in note or "skipped" in note]
        if watched
        else [],
    }


def in_turns(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what `train` returns for each case, in processes of which one at a time runs and the others are stopped.

    Raises:
        RuntimeError: if a process fails
    """
    commands = [[sys.executable, "-m", "benchmarks.scale", "--case", json.dumps(case)] for case in cases]
    processes = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    while any(process.poll() is None for process in processes):
        for process in processes:
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(TURN)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGSTOP)
    results = []
    for process in processes:
        printed, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{shlex.join(process.args)} failed: {errors[-500:]}")
        results.append(json.loads(printed.splitlines()[-1]))
    return results


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 10, 100], help="millions of parameters")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=OPTIMIZERS)
    parser.add_argument("--runs", nargs="+", choices=("stuck", "healthy"), default=("stuck", "healthy"))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(train(**json.loads(options.case))))
        return
    print("| parameters | net | optimizer | run | peak beyond bare / weights | time / bare | verdict | left out |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for millions in options.millions:
        for net in options.nets:
            for optimizer in options.optimizers:
                for run in options.runs:
                    case = {"millions": millions, "net": net, "optimizer": optimizer, "stuck": run == "stuck"}
                    case |= {"steps": options.steps}
                    bare, watched = in_turns([case | {"watched": False}, case | {"watched": True}])
                    peak = (watched["peak"] - bare["peak"]) / bare["weights"]
                    ratio = watched["seconds"] / bare["seconds"]
                    left_out = "; ".join(watched["notes"]).removeprefix("left out: ")
                    print(
                        f"| {millions:g}M | {net} | {optimizer} | {run} | {peak:.1f} | {ratio:.2f} | "
                        f"{watched['verdict']} | {left_out} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
