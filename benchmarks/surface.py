"""Compare the time of evaluations on a loss surface with that of the training step: ``python -m benchmarks.surface``.

All pieces of work are timed in turn within one run, so that other load on the machine affects all of them; a ratio is
the median over the turns of the ratio within a turn. Times are processor time of a single thread, since other work may
share the cores. *Bare* is the module's own ``training_step``, called under no_grad without any isolation.
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
    """A network of 1.09M parameters with dropout, BatchNorm and two metrics."""

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
        """Return the cross-entropy, and update two metrics as users do."""
        logits = self.net(batch[0])
        self.accuracy.update(logits, batch[1])
        self.recall.update(logits, batch[1])
        loss = F.cross_entropy(logits, batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW with its defaults."""
        return torch.optim.AdamW(self.parameters())


class Stopwatch:
    """Processor times of several pieces of work that are done in turn."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def turn(self, **work: Callable[[], object]) -> None:
        """Do each piece of work once, and record its seconds."""
        for name, piece in work.items():
            start = time.thread_time()
            piece()
            self.seconds.setdefault(name, []).append(time.thread_time() - start)

    def median(self, name: str) -> float:
        """Return the median seconds of a piece of work."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """Return the median over the turns of the time of one piece of work over that of another in the same turn."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))


class Benchmark(Callback):
    """A callback that times 40 training steps, which also warm up the machine, and then measures between two steps."""

    def __init__(self, turns: int) -> None:
        self.turns, self.watch = turns, Stopwatch()
        self.one_batch, self.all_batches = ProbeSet(1), ProbeSet(2 * BATCHES)
        self.steps: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the initial weights, which become an anchor."""
        self.initial = snapshot(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Capture the batch for the surfaces, and note the time."""
        self.one_batch.capture(pl_module, batch, batch_idx)
        self.all_batches.capture(pl_module, batch, batch_idx)
        self.started = time.thread_time()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the time of the step; after 40 steps, measure and stop."""
        self.steps.append(time.thread_time() - self.started)
        if batch_idx < 40:
            return
        # A training step within the turns would change the weights, so its time comes from the first 40 steps.
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

        def on_surface(probe_set: ProbeSet, work: Callable[[LossSurface], object] = lambda surface: None) -> None:
            with module_surface(trainer, pl_module, probe_set, anchors={"initial": self.initial}) as surface:
                work(surface)

        watch = self.watch
        watch.turn(
            bare=lambda: bare(POINTS),
            isolation=isolation,
            copy=lambda: Weights(pl_module),
            open_and_close=lambda: on_surface(self.one_batch),
            bare_line=lambda: bare(POINTS * BATCHES),
            whole_line=lambda: on_surface(self.all_batches, line),
            bare_gradient=bare_gradient,
        )
        with module_surface(trainer, pl_module, self.one_batch, anchors={"initial": self.initial}) as surface:
            candidate = {name: weight + 1e-3 for name, weight in surface.here.items()}
            watch.turn(
                loss=lambda: [surface.loss(candidate) for _ in range(POINTS)],
                short_line=lambda: line(surface),
                gradient=lambda: gradient(surface),
            )
            gradients, leaves = gradient_with_graph(surface)
            watch.turn(product=lambda: torch.autograd.grad(gradients, leaves, gradients, retain_graph=True))
        with module_surface(trainer, pl_module, self.all_batches, anchors={"initial": self.initial}) as surface:
            watch.turn(line=lambda: line(surface))


def line(surface: LossSurface) -> list[float]:
    """Return the loss at 11 points on the line from the initial to the present weights, all written to one buffer."""
    start, here = surface.anchors["initial"], surface.here
    point = {name: torch.empty_like(weight) for name, weight in here.items()}
    losses = []
    for index in range(POINTS):
        for name, weight in point.items():
            torch.lerp(start[name], here[name], index / (POINTS - 1), out=weight)
        losses.append(float(surface.loss(point)))
    return losses


def gradient(surface: LossSurface) -> tuple[Tensor, ...]:
    """Return the gradient at the present weights."""
    leaves = [weight.clone().requires_grad_() for weight in surface.here.values()]
    return torch.autograd.grad(surface.loss(dict(zip(surface.here, leaves, strict=True))), leaves)


def gradient_with_graph(surface: LossSurface) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Return the gradient at the present weights with its graph, and the tensors with respect to which it was taken."""
    leaves = [weight.clone().requires_grad_() for weight in surface.here.values()]
    point = dict(zip(surface.here, leaves, strict=True))
    return torch.autograd.grad(surface.loss(point), leaves, create_graph=True), leaves


def weight_exchange(turns: int) -> Stopwatch:
    """Time the exchange of 25M weights by pointer and by copy."""
    module = nn.Sequential(*(nn.Linear(1250, 1250, bias=False) for _ in range(16)))
    weights, watch = Weights(module), Stopwatch()
    others = {name: weight.clone() for name, weight in weights.present_point.items()}

    def copy() -> None:
        for name, weight in weights.originals.items():
            weight.copy_(others[name])

    for _ in range(turns):
        watch.turn(exchange_by_pointer=lambda: weights.set_to(others), exchange_by_copy=copy)
    weights.restore()
    return watch


def report(benchmark: Benchmark) -> str:
    """Return the table of times and ratios, with the limits that some ratios are meant to keep."""
    watch, step = benchmark.watch, statistics.median(benchmark.steps[5:])
    watch.seconds["step"] = [step] * benchmark.turns
    # `bare` and `loss` are POINTS evaluations each, so they are compared with POINTS training steps.
    watch.seconds["steps"] = [POINTS * step] * benchmark.turns
    watch.seconds |= weight_exchange(benchmark.turns).seconds

    def row(label: str, name: str, to: str, unit: str, limit: str = "", evaluations: int = 1) -> str:
        milliseconds = f"{1e3 * watch.median(name) / evaluations:.3g}"
        return f"| {label} | {milliseconds} | {watch.ratio(name, to):.3f} {unit} | {limit} |"

    lines = [
        "| | ms | ratio | limit |",
        "|---|---|---|---|",
        f"| training step | {1e3 * step:.3g} | | |",
        row("bare loss evaluation", "bare", "steps", "of a step", evaluations=POINTS),
        row("isolation, in and out", "isolation", "step", "of a step", "0.05"),
        row("one copy of the weights", "copy", "step", "of a step"),
        row("loss evaluation", "loss", "bare", "× bare", "1.05", POINTS),
        row(f"line of {POINTS} points on 1 batch", "short_line", "bare", "× bare", "1.10"),
        row(f"line of {POINTS} points on {BATCHES} batches", "line", "bare_line", "× bare", "1.10"),
        row("the same with opening, check and closing", "whole_line", "bare_line", "× bare"),
        row("opening, check and closing", "open_and_close", "step", "of a step"),
        row("gradient", "gradient", "bare_gradient", "× bare gradient"),
        row("Hessian-vector product", "product", "bare_gradient", "× bare gradient"),
        row("exchange of 25M weights", "exchange_by_pointer", "exchange_by_copy", "× copying them"),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=40, help="times that each piece of work is done")
    parser.add_argument("--batch-size", type=int, default=128, help="samples in a batch of the training run")
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
