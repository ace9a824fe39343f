"""What is asked of a Trainer: how long it will train, which parameters it trains, what the other ranks saw."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

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


def horizon_of(trainer: Any, past: int) -> int | None:
    """Optimizer steps from `past` of them to the end of this fit, or None where nobody knows."""
    try:
        steps = float(trainer.estimated_stepping_batches)
    except Exception:  # accumulation that changes by epoch, or a data loader that fails on its own terms later
        return None
    if trainer.max_steps > 0:  # counts the steps of every optimizer
        most = trainer.max_steps / max(1, len(trainer.optimizers))
        steps = min(steps, most) if steps > 0 else most
    left = steps - past
    return int(left) if math.isfinite(left) and left >= 1 else None


def mean_over_ranks(trainer: Any, numbers: Sequence[float]) -> list[float]:
    """Return the mean of each number over the ranks, the same on every rank."""
    if trainer.world_size == 1:
        return list(numbers)
    values = torch.tensor(list(numbers), device=trainer.strategy.root_device)
    means: list[float] = trainer.strategy.reduce(values, reduce_op="mean").tolist()
    return means


def agreed_upon(trainer: Any, value: Any) -> Any:
    """What the first rank says, on every rank: clocks differ from one to the next."""
    return value if trainer.world_size == 1 else trainer.strategy.broadcast(value)


def published(values: Mapping[str, float]) -> dict[str, Tensor]:
    """The values as Lightning's `callback_metrics` want them."""
    return dict(zip(values, torch.tensor(list(values.values())).unbind(), strict=True))


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """What it holds, each once; a lazy parameter from when it has a shape."""
    held = (p for group in optimizer.param_groups for p in group["params"] if not nn.parameter.is_lazy(p))
    return list({id(p): p for p in held}.values())


def size_of(optimizer: Optimizer) -> int:
    """How many parameters with a shape it holds, each as often as it holds it."""
    return sum(not nn.parameter.is_lazy(p) for group in optimizer.param_groups for p in group["params"])


def learning_rate_of(optimizer: Optimizer) -> float | Tensor:
    """The largest of its groups', now; a tensor where reading it would wait for the device."""
    largest = 0.0
    for group in optimizer.param_groups:
        rate = group.get("lr", 0.0)
        if isinstance(rate, Tensor):  # a capturable optimizer
            rates = [torch.as_tensor(group.get("lr", 0.0), device=rate.device) for group in optimizer.param_groups]
            return torch.stack([rate.reshape(()) for rate in rates]).max()
        if rate > largest:
            largest = float(rate)
    return largest
