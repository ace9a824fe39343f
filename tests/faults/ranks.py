"""Train on two ranks with and without a monitor: ``python -m tests.faults.ranks FOLDER CASE...``.

Each rank writes its results of each case to a file in FOLDER, and `test_ranks.py` reads them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import nn
from torch.utils.data import DataLoader

from lightning_landscape import GradientNormMonitor, LandscapeMonitor
from lightning_landscape.errors import CheckpointError, CurvatureError
from lightning_landscape.evidence import Cause, InputUse, Plateau, StartingPoint, Verdict
from lightning_landscape.examination import snapshots
from tests.faults.runs import MONITORS, Flat, Net, loader, reinitialize
from tests.ranks import TIMEOUT, exit_process

FILE_OF_RANK_0 = "a file on one machine alone.ckpt"
"""an anchor that only rank 0 can read"""


def rank() -> int:
    return torch.distributed.get_rank()


def evaluate(surface: Any, factor: float = 1.0) -> float:
    """Return the loss at `factor` times the weights; both ranks must call this together."""
    return float(surface.loss({name: factor * weight for name, weight in surface.here.items()}))


def fails_before_an_evaluation(surface: Any) -> None:
    if rank() == 1:
        raise RuntimeError("on one rank, before an evaluation")
    evaluate(surface)


def fails_between_evaluations(surface: Any) -> None:
    evaluate(surface)
    if rank() == 1:
        raise RuntimeError("on one rank, between two evaluations")
    evaluate(surface, 2.0)


def fails_after_an_evaluation(surface: Any) -> None:
    evaluate(surface)
    if rank() == 0:
        raise RuntimeError("on one rank, after the last evaluation")


def runs_out_of_memory(surface: Any) -> StartingPoint:
    evaluate(surface)
    if rank() == 1 and len(surface.batch_losses) > 1:
        raise torch.OutOfMemoryError("on one rank, on more than one batch")
    return StartingPoint(1.0, evaluate(surface, 2.0))


def slow(surface: Any) -> StartingPoint:
    if rank() == 1:
        time.sleep(0.2)
    return StartingPoint(1.0, evaluate(surface))


def differs_between_ranks(surface: Any) -> InputUse:
    """A probe whose reading depends on the rank's own batches."""
    evaluate(surface)
    return InputUse(loss=2.0, shuffled=2.0 + rank(), moved=float(rank()), varied=True)


def has_no_curvature(surface: Any) -> None:
    evaluate(surface)
    raise CurvatureError("there is none, on any rank")


def last_probe(surface: Any) -> StartingPoint:
    return StartingPoint(3.0, evaluate(surface, 0.5))


@dataclass(frozen=True)
class UserReading:
    """A user's reading, which differs between ranks."""

    value: float

    def scalars(self) -> dict[str, float]:
        return {"own": self.value}


def user_probe(surface: Any) -> UserReading:
    evaluate(surface)
    return UserReading(1.0 + rank())


def user_probe_of_rank_0(surface: Any) -> Any:
    """A probe with a reading on rank 0 only, whose class rank 1 cannot import."""

    @dataclass(frozen=True)
    class LocalReading(UserReading):
        pass

    evaluate(surface)
    return LocalReading(5.0) if rank() == 0 else None


def user_detector(evidence: Any) -> Verdict | None:
    reading, plateau = evidence.get(UserReading), evidence.get(Plateau)
    if reading is None:
        return None
    cause = Cause.SADDLE_POINT if reading.value == 1.0 else Cause.FLAT_REGION
    reason = f"{reading.value}, and {[type(other).__name__ for other in evidence]}"
    return Verdict(cause, plateau.step, plateau.since, stuck=True, reason=reason)


def with_user_parts() -> LandscapeMonitor:
    return LandscapeMonitor(
        probes=(user_probe, user_probe_of_rank_0, last_probe),
        detectors=(user_detector,),
        max_batches=4,
        norm_every_n_steps=1,
    )


def with_probes(*probes: Any) -> Callable[[], LandscapeMonitor]:
    return lambda: LandscapeMonitor(probes=(*probes, last_probe), max_batches=4, norm_every_n_steps=1)


def with_a_file_of_rank_0() -> LandscapeMonitor:
    """Return a monitor with an anchor that rank 1 cannot read."""

    def read(path: str, like: Any) -> Any:
        if rank() == 1:
            raise CheckpointError(f"{path} does not exist")
        return {name: torch.zeros_like(weight) for name, weight in like.items()}

    snapshots.read_weights = read  # type: ignore[assignment]
    return LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, anchors=(FILE_OF_RANK_0, "initial"))


class Layers(Net):
    """Without BatchNorm and dropout, so that a sharded run can be compared with one that is not sharded."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


class Sharded(Layers):
    def configure_model(self) -> None:
        from torch.distributed.fsdp import fully_shard

        for part in (self.net[0], self.net[2], self.net):
            fully_shard(part, mesh=self.device_mesh["data_parallel"])


def ddp() -> Strategy:
    return DDPStrategy(start_method="fork", timeout=TIMEOUT, process_group_backend="gloo")


def fsdp2() -> Strategy:
    return ModelParallelStrategy(
        data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo", timeout=TIMEOUT
    )


CASES: dict[str, tuple[Callable[[], Any], type[Net], Callable[[], Strategy]]] = {
    "fails before an evaluation": (with_probes(fails_before_an_evaluation), Flat, ddp),
    "fails between evaluations": (with_probes(fails_between_evaluations), Flat, ddp),
    "fails after an evaluation": (with_probes(fails_after_an_evaluation), Flat, ddp),
    "out of memory": (with_probes(runs_out_of_memory), Flat, ddp),
    "slow": (with_probes(slow), Flat, ddp),
    "differs between ranks": (with_probes(differs_between_ranks), Flat, ddp),
    "no curvature": (with_probes(has_no_curvature), Flat, ddp),
    "file of rank 0": (with_a_file_of_rank_0, Flat, ddp),
    "user's parts": (with_user_parts, Flat, ddp),
    **{name: (make, Flat, ddp) for name, make in MONITORS.items()},
    "whole": (GradientNormMonitor, Layers, ddp),
    "sharded": (GradientNormMonitor, Sharded, fsdp2),
}


class WriteResults(L.Callback):
    """Writes a rank's results to a file at the end of the run."""

    def __init__(self, file: Path, monitor: Any) -> None:
        self.file, self.monitor = file, monitor

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        digest = hashlib.sha256()
        for tensor in [*pl_module.state_dict().values(), torch.get_rng_state()]:
            local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
            digest.update(local.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        metrics = {k: repr(float(v)) for k, v in trainer.callback_metrics.items() if k.startswith("landscape/")}
        results: dict[str, Any] = {"digest": digest.hexdigest(), "step": trainer.global_step, "metrics": metrics}
        if (monitor := self.monitor) is not None:
            results |= {
                "verdicts": [verdict.to_dict() for verdict in monitor.verdicts],
                "failures": monitor._guard.failures,
                "skipped": monitor._examination.skipped,
                "lines": {
                    name: [[step, *line.losses] for step, line in curves]
                    for name, curves in monitor._state.readings.lines().items()
                },
                "norms": monitor._state.gradients.history,
                "judged_at": monitor._state.judged_at,
            }
        self.file.with_name(f"{self.file.name}.{trainer.global_rank}.json").write_text(json.dumps(results))


def name_alone(case: str) -> str:
    """Return the name of the results without a monitor; cases of one module and strategy share them."""
    _, module_class, strategy = CASES[case]
    return f"{module_class.__name__} by {strategy.__name__}.alone"


def name_monitored(case: str) -> str:
    """Return the name of the results with a monitor."""
    return f"{case}.monitored"


def main(folder: Path, cases: list[str]) -> None:
    finished = set()
    for case in cases:
        make, module_class, strategy = CASES[case]
        for name in [name for name in (name_alone(case), name_monitored(case)) if name not in finished]:
            finished.add(name)
            monitor = make() if name == name_monitored(case) else None
            results = WriteResults(folder / name, monitor)
            trainer = L.Trainer(
                accelerator="cpu",
                devices=2,
                strategy=strategy(),
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                max_steps=60,
                callbacks=[results] if monitor is None else [monitor, results],
            )
            module = module_class()
            reinitialize(module)
            data = loader(32)
            trainer.fit(module, DataLoader(data.dataset, batch_size=8))
            if strategy is fsdp2:  # these processes also run the next case, so that they wait for each other here
                torch.distributed.barrier()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
    exit_process()
