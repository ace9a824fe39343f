"""What is asked of a Trainer: how long it will train, which parameters it trains, what the other ranks saw."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.progress import StepRecord

log = logging.getLogger("lightning_landscape")


def taken_up(state: Mapping[str, Any], **parts: Any) -> bool:
    """Give every part its share of a checkpoint's state; False where the state is another schema's, or damaged."""
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
            part.state_dict()
    except Exception as error:  # a stranger may have written it
        log.info("the state in the checkpoint is not used, watching starts afresh: %r", error)
        return False
    return True


def state_of_another(callback: Any, callbacks: Iterable[Any], states: Any) -> dict[str, Any] | None:
    """The state of the one callback of this class that went by other settings and is not there any more, or None.

    Settings are part of the key that Lightning keeps a state under, and the settings of the new run win.
    """
    if not isinstance(states, Mapping) or callback.state_key in states:
        return None
    present = {other.state_key for other in callbacks}
    kind = f"{type(callback).__qualname__}{{"
    strays = [state for key, state in states.items() if str(key).startswith(kind) and key not in present]
    return strays[0] if len(strays) == 1 else None


def horizon_of(trainer: Any) -> int | None:
    """Optimizer steps that this fit will have taken at its end, or None where nobody knows."""
    try:
        steps = float(trainer.estimated_stepping_batches)
    except Exception:  # accumulation that changes by epoch, or a data loader that fails on its own terms later
        return None
    if trainer.max_steps > 0:  # counts the steps of every optimizer
        most = trainer.max_steps / max(1, len(trainer.optimizers))
        steps = min(steps, most) if steps > 0 else most
    return int(steps) if math.isfinite(steps) and steps >= 1 else None


def not_held(trainer: Any, pl_module: nn.Module) -> float:
    """Share of the trainable parameters that no optimizer holds, in [0, 1]; 0 where there are no optimizers."""
    held = {id(p) for o in trainer.optimizers for group in o.param_groups for p in group["params"]}
    trainable = [p for p in pl_module.parameters() if p.requires_grad]
    if not held:
        return 0.0
    return sum(p.numel() for p in trainable if id(p) not in held) / max(1, sum(p.numel() for p in trainable))


def agreed(trainer: Any, records: list[StepRecord]) -> list[StepRecord]:
    """The records with the loss averaged over the ranks, so that every rank decides the same."""
    if trainer.world_size == 1 or not records:
        return records
    local = torch.tensor([math.nan if r.loss is None else r.loss for r in records], device=trainer.strategy.root_device)
    losses = trainer.strategy.reduce(local, reduce_op="mean").tolist()
    return [r._replace(loss=None if r.loss is None else loss) for r, loss in zip(records, losses, strict=True)]


def published(values: Mapping[str, float]) -> dict[str, Tensor]:
    """The values as Lightning's `callback_metrics` want them."""
    return {f"landscape/{name}": torch.tensor(value) for name, value in values.items()}
