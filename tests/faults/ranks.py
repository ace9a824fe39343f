"""Two processes, alone and watched: ``python -m tests.faults.ranks FOLDER CASE...`` writes what each rank has seen."""

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
from tests.faults.runs import MONITORS, Flat, Net, loader, restart
from tests.ranks import TIMEOUT, exit_process

ABSENT = "a file on one machine alone.ckpt"


def rank() -> int:
    return torch.distributed.get_rank()


def evaluated(surface: Any, factor: float = 1.0) -> float:
    return float(surface.loss({name: factor * weight for name, weight in surface.here.items()}))


def fails_before(surface: Any) -> None:
    if rank() == 1:
        raise RuntimeError("on one rank, before anything was evaluated")
    evaluated(surface)


def fails_in_the_midst(surface: Any) -> None:
    evaluated(surface)
    if rank() == 1:
        raise RuntimeError("on one rank, between two evaluations")
    evaluated(surface, 2.0)


def fails_behind(surface: Any) -> None:
    evaluated(surface)
    if rank() == 0:
        raise RuntimeError("on one rank, when the other is through")


def starves(surface: Any) -> StartingPoint:
    evaluated(surface)
    if rank() == 1 and len(surface.batch_losses) > 1:
        raise torch.OutOfMemoryError("on one rank, on so many batches")
    return StartingPoint(1.0, evaluated(surface, 2.0))


def slow(surface: Any) -> StartingPoint:
    if rank() == 1:
        time.sleep(0.2)
    return StartingPoint(1.0, evaluated(surface))


def sees_its_own(surface: Any) -> InputUse:
    """What is seen of a rank's own batches differs between ranks."""
    evaluated(surface)
    return InputUse(loss=2.0, shuffled=2.0 + rank(), moved=float(rank()), varied=True)


def has_no_curvature(surface: Any) -> None:
    evaluated(surface)
    raise CurvatureError("there is none, on any rank")


def after(surface: Any) -> StartingPoint:
    return StartingPoint(3.0, evaluated(surface, 0.5))


@dataclass(frozen=True)
class Own:
    """A reading of the user's own, which differs between ranks."""

    value: float

    def scalars(self) -> dict[str, float]:
        return {"own": self.value}


def own(surface: Any) -> Own:
    evaluated(surface)
    return Own(1.0 + rank())


def own_on_the_first(surface: Any) -> Any:
    """A reading that the second rank lacks, of a class that it cannot look up."""

    @dataclass(frozen=True)
    class Hidden(Own):
        pass

    evaluated(surface)
    return Hidden(5.0) if rank() == 0 else None


def own_detector(evidence: Any) -> Verdict | None:
    found, plateau = evidence.get(Own), evidence.get(Plateau)
    if found is None:
        return None
    cause = Cause.SADDLE_POINT if found.value == 1.0 else Cause.FLAT_REGION
    reason = f"{found.value}, and {[type(reading).__name__ for reading in evidence]}"
    return Verdict(cause, plateau.step, plateau.since, stuck=True, reason=reason)


def with_a_detector() -> LandscapeMonitor:
    return LandscapeMonitor(
        probes=(own, own_on_the_first, after), detectors=(own_detector,), max_batches=4, norm_every_n_steps=1
    )


def probing(*probes: Any) -> Callable[[], LandscapeMonitor]:
    return lambda: LandscapeMonitor(probes=(*probes, after), max_batches=4, norm_every_n_steps=1)


def with_an_absent_file() -> LandscapeMonitor:
    """On rank 1 there is no such file."""

    def read(path: str, like: Any) -> Any:
        if rank() == 1:
            raise CheckpointError(f"{path} does not exist")
        return {name: torch.zeros_like(weight) for name, weight in like.items()}

    snapshots.read_weights = read  # type: ignore[assignment]
    return LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, anchors=(ABSENT, "initial"))


class Layers(Net):
    """Without BatchNorm and dropout, so that the shards of a run can be compared with the whole."""

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
    "fails before": (probing(fails_before), Flat, ddp),
    "fails in the midst": (probing(fails_in_the_midst), Flat, ddp),
    "fails behind": (probing(fails_behind), Flat, ddp),
    "starves": (probing(starves), Flat, ddp),
    "slow": (probing(slow), Flat, ddp),
    "sees its own": (probing(sees_its_own), Flat, ddp),
    "no curvature": (probing(has_no_curvature), Flat, ddp),
    "absent file": (with_an_absent_file, Flat, ddp),
    "own detector": (with_a_detector, Flat, ddp),
    **{name: (make, Flat, ddp) for name, make in MONITORS.items()},
    "whole": (GradientNormMonitor, Layers, ddp),
    "sharded": (GradientNormMonitor, Sharded, fsdp2),
}


class Report(L.Callback):
    """What a rank knows in the end."""

    def __init__(self, file: Path, monitor: Any) -> None:
        self.file, self.monitor = file, monitor

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        digest = hashlib.sha256()
        for tensor in [*pl_module.state_dict().values(), torch.get_rng_state()]:
            local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
            digest.update(local.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        metrics = {k: repr(float(v)) for k, v in trainer.callback_metrics.items() if k.startswith("landscape/")}
        report: dict[str, Any] = {"digest": digest.hexdigest(), "step": trainer.global_step, "metrics": metrics}
        if (monitor := self.monitor) is not None:
            report |= {
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
        self.file.with_name(f"{self.file.name}.{trainer.global_rank}.json").write_text(json.dumps(report))


def alone(case: str) -> str:
    """The name of the report of the run without a monitor, which several cases share."""
    _, module_class, strategy = CASES[case]
    return f"{module_class.__name__} by {strategy.__name__}.alone"


def watched(case: str) -> str:
    return f"{case}.watched"


def main(folder: Path, cases: list[str]) -> None:
    there = set()
    for case in cases:
        make, module_class, strategy = CASES[case]
        for name in [name for name in (alone(case), watched(case)) if name not in there]:
            there.add(name)
            monitor = make() if name == watched(case) else None
            report = Report(folder / name, monitor)
            trainer = L.Trainer(
                accelerator="cpu",
                devices=2,
                strategy=strategy(),
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                max_steps=60,
                callbacks=[report] if monitor is None else [monitor, report],
            )
            module = module_class()
            restart(module)
            data = loader(32)
            trainer.fit(module, DataLoader(data.dataset, batch_size=8))
            if strategy is fsdp2:  # these processes have been started anew, and stay for the next case
                torch.distributed.barrier()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:])
    exit_process()
