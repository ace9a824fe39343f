"""Run every monitor on one of two ranks: ``python -m tests.matrices.two_ranks KIND FOLDER``.

The environment variable LOCAL_RANK gives the rank. Each rank writes its results to FOLDER, and `test_ranks.py` compares
them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from lightning_landscape.errors import LandscapeWarning
from lightning_landscape.reporting.reporter import Reporter
from tests.matrices.runs import batches, held_out
from tests.matrices.watchers import WATCHERS
from tests.ranks import TIMEOUT, exit_process
from tests.trainer.two_ranks import Sharded
from tests.zoo.plain import Convolutional
from tests.zoo.training import MemoryLogger, is_ours

SETTINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "DDP": (Convolutional, {}),
    "DDP, accumulate and clip": (Convolutional, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1}),
    "FSDP2": (Sharded, {}),
}


def strategy(name: str) -> Strategy:
    if name.startswith("DDP"):
        return DDPStrategy(process_group_backend="gloo", timeout=TIMEOUT)
    return ModelParallelStrategy(
        data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo", timeout=TIMEOUT
    )


def digest(tensors: Any) -> str:
    whole = hashlib.sha256()
    for tensor in tensors:
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        whole.update(local.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def run(name: str, watcher: str | None) -> dict[str, Any]:
    seed_everything(7, verbose=False)
    make, settings = SETTINGS[name]
    module, logger = make(), MemoryLogger()
    monitor = None if watcher is None else WATCHERS[watcher].make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = Trainer(
            accelerator="cpu",
            devices=2,
            strategy=strategy(name),
            max_epochs=6,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            logger=logger,
            callbacks=[] if monitor is None else [monitor],
            **dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
            **settings,
        )
        trainer.fit(module, batches(), held_out())
    moments = [value for o in trainer.optimizers for state in o.state.values() for value in state.values()]
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {
        "digest": digest([*module.state_dict().values(), *moments, torch.get_rng_state()]),
        "user metrics": {key: value for key, value in metrics.items() if not is_ours(key)},
        "landscape metrics": {key: value for key, value in metrics.items() if is_ours(key)},
        "rows": [list(row) for row in logger.experiment.rows if not is_ours(row)],
        "messages": [str(w.message) for w in caught if issubclass(w.category, LandscapeWarning)],
        "other warnings": sorted(str(w.message) for w in caught if not issubclass(w.category, LandscapeWarning)),
        "steps": 0 if monitor is None else monitor.report.steps,
        "notes": [] if monitor is None else monitor.report.splitlines()[1:],
    }


def main(kind: str, folder: Path) -> None:
    Reporter.pictures = lambda *args, **kwargs: None  # type: ignore[method-assign]
    results = {
        name: {watcher or "alone": run(name, watcher) for watcher in (None, *WATCHERS)}
        for name in SETTINGS
        if name.startswith(kind)
    }
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.json").write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]))
    exit_process()
