"""Train the same runs under several strategies: ``python -m tests.trainer.strategies FOLDER STRATEGY...``.

Each rank writes what its monitor has said to FOLDER, where `test_strategies.py` compares it with one process.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import LandscapeWarning
from lightning_landscape.probes.trials import run_trial
from lightning_landscape.surface import LossSurface
from lightning_landscape.trainer._compat import full_tensor
from tests.ranks import TIMEOUT, exit_process

STEPS, SAMPLES = 160, 32
"""steps of a run, and samples of a step on all ranks together"""


class Run(L.LightningModule):
    """Classifies points; `signal` is how far the inputs show the labels, and `lr` is the learning rate."""

    def __init__(self, signal: float, lr: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
        self.signal, self.lr = signal, lr

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, ModelParallelStrategy) and self.device_mesh is not None:
            from torch.distributed.fsdp import fully_shard

            for part in (self.net[0], self.net[2], self.net):
                fully_shard(part, mesh=self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


RUNS: dict[str, Callable[[], Run]] = {
    "labels at random": lambda: Run(signal=0.0, lr=1e-2),
    "rate too small": lambda: Run(signal=3.0, lr=1e-7),
    "own probe": lambda: Run(signal=3.0, lr=1e-7),
}


@dataclass(frozen=True)
class Tried:
    """What a probe has found with the run's optimizer and with new initial weights."""

    drawn: tuple[float, ...]
    copied: float
    fresh: float


def try_out(surface: LossSurface) -> Tried:
    """Draw new weights, take three steps with each kind of copy of the optimizer, and return sums and losses."""
    drawn = surface.run.reinitialize(5)
    losses = []
    for make, start in ((surface.run.optimizer_copy, None), (surface.run.fresh_optimizer, drawn)):
        with run_trial(surface, make(1e4), 3, start=start) as point:
            losses.append(float(full_tensor(surface.loss(point))))
    weights = [full_tensor(weight).flatten() for weight in drawn.values()]
    return Tried(tuple(float(w @ torch.arange(1.0, 1 + len(w))) for w in weights), *losses)


class Batches:
    """Batches of which each rank gets an equal part, so that two ranks take the same steps as one."""

    def __init__(self, signal: float) -> None:
        self.signal = signal

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        rank = torch.distributed.get_rank() if ranks > 1 else 0
        generator = torch.Generator().manual_seed(1)
        for _ in range(STEPS):
            labels = torch.randint(0, 3, (SAMPLES,), generator=generator)
            inputs = torch.randn(SAMPLES, 8, generator=generator)
            inputs[:, :3] += self.signal * F.one_hot(labels, 3)
            yield inputs[rank::ranks], labels[rank::ranks]

    def __len__(self) -> int:
        return STEPS


class FSDPStrategy(DDPStrategy):
    """Shards the weights with FSDP1, which Lightning's strategy of this name does on GPUs only."""

    def _setup_model(self, model: nn.Module) -> Any:
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))


def fsdp2() -> Strategy:
    return ModelParallelStrategy(
        data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo", timeout=TIMEOUT
    )


STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "one process": lambda: SingleDeviceStrategy(device="cpu"),
    "DDP": lambda: DDPStrategy(process_group_backend="gloo", timeout=TIMEOUT),
    "FSDP2": fsdp2,
    "FSDP1": lambda: FSDPStrategy(process_group_backend="gloo", timeout=TIMEOUT),
}


def said(strategy: str, name: str) -> dict[str, Any]:
    """Train, and return what the monitor has measured and said on this rank."""
    # An effort that is chosen from the time of a step would depend on the strategy.
    settings: dict[str, Any] = {"probes": (try_out,)} if name == "own probe" else {}
    monitor, run = LandscapeMonitor(effort="standard", **settings), RUNS[name]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1 if strategy == "one process" else 2,
            strategy=STRATEGIES[strategy](),
            max_steps=STEPS,
            use_distributed_sampler=False,
            callbacks=[monitor],
            **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        )
        trainer.fit(run, Batches(run.signal))
    published = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("landscape/")}
    return {
        "verdicts": [verdict.to_dict() for verdict in monitor.verdicts],
        "norms": monitor._state.gradients.history,
        "scalars": {name: repr(value) for name, value in published.items()},
        "skipped": dict(monitor._examination.skipped),
        "failures": monitor._guard.failures,
        "messages": [str(w.message) for w in caught if issubclass(w.category, LandscapeWarning)],
        "tried": [asdict(reading) for _, reading in monitor.readings.of(Tried)],
        "step": trainer.global_step,
    }


def main(folder: Path, strategies: list[str]) -> None:
    for strategy in strategies:
        names = ["labels at random"] if strategy == "FSDP1" else RUNS
        results = {name: said(strategy, name) for name in names}
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        (folder / f"{strategy}.{rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
    exit_process()
