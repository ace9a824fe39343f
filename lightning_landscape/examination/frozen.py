"""When parameters were frozen that were trainable at the start of the run, and what the module had at the start."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class FrozenSince:
    """The optimizer step at which each parameter was first seen frozen, by name, and the parameters at the start.

    The state that is saved holds names and steps only. The parameters themselves are remembered by weak references.
    """

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        """the step at which a parameter that was trainable at the start was first seen frozen; without those that are
        trainable again"""
        self._trainable: list[str] = []
        self._frozen_at_start: list[str] = []
        self._flags: list[bool] = []  # at the last call, whether each parameter required a gradient
        self._first: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()

    def check(self, module: nn.Module, step: int) -> None:
        """Note which parameters are frozen after this optimizer step; the first call is made at the start of the run.

        While a batch is trained, `toggle_optimizer` freezes the parameters of other optimizers, so call this at the end
        of a training batch.
        """
        if not self._first:
            self._first = weakref.WeakValueDictionary({id(p): p for p in module.parameters()})
            if not self._trainable:
                flags_by_name = {name: p.requires_grad for name, p in module.named_parameters()}
                self._trainable = [name for name, trainable in flags_by_name.items() if trainable]
                self._frozen_at_start = [name for name, trainable in flags_by_name.items() if not trainable]
        flags = [p.requires_grad for p in module.parameters()]
        if flags == self._flags:
            return
        self._flags = flags
        frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
        self.steps = {name: self.steps.get(name, step) for name in self._trainable if name in frozen}

    def was_frozen(self, name: str) -> bool:
        """Return whether the parameter was frozen at the start of the run; one of a new layer was not."""
        return name in self._frozen_at_start

    def was_parameter(self, tensor: Tensor) -> bool:
        """Return whether the tensor was a parameter of the module at the start, or when the run was resumed."""
        return self._first.get(id(tensor)) is tensor

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles keep: no parameters."""
        return {**vars(self), "_first": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` returned."""
        vars(self).update(state | {"_first": weakref.WeakValueDictionary()})

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        frozen = list(self._frozen_at_start)
        return {"trainable": list(self._trainable), "frozen_at_start": frozen, "steps": dict(self.steps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._trainable = [str(name) for name in state["trainable"]]
        self._frozen_at_start = [str(name) for name in state.get("frozen_at_start", ())]
        self.steps = {str(name): int(step) for name, step in state["steps"].items()}
