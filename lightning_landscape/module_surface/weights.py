"""Set the weights of a module to other values, and put the original weights back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.errors import SurfaceError
from lightning_landscape.surface import Params
from lightning_landscape.trainer._compat import local_shard, sharded_as


class Weights:
    """The parameters of a module while it is evaluated at other points.

    A parameter is set by replacing its tensor (``p.data = w``), which copies nothing. The `Parameter` stays the same
    object, so that optimizers, hooks, guards of compiled graphs, tied layers and checkpointed activations that are
    recomputed all see the same weights. From the first `set_to` to `restore`, no parameter points to the storage that
    training uses; weights that are sharded over ranks are an exception, see `ShardedWeights`.

    There is one copy of the weights, whatever is done with them: evaluations at the present weights use it, and `lent`
    lends it to trials that move it.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters: dict[str, nn.Parameter] = dict(module.named_parameters())
        self.originals: dict[str, Tensor] = {name: p.data for name, p in self.parameters.items()}
        """the tensors that training uses; only `ShardedWeights` writes to them"""
        # A training step may write to its weights (weight clipping, an EMA teacher, Embedding(max_norm=...)).
        self.copies: dict[str, Tensor] = {name: weight.clone() for name, weight in self.originals.items()}
        """copies of the originals, for evaluations at the present weights"""
        self.trainable: dict[str, nn.Parameter] = {n: p for n, p in self.parameters.items() if p.requires_grad}
        self.written_by_step: set[str] = set()
        """names of the weights that the training step was seen to write to"""
        self._lent = False

    @property
    def present_point(self) -> dict[str, Tensor]:
        """The values of the trainable weights, which must not be changed in place.

        They are the tensors that training uses, as far as these can be recognised when they are evaluated; a copy is
        then evaluated in their place.
        """
        return {
            name: self.copies[name] if address(self.originals[name]) is None else self.originals[name].detach()
            for name in self.trainable
        }

    def set_to(self, point: Params) -> None:
        """Set the parameters to `point`, and those that it does not name to their present values.

        Raises:
            SurfaceError: if `point` names a parameter that the module does not have, or has in another shape
        """
        for name, weight in point.items():
            if name not in self.parameters or weight.shape != self.originals[name].shape:
                raise SurfaceError(
                    f"[LL315] the point does not belong to this surface: the module has no parameter {name!r} "
                    f"of shape {tuple(weight.shape)}"
                )
        for name, parameter in self.parameters.items():
            weight = point.get(name, self.originals[name])
            if _same_storage(weight, self.originals[name]):
                moved = self._lent and name in self.trainable
                weight = self.originals[name].clone() if moved else self.copies[name]
            self._set(parameter, name, weight.clone() if name in self.written_by_step else weight)

    def rest(self) -> None:
        """Point every parameter to the copies, since no evaluation is under way."""
        for name, parameter in self.parameters.items():
            self._set(parameter, name, self.copies[name])

    def _set(self, parameter: nn.Parameter, name: str, weight: Tensor) -> None:
        original = self.originals[name]
        parameter.data = weight.detach().to(device=original.device, dtype=original.dtype)

    @contextlib.contextmanager
    def lent(self) -> Iterator[dict[str, Tensor]]:
        """Lend the copies of the trainable weights, which may be changed in place; afterwards they are restored.

        Yields:
            the copies, with the present values; new copies where these are lent already
        """
        if self._lent:
            yield {name: self.originals[name].clone() for name in self.trainable}
            return
        self._lent = True
        try:
            yield {
                name: self.copies[name].clone() if address(self.originals[name]) is None else self.copies[name]
                for name in self.trainable
            }
        finally:
            with torch.no_grad():
                for name in self.trainable:
                    self.copies[name].copy_(self.originals[name])
            self._lent = False

    def frozen_since(self, name: str, point: Params) -> Params:
        """Return the values in `point` of the weights that are frozen now and have changed since.

        Weights with equal values are left out, so that they take no memory on the device. A weight of another shape
        raises a `SurfaceError` that names the anchor, `name`.
        """
        frozen = {key: self.copies[key] for key in self.parameters if key not in self.trainable and key in point}
        anchor = Anchor(name, point, frozen)
        return {
            key: weight
            for key, weight in anchor.items()
            if not torch.equal(local_shard(weight), local_shard(frozen[key]))
        }

    def reshard(self) -> None:
        """Free the full weights that FSDP2 has gathered; without FSDP2 there is nothing to do."""

    def finite_point(self, anchors: Mapping[str, Params]) -> Params:
        """Return a copy of the latest anchor with finite weights, if the present ones are not finite.

        An empty point, which stands for the present weights, if these are finite or no anchor is.
        """
        if _all_finite(self.originals[name] for name in self.trainable):
            return {}
        here = self.present_point
        for name, point in list(anchors.items())[::-1]:
            if _all_finite(point.values()):
                return {key: weight.clone() for key, weight in Anchor(name, point, here).items()}
        return {}

    @torch.no_grad()
    def doubled_point(self, point: Params) -> Params:
        """Return a point at which a step that writes to its weights really changes them: twice `point`.

        At the weights of a run, clipping may change nothing, since the run has clipped them already. The copies are
        doubled for it; `record_writes` restores them.
        """
        for name in self.trainable:
            self.copies[name].copy_(point.get(name, self.originals[name])).mul_(2)
        return {name: self.copies[name] for name in self.trainable}

    @torch.no_grad()
    def record_writes(self, doubled: Params, point: Params) -> None:
        """Record which weights the evaluation at `doubled`, the `doubled_point` of `point`, has changed.

        From now on, each evaluation gets its own copy of these.
        """
        for name, original in self.originals.items():
            copy, before = self.copies[name], point.get(name, original) if name in doubled else original
            if name in doubled:
                copy.mul_(0.5)  # in place and exact, like the doubling
            if not torch.equal(copy, before):
                self.written_by_step.add(name)
            if before is not original or name in self.written_by_step:
                copy.copy_(original)

    def restore(self) -> None:
        """Point every parameter to its original tensor; a second call does no harm."""
        for name, parameter in self.parameters.items():
            parameter.data = self.originals[name]


class ShardedWeights(Weights):
    """Weights that FSDP2 shards over the ranks.

    Its collectives know the storage of each shard, so that weights are copied into it, and copied back in the end.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self._fsdp_modules: list[Any] = [submodule for submodule in module.modules() if hasattr(submodule, "reshard")]

    def reshard(self) -> None:
        """Free the full weights, which the outermost module keeps from one forward pass to the next."""
        for fsdp_module in self._fsdp_modules:
            fsdp_module.reshard()

    def _set(self, parameter: nn.Parameter, name: str, weight: Tensor) -> None:
        with torch.no_grad():
            local_shard(parameter).copy_(local_shard(weight))

    def finite_point(self, anchors: Mapping[str, Params]) -> Params:
        """Return an empty point, since each rank sees its own shards only and could choose another anchor."""
        return {}

    @property
    def present_point(self) -> dict[str, Tensor]:
        """The values of the trainable weights when this object was made, as copies."""
        return {name: self.copies[name] for name in self.trainable}

    def set_to(self, point: Params) -> None:
        """Copy `point` into the parameters, and the present values into those that it does not name."""
        super().set_to({**self.copies, **point})

    @contextlib.contextmanager
    def lent(self) -> Iterator[dict[str, Tensor]]:
        """Lend new copies.

        Yields:
            the copies, with the present values
        """
        yield {name: self.copies[name].clone() for name in self.trainable}

    def doubled_point(self, point: Params) -> Params:
        """Return an empty point, since every evaluation copies its weights."""
        return {}

    def record_writes(self, doubled: Params, point: Params) -> None:
        """Record nothing, since every evaluation copies its weights."""

    def restore(self) -> None:
        """Copy the original values back; a second call does no harm."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                local_shard(parameter).copy_(local_shard(self.copies[name]))


def address(weight: Tensor) -> int | None:
    """Return where the values of a tensor begin in memory; None for a kind of tensor that does not tell."""
    try:
        return weight.data_ptr() or None
    except RuntimeError:
        return None


def _same_storage(weight: Tensor, original: Tensor) -> bool:
    return weight is original or (address(original) is not None and address(weight) == address(original))


def _all_finite(weights: Iterable[Tensor]) -> bool:
    """Return whether all values are finite; so is their sum then, unless it overflows, and a sum is faster."""
    return all(bool(weight.sum().isfinite()) or bool(weight.isfinite().all()) for weight in weights)


def snapshot(module: nn.Module, names: Mapping[str, object] | None = None) -> Params:
    """Return a copy of the trainable weights on the CPU, of which each rank copies its own shards.

    Args:
        module: the module.
        names: copy only the weights with these names; None for all.
    """
    trainable = ((name, p) for name, p in module.named_parameters() if p.requires_grad)
    return {name: local_shard(p).to("cpu", copy=True) for name, p in trainable if names is None or name in names}


class Anchor(Mapping[str, Tensor]):
    """A snapshot of which each weight is moved to the device when it is read.

    Args:
        name: name of the anchor, for the error message.
        point: the snapshot.
        present: weights of the module by name, whose device, dtype and sharding the moved weights get.

    Raises:
        SurfaceError: if `point` lacks one of these weights or has one of another shape
    """

    def __init__(self, name: str, point: Params, present: Params) -> None:
        # A snapshot in a file knows its shapes; to read the tensors takes as long as to copy them.
        shapes = getattr(point, "shapes", None) or {key: local_shard(weight).shape for key, weight in point.items()}
        for key, weight in present.items():
            if shapes.get(key) != local_shard(weight).shape:
                shape = tuple(shapes[key]) if key in shapes else "nothing"
                raise SurfaceError(
                    f"[LL316] anchor {name!r} has {shape} where the module has {key!r} of shape {tuple(weight.shape)}"
                )
        self._point, self._present = point, present

    def __getitem__(self, key: str) -> Tensor:
        present: Any = self._present[key]
        moved = self._point[key].detach().to(device=present.device, dtype=present.dtype)
        return moved if hasattr(moved, "to_local") else sharded_as(present, moved)

    def __iter__(self) -> Iterator[str]:
        return iter(self._present)

    def __len__(self) -> int:
        return len(self._present)
