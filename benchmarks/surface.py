"""What the loss surface costs against the naked training step: ``python -m benchmarks.surface``.

Everything is timed in one run, in turns, so that a noisy machine is noisy for all; a ratio is the median over the
turns of the ratio within a turn. Times are processor time of the only thread, since cores may be shared. *Bare* is the
module's own ``training_step`` called under no_grad with no protection at all.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import torchmetrics
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import module_surface
from lightning_landscape.module_surface.isolation import isolated
from lightning_landscape.module_surface.weights import Weights, snapshot
from lightning_landscape.surface import LossSurface
from lightning_landscape.trainer.lightning_host import LightningHost

POINTS, BATCHES = 11, 4


class Network(LightningModule):
    """1.08M parameters in 14 modules, with dropout, BatchNorm and two metrics."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(256, 768),
            nn.BatchNorm1d(768),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(768, 768),
            nn.BatchNorm1d(768),
            nn.ReLU(),
            nn.Linear(768, 384),
            nn.ReLU(),
            nn.Linear(384, 10),
        )
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=10)
        self.recall = torchmetrics.Recall("multiclass", num_classes=10)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy, and what people count besides."""
        logits = self.net(batch[0])
        self.accuracy.update(logits, batch[1])
        self.recall.update(logits, batch[1])
        loss = F.cross_entropy(logits, batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW as it comes."""
        return torch.optim.AdamW(self.parameters())


class Stopwatch:
    """Times several pieces of work in turns."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def turn(self, **work: Callable[[], object]) -> None:
        """Time each piece of work once."""
        for name, piece in work.items():
            start = time.thread_time()
            piece()
            self.seconds.setdefault(name, []).append(time.thread_time() - start)

    def median(self, name: str) -> float:
        """Seconds of one piece of work."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """Median over the turns of one piece of work as a multiple of another."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))


class Benchmark(Callback):
    """Trains for some steps to warm up and to time one, then measures between two steps."""

    def __init__(self, turns: int) -> None:
        self.turns, self.watch = turns, Stopwatch()
        self.few, self.many = ProbeSet(1), ProbeSet(2 * BATCHES)
        self.steps: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the beginning as an anchor."""
        self.initial = snapshot(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Capture the batch."""
        self.few.capture(pl_module, batch, batch_idx)
        self.many.capture(pl_module, batch, batch_idx)
        self.started = time.thread_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measure once the machine is warm."""
        self.steps.append(time.thread_time() - self.started)
        if batch_idx < 40:
            return
        # One training step between any two turns would change the weights: its time is taken from the warm-up.
        for _ in range(self.turns):
            self._turn(trainer, pl_module, batch, batch_idx)
        trainer.should_stop = True

    def _turn(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        def bare(times: int) -> None:
            with torch.no_grad():
                for _ in range(times):
                    pl_module.training_step(batch, batch_idx)

        def bare_gradient() -> None:
            loss = pl_module.training_step(batch, batch_idx)
            torch.autograd.grad(loss, list(pl_module.parameters()))

        weights = Weights(pl_module)

        def isolation() -> None:
            with isolated(LightningHost(trainer, pl_module), weights):
                pass

        def opening(probe_set: ProbeSet, then: Callable[[LossSurface], object] = lambda surface: None) -> None:
            with module_surface(trainer, pl_module, probe_set, anchors={"initial": self.initial}) as surface:
                then(surface)

        watch = self.watch
        watch.turn(
            bare=lambda: bare(POINTS),
            isolation=isolation,
            setting_aside=lambda: Weights(pl_module),
            opening=lambda: opening(self.few),
            bare_line=lambda: bare(POINTS * BATCHES),
            whole_line=lambda: opening(self.many, line),
            bare_gradient=bare_gradient,
        )
        with module_surface(trainer, pl_module, self.few, anchors={"initial": self.initial}) as surface:
            candidate = {name: weight + 1e-3 for name, weight in surface.here.items()}
            watch.turn(
                loss=lambda: [surface.loss(candidate) for _ in range(POINTS)],
                short_line=lambda: line(surface),
                gradient=lambda: gradient(surface),
            )
            slopes, leaves = graph(surface)
            watch.turn(product=lambda: torch.autograd.grad(slopes, leaves, slopes, retain_graph=True))
        with module_surface(trainer, pl_module, self.many, anchors={"initial": self.initial}) as surface:
            watch.turn(line=lambda: line(surface))


def line(surface: LossSurface) -> list[float]:
    """The loss at eleven points from the beginning to the present, with one set of weights for all of them."""
    start, here = surface.anchors["initial"], surface.here
    point = {name: torch.empty_like(weight) for name, weight in here.items()}
    losses = []
    for index in range(POINTS):
        for name, weight in point.items():
            torch.lerp(start[name], here[name], index / (POINTS - 1), out=weight)
        losses.append(float(surface.loss(point)))
    return losses


def gradient(surface: LossSurface) -> tuple[Tensor, ...]:
    """The gradient at the present weights."""
    leaves = [weight.clone().requires_grad_() for weight in surface.here.values()]
    return torch.autograd.grad(surface.loss(dict(zip(surface.here, leaves, strict=True))), leaves)


def graph(surface: LossSurface) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """The gradient with its graph, and what it is the gradient for."""
    leaves = [weight.clone().requires_grad_() for weight in surface.here.values()]
    point = dict(zip(surface.here, leaves, strict=True))
    return torch.autograd.grad(surface.loss(point), leaves, create_graph=True), leaves


def swap(turns: int) -> Stopwatch:
    """Exchange 25M weights by pointer and by copy."""
    module = nn.Sequential(*(nn.Linear(1250, 1250, bias=False) for _ in range(16)))
    weights, watch = Weights(module), Stopwatch()
    others = {name: weight.clone() for name, weight in weights.present_point.items()}

    def copy() -> None:
        for name, own in weights.originals.items():
            own.copy_(others[name])

    for _ in range(turns):
        watch.turn(pointer=lambda: weights.set_to(others), copy=copy)
    weights.restore()
    return watch


def report(benchmark: Benchmark) -> str:
    """The table, with the limits that were promised."""
    watch, step = benchmark.watch, statistics.median(benchmark.steps[5:])
    watch.seconds["step"] = [step] * benchmark.turns
    # The pieces `bare` and `loss` are POINTS evaluations each.
    watch.seconds["steps"] = [POINTS * step] * benchmark.turns
    exchanged = swap(benchmark.turns)
    watch.seconds |= exchanged.seconds

    def row(what: str, name: str, to: str, unit: str, limit: str = "", pieces: int = 1) -> str:
        milliseconds = f"{1e3 * watch.median(name) / pieces:.3g}"
        return f"| {what} | {milliseconds} | {watch.ratio(name, to):.3f} {unit} | {limit} |"

    lines = [
        "| | ms | ratio | limit |",
        "|---|---|---|---|",
        f"| training step | {1e3 * step:.3g} | | |",
        row("bare loss evaluation", "bare", "steps", "of a step", pieces=POINTS),
        row("isolation, in and out", "isolation", "step", "of a step", "0.05"),
        row("one copy of the weights", "setting_aside", "step", "of a step"),
        row("loss evaluation", "loss", "bare", "× bare", "1.05", POINTS),
        row(f"line of {POINTS} points on 1 batch", "short_line", "bare", "× bare", "1.10"),
        row(f"line of {POINTS} points on {BATCHES} batches", "line", "bare_line", "× bare", "1.10"),
        row("the same with opening, check and closing", "whole_line", "bare_line", "× bare"),
        row("opening, check and closing", "opening", "step", "of a step"),
        row("gradient", "gradient", "bare_gradient", "× bare gradient"),
        row("Hessian-vector product", "product", "bare_gradient", "× bare gradient"),
        row("exchange of 25M weights", "pointer", "copy", "× copying them"),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    samples = 60 * arguments.batch_size
    data = TensorDataset(torch.randn(samples, 256), torch.randint(0, 10, (samples,)))
    benchmark = Benchmark(arguments.turns)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[benchmark],
    )
    network = Network()
    trainer.fit(network, DataLoader(data, batch_size=arguments.batch_size, shuffle=True))
    count = sum(p.numel() for p in network.parameters())
    print(f"{count / 1e6:.2f}M parameters, batches of {arguments.batch_size}, {benchmark.turns} turns, one thread\n")
    print(report(benchmark))


if __name__ == "__main__":
    main()
