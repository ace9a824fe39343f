"""Train on two processes, alone and observed: ``python -m tests.trainer.two_ranks FOLDER CASE...``.

Each rank writes a report to FOLDER, where `test_ranks.py` compares them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import nn
from torch.utils.data import DataLoader

from lightning_landscape.errors import SurfaceError
from lightning_landscape.evidence import to_builtins
from lightning_landscape.probes import input_use
from tests.module_surface.observers import Prober, leaves, midpoint
from tests.ranks import TIMEOUT, destroy_group_at_exit, exit_process
from tests.zoo.plain import Convolutional, Perceptron, WithMetrics
from tests.zoo.specimen import labelled


class Watching(Prober):
    """Reports every error on a rank and raises none."""

    def examine(self, trainer: Any, pl_module: Any) -> None:
        pl_module.watched = True
        EVALUATIONS["steps"] = 0
        try:
            super().examine(trainer, pl_module)
        except ValueError as error:
            self.refusals.append(str(error))
        finally:
            del pl_module.watched


def line_and_gradient(surface: Any) -> dict[str, Any]:
    point = leaves(midpoint(surface))
    loss = surface.loss(point)
    gradient = torch.autograd.grad(loss, list(point.values()))
    return {"midpoint": float(loss.detach()), "here": float(surface.loss(surface.here)), "norm": norm(gradient)}


def with_product(surface: Any) -> dict[str, Any]:
    point = leaves(surface.here)
    slopes = torch.autograd.grad(surface.loss(point), list(point.values()), create_graph=True)
    product = torch.autograd.grad(sum(slope.sum() for slope in slopes), list(point.values()))
    return line_and_gradient(surface) | {"product": norm(product)}


def norm(vectors: Any) -> float:
    total = nn.utils.get_total_norm(vectors)
    return float(total.full_tensor() if hasattr(total, "full_tensor") else total)


def fails_on_one_rank(surface: Any) -> dict[str, Any]:
    surface.loss(surface.here)
    if torch.distributed.get_rank() == 1:
        raise ValueError("a probe that fails on rank 1")
    return line_and_gradient(surface)


EVALUATIONS = {"steps": 0}
"""counts evaluations outside of the module and its class, whose attributes are restored after each"""


class StepFails(Perceptron):
    """Its step fails on rank 1, in the first evaluation after the check of the surface."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if getattr(self, "watched", False):
            EVALUATIONS["steps"] += 1
            if self.global_rank == 1 and EVALUATIONS["steps"] == 4:  # the check takes three steps
                raise RuntimeError("out of memory, say")
        return super().training_step(batch, batch_idx)


def finds_targets(surface: Any) -> dict[str, Any]:
    return to_builtins(input_use(surface))


class OneClass(Perceptron):
    """Has equal labels on rank 1, and a collective operation in every step."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        inputs, labels = batch
        return inputs, labels * (self.global_rank == 0)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        torch.distributed.all_reduce(torch.zeros(1))
        return super().training_step(batch, batch_idx)


class Sharded(Perceptron):
    """Has every layer and the whole network sharded by FSDP2."""

    def configure_model(self) -> None:
        from torch.distributed.fsdp import fully_shard

        mesh = self.device_mesh["data_parallel"]
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                fully_shard(layer, mesh=mesh)
        fully_shard(self.net, mesh=mesh)


class OneGroup(Sharded):
    """Has the network sharded by FSDP2 as one group, which stays gathered between forward passes."""

    def configure_model(self) -> None:
        from torch.distributed.fsdp import fully_shard

        fully_shard(self.net, mesh=self.device_mesh["data_parallel"])


class Copied(Watching):
    """Copies the weights at the midpoint into the module, computes loss and gradient there, and ends the run."""

    def examine(self, trainer: Any, pl_module: Any) -> None:
        super().examine(trainer, pl_module)
        (first, *_), _ = self.probe_set.halves
        with torch.no_grad():
            for name, parameter in pl_module.named_parameters():
                shard = parameter.to_local()
                shard.copy_(torch.lerp(self.initial[name], shard, 0.5))
                parameter.grad = None
        loss = F.cross_entropy(pl_module.net(first.batch[0]), first.batch[1])
        loss.backward()
        gradient = [parameter.grad for parameter in pl_module.parameters()]
        torch.distributed.all_reduce(mean := loss.detach().clone())
        self.readings[-1] |= {"copied": float(mean) / 2, "copied_norm": norm(gradient)}
        trainer.should_stop = True
        pl_module.zero_grad()


def ddp(start: str, **settings: Any) -> Callable[[], Strategy]:
    return lambda: DDPStrategy(start_method=start, timeout=TIMEOUT, process_group_backend="gloo", **settings)


def fsdp2() -> Strategy:
    return ModelParallelStrategy(
        data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo", timeout=TIMEOUT
    )


CASES: dict[str, tuple[Callable[[], Strategy], type[Any], Callable[[], Watching]]] = {
    "popen": (ddp("popen"), Convolutional, lambda: Watching(with_product)),
    "spawn": (ddp("spawn"), Convolutional, lambda: Watching(with_product)),
    "fork": (ddp("fork"), WithMetrics, lambda: Watching(with_product)),
    "find_unused_parameters": (ddp("fork", find_unused_parameters=True), Convolutional, lambda: Watching(with_product)),
    "static_graph": (ddp("fork", static_graph=True), Perceptron, lambda: Watching(with_product)),
    "probe fails": (ddp("fork"), Perceptron, lambda: Watching(fails_on_one_rank)),
    "step fails": (ddp("fork"), StepFails, lambda: Watching(line_and_gradient, batches=1)),
    "targets": (ddp("fork"), OneClass, lambda: Watching(finds_targets)),
    "fsdp2": (fsdp2, Sharded, lambda: Watching(line_and_gradient)),
    "fsdp2 targets": (fsdp2, Sharded, lambda: Watching(finds_targets)),
    "fsdp2 probe fails": (fsdp2, Sharded, lambda: Watching(fails_on_one_rank)),
    "fsdp2 copied": (fsdp2, OneGroup, lambda: Copied(line_and_gradient, batches=1)),
}


class Report(Prober):
    """Writes the report of this rank at the end."""

    def __init__(self, file: Path, watching: Watching | None) -> None:
        self.file, self.watching = file, watching

    def on_train_start(self, trainer: Any, pl_module: Any) -> None: ...
    def on_train_batch_start(self, *args: Any) -> None: ...
    def on_train_batch_end(self, *args: Any) -> None: ...
    def on_train_epoch_end(self, *args: Any) -> None: ...

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        destroy_group_at_exit()
        digest = hashlib.sha256()
        for tensor in [*pl_module.state_dict().values(), torch.get_rng_state()]:
            local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
            digest.update(local.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        report = {
            "digest": digest.hexdigest(),
            "metrics": {key: float(value) for key, value in trainer.callback_metrics.items()},
            "readings": self.watching.readings if self.watching else [],
            "refusals": self.watching.refusals if self.watching else [],
        }
        self.file.with_suffix(f".{trainer.global_rank}.json").write_text(json.dumps(report))


def main(case: str, folder: Path) -> None:
    make_strategy, module, observe = CASES[case]
    for name, watching in (("alone", None), ("watched", observe())):
        seed_everything(7, verbose=False)
        report = Report(folder / f"{case}, {name}", watching)
        trainer = Trainer(
            accelerator="cpu",
            devices=2,
            strategy=make_strategy(),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            max_epochs=1,
            num_sanity_val_steps=0,
            limit_val_batches=0,
            callbacks=[report] if watching is None else [watching, report],
        )
        trainer.fit(module(), DataLoader(labelled(samples=96), batch_size=8, shuffle=True))
        if torch.distributed.is_initialized():  # these processes stay for the next run
            torch.distributed.barrier()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        for name in sys.argv[2:]:
            main(name, Path(sys.argv[1]))
    except SurfaceError as error:
        print(error, file=sys.stderr)
        raise
    exit_process()
