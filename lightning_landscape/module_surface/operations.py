"""Follow the torch functions that one evaluation calls: in which module, and which layers feed them.

A *layer* is a torch function that combines weights with data, such as ``linear`` in `nn.Linear`, or a user's own matrix
product with an `nn.Parameter`. Every tensor is followed to the next layer that uses it, or to the loss.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lightning_landscape.module_surface.evaluator import Evaluator

IN_PLACE = frozenset({"__setitem__", "copy_", "masked_fill_", "index_put_", "scatter_", "index_copy_", "index_add_"})
"""names of functions after which their first argument holds values of the other arguments"""


@dataclass(frozen=True)
class Operation:
    """One call of a torch function."""

    index: int
    """number of operations before this one that produced a tensor, in the same evaluation"""
    name: str
    """name of the function, such as "relu" """
    module: str | None
    """name of the submodule in whose forward it is called; empty for the LightningModule's own, None for its step"""
    number: int
    """how often this function has been called in the same call of that forward, this time included"""
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    function: Callable[..., Any]
    output: Tensor
    """what it returns; the first tensor if there are several"""
    is_layer: bool
    """whether it combines weights with data"""

    @property
    def place(self) -> str:
        """Where it is called, in words: the name of the submodule, "forward" or "training_step"."""
        return "training_step" if self.module is None else self.module or "forward"

    def argument(self, position: int, name: str) -> Any:
        """Return the argument at this position or with this name; None if it was not given."""
        return self.arguments[position] if len(self.arguments) > position else self.keywords.get(name)


Watcher = Callable[[Operation], Tensor | None]
"""takes an operation, and returns a tensor to use in place of its output, or None for the output itself"""


class Followed:
    """What was seen in one evaluation: where the outputs of operations went."""

    def __init__(self) -> None:
        self.fed_a_layer: set[int] = set()
        """indices of the operations whose output has reached a layer"""
        self.fed_the_loss: frozenset[int] = frozenset()
        """indices of the operations whose output has reached the loss without passing through a layer"""
        self.failed = False
        """whether something could not be followed, because a tensor or an argument was of an unexpected kind"""


@contextlib.contextmanager
def followed_operations(
    evaluator: Evaluator,
    watch: Watcher,
    finish: Callable[[Followed], None],
    hooks: Mapping[str, Callable[..., None]],
) -> Iterator[None]:
    """Show `watch` every operation of each evaluation inside this context, and call `finish` after each.

    Args:
        evaluator: evaluates the module.
        watch: called with every operation that returns a tensor.
        finish: called with what was followed, after each evaluation.
        hooks: further forward hooks by the names of submodules.
    """
    calls: list[tuple[str, Counter[str]]] = []
    modules = {n: m for n, m in evaluator.isolation.modules.items() if not isinstance(m, torch.jit.ScriptModule)}

    def enter(name: str, *_: Any) -> None:
        calls.append((name, Counter()))

    def leave(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        while calls and calls.pop()[0] != name:  # a forward that raised an error was not left
            pass
        if name in hooks:
            hooks[name](module, inputs, output)

    @contextlib.contextmanager
    def around() -> Iterator[Callable[[Tensor], None]]:
        calls.clear()
        mode = _Mode(watch, calls)
        with mode:
            yield mode.end
        finish(mode.followed)

    before = {name: functools.partial(enter, name) for name in modules}
    after = {name: functools.partial(leave, name) for name in modules}
    with evaluator.forward_hooks({**hooks, **after}, before=before, around=around):
        yield


class _Mode(TorchFunctionMode):
    """Follows tensors from operation to operation, and changes no result unless the watcher does."""

    def __init__(self, watch: Watcher, calls: list[tuple[str, Counter[str]]]) -> None:
        super().__init__()
        self.followed = Followed()
        self._watch, self._calls = watch, calls
        self._counts: Counter[str] = Counter()  # calls outside of any forward
        self._index = 0
        # `WeakTensorKeyDictionary` compares tensors by identity; it has no type annotations.
        self._sources: MutableMapping[Tensor, frozenset[int]] = WeakTensorKeyDictionary()
        self._weights: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        try:
            with torch.no_grad():
                return self._follow(func, args, kwargs or {}, output)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception:  # the user's step must not fail because its tensors are of an unexpected kind
            self.followed.failed = True
            return output

    def end(self, loss: Tensor) -> None:
        """Take note of what the loss depends on."""
        self.followed.fed_the_loss = self._sources.get(loss, frozenset())

    def _follow(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
    ) -> Any:
        name = getattr(function, "__name__", "")
        outputs = list(tensors_in((output,)))
        if name in IN_PLACE and isinstance(args[0], Tensor):
            outputs = [args[0]]
        if not outputs:
            return output
        inputs = list(tensors_in((*args, *kwargs.values())))
        weights = [tensor for tensor in inputs if isinstance(tensor, nn.Parameter) or tensor in self._weights]
        data = [tensor for tensor in inputs if not any(tensor is weight for weight in weights)]
        if weights and not data:  # a function of weights alone is a weight again, such as a normalized one
            for tensor in outputs:
                self._weights[tensor] = True
            return output
        sources = frozenset[int]().union(*(self._sources.get(tensor, frozenset()) for tensor in data))
        is_layer = any(weight.numel() > 1 for weight in weights) and outputs[0].ndim > 0
        if is_layer:
            self.followed.fed_a_layer |= sources
            sources = frozenset()
        counts = self._calls[-1][1] if self._calls else self._counts
        counts[name] += 1
        module = self._calls[-1][0] if self._calls else None
        seen = Operation(self._index, name, module, counts[name], args, kwargs, function, outputs[0], is_layer)
        self._index += 1
        replacement = self._seen_by_watcher(seen)
        if replacement is not None:
            outputs[0] = replacement
        for tensor in outputs:
            self._sources[tensor] = sources | {seen.index}
        if replacement is None:
            return output
        return (replacement, *output[1:]) if isinstance(output, (tuple, list)) else replacement

    def _seen_by_watcher(self, operation: Operation) -> Tensor | None:
        """Return what the watcher returns; None if it fails, so that the tensors are still followed.

        Raises:
            OutOfMemoryError: if the device runs out of memory
            MemoryError: if the host runs out of memory
        """
        try:
            return self._watch(operation)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception:
            self.followed.failed = True
            return None


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Iterate over the tensors among the values, and in lists, tuples and dictionaries among them.

    Yields:
        the tensors, in their order
    """
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors_in(value)
        elif isinstance(value, dict):
            yield from tensors_in(value.values())
