"""What the optimizers hold that the module does not have, and what they lack of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.evidence import HeldTensors
from lightning_landscape.functional.norms import group_names
from lightning_landscape.surface import Params
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.parts import group_settings, has_not_moved, named_parameters

WITH_OWN_TENSORS = frozenset({"DeepSpeedStrategy", "FSDPStrategy"})
"""strategies under which the optimizers hold tensors of their own, from which the module's parameters are updated"""


@torch.no_grad()
def read_held_tensors(
    host: Host,
    initial: Params | None = None,
    was_parameter: Callable[[Tensor], bool] | None = None,
    was_frozen: Callable[[str], bool] = lambda name: False,
) -> HeldTensors | None:
    """Return what the optimizers lack of the module, and what they hold that the module does not have.

    Under a strategy whose optimizers hold tensors of their own, this cannot be told, and the function returns None.

    Args:
        host: the run, after a step.
        initial: copies of the initial weights by name; None if there are none.
        was_parameter: whether a tensor was a parameter of the module at the start of the run.
        was_frozen: whether the parameter of this name was frozen at the start of the run.
    """
    if host.strategy_names & WITH_OWN_TENSORS:
        return None
    named = named_parameters(host.module)
    held = {id(tensor): tensor for _, group in group_settings(host) for tensor in group["params"]}
    trainable = {name: p for name, p in named.items() if p.requires_grad}
    unheld = {name: p for name, p in trainable.items() if held and id(p) not in held}
    with_gradient = {name: p for name, p in unheld.items() if p.grad is not None}
    own = set(map(id, host.module.parameters()))
    outside = [t for key, t in held.items() if key not in own and t.grad is None and not nn.parameter.is_lazy(t)]
    known = (initial or {}) if was_parameter is None else _restricted(initial or {}, with_gradient, was_parameter)
    still = {name: p for name, p in with_gradient.items() if has_not_moved(p, known.get(name))}
    replaced = still if _are_predecessors(outside, still.values(), was_parameter) else {}
    groups = dict(zip(named, group_names(list(named)), strict=True))
    total = max(1, sum(p.numel() for p in trainable.values()))
    of_optimizers = max(1, sum(tensor.numel() for tensor in held.values() if not nn.parameter.is_lazy(tensor)))
    return HeldTensors(
        unheld=tuple(dict.fromkeys(groups[name] for name in unheld)),
        unheld_share=sum(p.numel() for p in unheld.values()) / total,
        unheld_with_gradient=sum(p.numel() for p in with_gradient.values()) / total,
        outside=len(outside),
        outside_share=sum(tensor.numel() for tensor in outside) / of_optimizers,
        replaced=tuple(dict.fromkeys(groups[name] for name in replaced)),
        unfrozen=tuple(dict.fromkeys(groups[name] for name in with_gradient if was_frozen(name))),
    )


def _restricted(initial: Params, present: Mapping[str, Tensor], was_parameter: Callable[[Tensor], bool]) -> Params:
    """Return the initial values of those parameters that the module had at the start; a new layer has none."""
    return {name: initial[name] for name, p in present.items() if name in initial and was_parameter(p)}


def _are_predecessors(outside: list[Tensor], present: Any, was_parameter: Callable[[Tensor], bool] | None) -> bool:
    """Return whether the tensors outside the module are those that the present parameters have replaced.

    They are if the module had one of them at the start, or if half of them have the shapes of present parameters.
    Optimizers may hold other tensors, which were never in the module.
    """
    shapes = Counter((tuple(p.shape), p.dtype) for p in present)
    if not outside or not shapes:
        return False
    if was_parameter is not None and any(map(was_parameter, outside)):
        return True
    equal = sum((Counter((tuple(tensor.shape), tensor.dtype) for tensor in outside) & shapes).values())
    return 2 * equal >= len(outside) and any(len(shape) > 1 for shape, _ in shapes)
