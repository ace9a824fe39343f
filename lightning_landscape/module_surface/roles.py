"""What a training step does with each entry of a batch, measured on one batch.

An entry is exchanged and everything else is kept, the random numbers of the step included. If the loss changes, and no
layer with weights gets or returns anything else, the entry is a target: it meets the model in the loss alone. Where no
entry is one, the loss is one of the inputs alone, such as that of an autoencoder.
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
    TARGET,
    Place,
    children,
    entry,
    equal,
    has_samples,
    layout,
    listed_samples,
    name_of,
    overlap,
    places,
    rearranged,
    repeats,
    root,
    tensors,
    varies,
    with_entries,
)
from lightning_landscape.module_surface.evaluator import PRESENT, Evaluator
from lightning_landscape.module_surface.mean_loss import MeanLoss, widened
from lightning_landscape.surface import Params, Roles

MOST = 8
"""entries that are exchanged to find the targets, at one forward pass each"""
BESIDE = re.compile(r"mask|weight|(^|_)(lengths?|lens?|idx|index|indices|sizes?)(_|$)", re.IGNORECASE)
"""names of what may go with a target and is none"""


def find_roles(judged: MeanLoss) -> Roles:
    """The targets among the entries of the batches, the same on every rank, and whether any input varies.

    The price is a forward pass of one batch, and one more for each entry that is exchanged, of which there are at most
    `MOST`: those named like targets first, then the last ones, then what is inside of them.
    """
    with judged.evaluator.at_other_weights():
        search = _Search(judged)
        if len(places(search.batch)) > 1:
            search.run()
        targets = search.targets()
        roles = Roles(targets, search.inputs_vary(targets))
    return judged.evaluator.ranks.all(roles)[0]


@dataclass
class _Search:
    """The exchange of one entry after the other on the first batch, and what each does to the layers and the loss."""

    judged: MeanLoss
    layers: bool = False
    """whether the step calls any layer with weights"""
    reached: list[Place] = field(default_factory=list)
    """entries that change what such layers get or return"""
    moved: list[Place] = field(default_factory=list)
    """other entries that change the loss"""
    unread: list[Place] = field(default_factory=list)
    """entries that change nothing"""

    @property
    def batch(self) -> Any:
        return self.judged.batches[0].batch

    def run(self) -> None:
        """Exchange the first `MOST` entries."""
        watched = _layers_with_weights(self.judged.evaluator)
        before = _observe(self.judged, self.batch, watched)
        self.layers = bool(before.seen)
        top = len(root(self.batch)) + 1
        for place in places(self.batch)[:MOST]:
            other = self._exchanged(place)
            # What is inside an entry is of interest where the entry as a whole is no target. Several ranks evaluate in
            # step, whatever each of them sees in its own batches.
            idle = other is None or (len(place) > top and place[:-1] not in self.reached)
            if idle and self.judged.evaluator.ranks.size == 1:
                continue
            after = _observe(self.judged, self.batch if other is None else other, watched)
            if idle:
                continue
            if after.seen != before.seen:
                self.reached.append(place)
            elif after.loss != before.loss:
                self.moved.append(place)
            else:
                self.unread.append(place)

    def _exchanged(self, place: Place) -> Any:
        """The batch with one other sample at this place throughout; None if it is the same everywhere.

        A loss may stay what it is where the same samples come in another order; it does not if one stands for all.
        """
        mine, batches = entry(self.batch, place), self.judged.batches
        for donor in (*donors(batches, 0), batches[0]):
            listed = listed_samples(entry(donor.batch, root(donor.batch)))
            other = rearranged(entry(donor.batch, place), _the_first, listed)
            if not equal(mine, other):
                return with_entries(self.batch, {place: other})
        return None

    def targets(self) -> tuple[Place, ...]:
        """All entries that meet the model in the loss alone; where no layer is called, those named or placed so.

        An entry that repeats an input has no pairing that could be wrong.
        """
        targets = self.moved if self.layers else self._conventional()
        apart = (*targets, *self.unread)
        others = [place for place in places(self.batch) if not any(overlap(place, other) for other in apart)]
        return tuple(target for target in targets if not any(self._repeats(target, place) for place in others))

    def _repeats(self, target: Place, place: Place) -> bool:
        batches = [batch.batch for batch in self.judged.batches if layout(batch.batch) == layout(self.batch)]
        return all(repeats(entry(batch, target), entry(batch, place)) for batch in batches)

    def _conventional(self) -> list[Place]:
        """The target among the entries that change the loss: by its name, else the last of them.

        A single one is an input that is compared with itself, unless its name or its size says that it is a target.
        """
        used = [place for place in self._top if place in self.moved]
        plain = [place for place in used if not BESIDE.search(name_of(place))]
        named = [place for place in plain if TARGET.search(name_of(place))]
        if named or len(used) > 1:
            return named or plain[-1:]
        unused = [place for place in self._top if place not in used]
        return [place for place in used if any(self._numbers(place) <= self._numbers(other) for other in unused)]

    @property
    def _top(self) -> list[Place]:
        """The entries of the batch in their own order."""
        where = root(self.batch)
        return [(*where, key) for key in children(entry(self.batch, where))]

    def _numbers(self, place: Place) -> int:
        return sum(tensor.numel() for tensor in tensors(entry(self.batch, place)))

    def inputs_vary(self, targets: Sequence[Place]) -> bool:
        """Whether any sample's input differs from another's; True where that cannot be told."""
        inputs = [place for place in self._top if not any(overlap(place, target) for target in targets)]
        if not targets or not inputs or any(place in self.reached or place in self.moved for place in inputs):
            return True
        batches = [batch.batch for batch in self.judged.batches]
        known = [place for place in inputs if self._numbers(place)]
        return len(known) < len(inputs) or all(varies([entry(batch, place) for batch in batches]) for place in known)


@dataclass(frozen=True)
class _Observation:
    """What one evaluation shows; None stands for what is not a number."""

    loss: float | None
    seen: tuple[float | None, ...]
    """sums and norms of what the layers with weights get and return, call by call"""


def _observe(judged: MeanLoss, batch: Any, watched: Sequence[str]) -> _Observation:
    """Evaluate the first batch with this in its place, at the present weights."""
    seen: list[Tensor] = []
    with judged.evaluator.watching({name: functools.partial(_note, seen) for name in watched}):
        loss = loss_of(judged, replace(judged.batches[0], batch=batch), PRESENT)
    numbers = torch.stack(seen).flatten().tolist() if seen else []
    return _Observation(_number(float(loss)), tuple(map(_number, numbers)))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value  # two that are not numbers are alike here


def _note(seen: list[Tensor], layer: nn.Module, inputs: Any, output: Any) -> None:
    """Note what a layer got and returned; one that returns a single number is a loss with weights of its own."""
    returned = [tensor for tensor in tensors(output) if has_samples(tensor)]
    if returned:
        seen += [_summary(tensor.detach()) for tensor in (*tensors(inputs), *returned) if has_samples(tensor)]


def _summary(tensor: Tensor) -> Tensor:
    """Sum and norm, shape (2,)."""
    kind = torch.float32 if tensor.device.type == "mps" else torch.float64
    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    values = values if values.is_floating_point() else values.to(kind)
    return torch.stack([values.sum(dtype=kind), torch.linalg.vector_norm(values, dtype=kind)])


def _layers_with_weights(evaluator: Evaluator) -> list[str]:
    """Names of the submodules that own parameters, also those that compute them from others."""
    return [
        name
        for name, module in evaluator.isolation.modules.items()
        if not isinstance(module, torch.jit.ScriptModule)
        and (module._parameters or hasattr(module, "parametrizations"))
    ]


def loss_of(judged: MeanLoss, batch: ProbeBatch, point: Params) -> Tensor:
    """The loss of one batch on this rank; NaN where the step refuses it, as it may refuse what it would never get.

    Raises:
        OutOfMemoryError: if the device's memory does not suffice
        MemoryError: if the host's does not
        OverBudgetError: if the meter's limit is reached
    """
    evaluator = judged.evaluator
    try:
        buffers = {} if evaluator.mode == "as_trained" else evaluator.running_statistics((batch,), point)
        return widened(evaluator.loss_alone(batch, point, buffers))
    except (torch.OutOfMemoryError, MemoryError, OverBudgetError):
        raise
    except Exception:
        return torch.tensor(math.nan, device=evaluator.ranks.device)


def donors(batches: Sequence[ProbeBatch], i: int) -> Iterator[ProbeBatch]:
    """The batches after this one, and then those before, that can give it any of their entries.

    An index that is valid in a batch of other shapes may lie outside of this one.
    """
    wanted = layout(batches[i].batch)
    return (batch for batch in (*batches[i + 1 :], *batches[:i]) if layout(batch.batch) == wanted)


def _the_first(count: int) -> list[int]:
    return [0] * count
