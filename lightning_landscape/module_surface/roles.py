"""Find out which entries of a batch are targets, by measuring what the training step does with each of them.

To test whether a model uses its inputs, the loss is evaluated with the targets of other samples, so it must be known
which entries of a batch are targets. Names and positions do not identify them reliably. Instead, the training step is
evaluated once on the batch as it is, and then once for each entry, with the value of one sample repeated for all
samples while everything else stays equal, random numbers included. If this changes an input or output of a layer with
weights, the model uses the entry; if it changes only the loss, the entry is a target; if it changes nothing, the step
does not use the entry. Where the step calls no layer with weights, the first two cases cannot be distinguished, and
names and positions decide after all. Where no entry is a target, the loss depends on the inputs alone, as that of an
autoencoder does.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.errors import OverBudgetError
from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.entries import (
    TARGET_NAME,
    KeyPath,
    children,
    container_path,
    entry_at,
    equal,
    has_samples,
    key_paths,
    last_key,
    layout,
    overlap,
    reordered_entry,
    repeats,
    tensors,
    varies,
    with_entries,
)
from lightning_landscape.module_surface.evaluator import PRESENT_WEIGHTS, Evaluator
from lightning_landscape.module_surface.mean_loss import MeanLoss, at_least_float32
from lightning_landscape.surface import Params, Roles

MAX_REPLACED_ENTRIES = 8
"""largest number of entries that are replaced to find the targets, at one forward pass each"""
AUXILIARY_NAME = re.compile(r"mask|weight|(^|_)(lengths?|lens?|idx|index|indices|sizes?)(_|$)", re.IGNORECASE)
"""names of entries that a loss may use together with a target, but that are not targets, such as masks"""


def find_roles(held_out: MeanLoss) -> Roles:
    """Return the targets among the entries of the batches, and whether the inputs differ between samples.

    This takes one forward pass of the first batch, and one more for each entry that is replaced. These are the first
    `MAX_REPLACED_ENTRIES` of `key_paths`. Every rank returns what the first rank has found.
    """
    with held_out.evaluator.temporary_weights():
        search = _Search(held_out)
        if len(key_paths(search.batch)) > 1:
            search.replace_entries()
        targets = search.targets()
        roles = Roles(targets, search.inputs_vary(targets))
    return held_out.evaluator.ranks.all(roles)[0]


@dataclass
class _Search:
    """Replaces one entry of the first batch after the other, and sorts the entries by what that changes."""

    held_out: MeanLoss
    calls_layers: bool = False
    """whether the step calls any layer with weights"""
    used_by_model: list[KeyPath] = field(default_factory=list)
    """entries that change an input or output of such a layer"""
    used_by_loss: list[KeyPath] = field(default_factory=list)
    """other entries that change the loss"""
    unused: list[KeyPath] = field(default_factory=list)
    """entries that change nothing"""

    @property
    def batch(self) -> Any:
        return self.held_out.batches[0].batch

    def replace_entries(self) -> None:
        """Replace the first `MAX_REPLACED_ENTRIES` entries and sort them into the three lists."""
        layers = layers_with_weights(self.held_out.evaluator)
        before = _observe(self.held_out, self.batch, layers)
        self.calls_layers = bool(before.layers)
        outermost_depth = len(container_path(self.batch)) + 1
        for path in key_paths(self.batch)[:MAX_REPLACED_ENTRIES]:
            changed_batch = self._with_single_sample(path)
            # If the model does not use a container such as {"labels": [...]}, the container itself is the target, and
            # the entries inside it need not be tried one by one.
            skipped = changed_batch is None or (len(path) > outermost_depth and path[:-1] not in self.used_by_model)
            # Several ranks have to evaluate equally often, although an entry may be skipped on some of them only.
            if skipped and self.held_out.evaluator.ranks.size == 1:
                continue
            after = _observe(self.held_out, self.batch if changed_batch is None else changed_batch, layers)
            if skipped:
                continue
            if after.layers != before.layers:
                self.used_by_model.append(path)
            elif after.loss != before.loss:
                self.used_by_loss.append(path)
            else:
                self.unused.append(path)

    def _with_single_sample(self, path: KeyPath) -> Any:
        """Return the batch with the entry at `path` of a single sample in place of all samples'.

        The sample is the first one of another batch, or of this batch. Another order of the samples would not do, since
        a loss may be the same for every order.

        Returns:
            a copy of the batch; None if the entry is the same in all samples of all batches
        """
        original = entry_at(self.batch, path)
        for source in replacement_sources(self.held_out.batches, 0):
            replacement = reordered_entry(source.batch, path, _first_sample)
            if not equal(original, replacement):
                return with_entries(self.batch, {path: replacement})
        return None

    def targets(self) -> tuple[KeyPath, ...]:
        """Return the entries that the loss uses and the model does not, without those that repeat an input.

        Labels that repeat the inputs, as those of a language model do, cannot be paired with the wrong input.
        """
        targets = self.used_by_loss if self.calls_layers else self._targets_by_convention()
        no_inputs = (*targets, *self.unused)
        inputs = [path for path in key_paths(self.batch) if not any(overlap(path, other) for other in no_inputs)]
        return tuple(target for target in targets if not any(self._repeats(target, path) for path in inputs))

    def _repeats(self, target: KeyPath, path: KeyPath) -> bool:
        batches = [batch.batch for batch in self.held_out.batches if layout(batch.batch) == layout(self.batch)]
        return all(repeats(entry_at(batch, target), entry_at(batch, path)) for batch in batches)

    def _targets_by_convention(self) -> list[KeyPath]:
        """Return the entries that are named like targets, or else the last one, among those that change the loss.

        If only one entry changes the loss, it is probably an input that is compared with itself. It is a target only if
        its name says so, or if it has no more values than an entry that changes nothing, which is probably the input.
        """
        used = [path for path in self._outermost if path in self.used_by_loss]
        candidates = [path for path in used if not AUXILIARY_NAME.search(last_key(path))]
        named = [path for path in candidates if TARGET_NAME.search(last_key(path))]
        if named or len(used) > 1:
            return named or candidates[-1:]
        unused = [path for path in self._outermost if path not in used]
        return [path for path in used if any(self._num_values(path) <= self._num_values(other) for other in unused)]

    @property
    def _outermost(self) -> list[KeyPath]:
        """The paths of the entries that are not inside another one, in the order of the batch."""
        container = container_path(self.batch)
        return [(*container, key) for key in children(entry_at(self.batch, container))]

    def _num_values(self, path: KeyPath) -> int:
        return sum(tensor.numel() for tensor in tensors(entry_at(self.batch, path)))

    def inputs_vary(self, targets: Sequence[KeyPath]) -> bool:
        """Return whether the inputs of any two samples differ; True if that is not known."""
        inputs = [path for path in self._outermost if not any(overlap(path, target) for target in targets)]
        if not targets or not inputs or any(path in self.used_by_model or path in self.used_by_loss for path in inputs):
            return True
        batches = [batch.batch for batch in self.held_out.batches]
        comparable = [path for path in inputs if self._num_values(path)]
        return len(comparable) < len(inputs) or all(
            varies([entry_at(batch, path) for batch in batches]) for path in comparable
        )


@dataclass(frozen=True)
class _Observation:
    """What is compared between two evaluations; None stands for NaN, so that NaN equals NaN."""

    loss: float | None
    layers: tuple[float | None, ...]
    """sum and norm of each input and output of the layers with weights, in the order of the calls"""


def _observe(held_out: MeanLoss, batch: Any, layers: Sequence[str]) -> _Observation:
    """Evaluate `batch` in place of the first batch, at the present weights, and observe the layers with these names."""
    summaries: list[Tensor] = []
    with held_out.evaluator.forward_hooks({name: functools.partial(_summarize, summaries) for name in layers}):
        loss = loss_or_nan(held_out, replace(held_out.batches[0], batch=batch), PRESENT_WEIGHTS)
    numbers = torch.stack(summaries).flatten().tolist() if summaries else []
    return _Observation(_none_if_nan(float(loss)), tuple(map(_none_if_nan, numbers)))


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _summarize(summaries: list[Tensor], layer: nn.Module, inputs: Any, output: Any) -> None:
    """Add the sums and norms of what a layer receives and returns.

    A layer that returns a single number is left out: it is a loss with weights of its own, whose inputs are targets.
    """
    outputs = [tensor for tensor in tensors(output) if has_samples(tensor)]
    if outputs:
        summaries += [_summary(tensor.detach()) for tensor in (*tensors(inputs), *outputs) if has_samples(tensor)]


def _summary(tensor: Tensor) -> Tensor:
    """Return the sum and the norm of a tensor as a tensor of shape (2,)."""
    dtype = torch.float32 if tensor.device.type == "mps" else torch.float64
    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    values = values if values.is_floating_point() else values.to(dtype)
    return torch.stack([values.sum(dtype=dtype), torch.linalg.vector_norm(values, dtype=dtype)])


def layers_with_weights(evaluator: Evaluator) -> list[str]:
    """Return the names of the submodules that have parameters themselves, parametrized ones included."""
    return [
        name
        for name, module in evaluator.isolation.modules.items()
        if not isinstance(module, torch.jit.ScriptModule)
        and (module._parameters or hasattr(module, "parametrizations"))
    ]


def loss_or_nan(held_out: MeanLoss, batch: ProbeBatch, point: Params) -> Tensor:
    """Return the loss of one batch on this rank, or NaN if the training step raises an error.

    It may raise one for a batch with replaced entries, since such a batch never occurs in training.

    Raises:
        OutOfMemoryError: if the device runs out of memory
        MemoryError: if the host runs out of memory
        OverBudgetError: if the meter's limit is reached
    """
    evaluator = held_out.evaluator
    try:
        buffers = evaluator.running_statistics((batch,), point)
        return at_least_float32(evaluator.loss_without_graph(batch, point, buffers))
    except (torch.OutOfMemoryError, MemoryError, OverBudgetError):
        raise
    except Exception:
        return torch.tensor(math.nan, device=evaluator.ranks.device)


def replacement_sources(batches: Sequence[ProbeBatch], i: int) -> Iterator[ProbeBatch]:
    """Iterate over the batches from which batch `i` can take an entry: those with equal keys, shapes and types.

    Between other shapes, an index that is valid in one batch may be out of range in the other.

    Yields:
        the batches after batch `i`, then those before it, then batch `i` itself
    """
    own_layout = layout(batches[i].batch)
    for batch in (*batches[i + 1 :], *batches[:i]):
        if layout(batch.batch) == own_layout:
            yield batch
    yield batches[i]


def _first_sample(count: int) -> list[int]:
    return [0] * count
