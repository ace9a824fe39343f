"""The weights of a module, exchanged for others without copying and without their ever being in danger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.errors import SurfaceError
from lightning_landscape.surface import Params


class Weights:
    """A module's parameters, which from `borrow` to `put_back` never point to the run's own storage.

    Weights are exchanged by pointer (``p.data = w``): every `Parameter` stays the same object, so that optimizers,
    hooks, compile guards, tied layers and the recomputation of checkpointed activations all see the same weights.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters: dict[str, nn.Parameter] = dict(module.named_parameters())
        self.own: dict[str, Tensor] = {name: p.data for name, p in self.parameters.items()}
        # A step may write to its weights (weight clipping, an EMA teacher, Embedding(max_norm=...)): not to the run's.
        self.private: dict[str, Tensor] = {name: w.clone() for name, w in self.own.items()}
        self.trainable: dict[str, nn.Parameter] = {n: p for n, p in self.parameters.items() if p.requires_grad}
        self.written: set[str] = set()
        """weights that the training step itself was seen to write to"""

    @property
    def here(self) -> dict[str, Tensor]:
        """The present point: private copies of the trainable weights."""
        return {name: self.private[name] for name in self.trainable}

    def place(self, point: Params) -> None:
        """Set the module to `point`; parameters that it does not name stay at the present weights.

        Raises:
            SurfaceError: if `point` is not one of this surface
        """
        for name, weight in point.items():
            if name not in self.parameters or weight.shape != self.own[name].shape:
                raise SurfaceError(
                    f"[LL315] the point does not belong to this surface: {name!r} of shape {tuple(weight.shape)} "
                    "is none of the module's parameters"
                )
        for name, parameter in self.parameters.items():
            weight = point.get(name, self.private[name])
            self._set(parameter, name, weight.clone() if name in self.written else weight)

    def _set(self, parameter: nn.Parameter, name: str, weight: Tensor) -> None:
        own = self.own[name]
        parameter.data = weight.detach().to(device=own.device, dtype=own.dtype)

    def frozen_since(self, name: str, point: Params) -> Params:
        """Return the weights of an anchor that are not trained now and had other values there.

        A weight that was frozen all along has the same value at both, and is not moved to the device to stay there.
        One of another shape is refused as in an `Anchor`.
        """
        frozen = {key: self.private[key] for key in self.parameters if key not in self.trainable and key in point}
        moved = Anchor(name, point, frozen)
        return {key: weight for key, weight in moved.items() if not torch.equal(local(weight), local(frozen[key]))}

    def settle(self) -> None:
        """Let every submodule hold its parameters themselves, before they are exchanged."""

    def far_away(self) -> Params:
        """A point that no rule about the size of weights leaves alone: clipping does nothing where the run is."""
        return {name: 2 * self.own[name] for name in self.trainable}

    def note_written(self, point: Params) -> None:
        """Note what the evaluation at `point`, which was `far_away`, wrote to; from now on that is copied for each."""
        for name, own in self.own.items():
            if not torch.equal(point[name], 2 * own) if name in point else not torch.equal(self.private[name], own):
                self.written.add(name)
                self.private[name] = own.clone()

    def put_back(self) -> None:
        """Point every parameter to the run's own storage again; twice does no harm."""
        for name, parameter in self.parameters.items():
            parameter.data = self.own[name]


class ShardedWeights(Weights):
    """The same for FSDP2, whose collectives know the storage of each shard: weights are copied in and back."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self._groups: list[Any] = [part for part in module.modules() if hasattr(part, "reshard")]

    def settle(self) -> None:
        """Drop gathered weights: the outermost group keeps them from one forward to the next."""
        for group in self._groups:
            group.reshard()

    def _set(self, parameter: nn.Parameter, name: str, weight: Tensor) -> None:
        with torch.no_grad():
            local(parameter).copy_(local(weight))

    def note_written(self, point: Params) -> None:
        """Nothing to note: every evaluation copies its weights."""

    def put_back(self) -> None:
        """Copy the run's own weights back; twice does no harm."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                local(parameter).copy_(local(self.private[name]))


def local(weight: Tensor) -> Tensor:
    """The part of a weight that lives on this rank: all of it, unless it is sharded."""
    detached = weight.detach()
    return detached.to_local() if hasattr(detached, "to_local") else detached


def snapshot(module: nn.Module, names: Mapping[str, object] | None = None) -> Params:
    """Copy the trainable weights to the CPU, each rank its own part; `names` restricts it to some."""
    trainable = ((name, p) for name, p in module.named_parameters() if p.requires_grad)
    return {name: local(p).to("cpu", copy=True) for name, p in trainable if names is None or name in names}


class Anchor(Mapping[str, Tensor]):
    """A snapshot that is moved to the device weight by weight, when a probe asks for it.

    Raises:
        SurfaceError: if it lacks a weight or has one of another shape
    """

    def __init__(self, name: str, point: Params, here: Params) -> None:
        for key, present in here.items():
            if key not in point or local(point[key]).shape != local(present).shape:
                found = tuple(point[key].shape) if key in point else "nothing"
                raise SurfaceError(
                    f"[LL316] anchor {name!r} has {found} where the module has {key!r} of shape {tuple(present.shape)}"
                )
        self._point, self._here = point, here

    def __getitem__(self, key: str) -> Tensor:
        here: Any = self._here[key]
        moved = self._point[key].detach().to(device=here.device, dtype=here.dtype)
        if not hasattr(here, "to_local") or hasattr(moved, "to_local"):
            return moved
        sharded: Tensor = type(here).from_local(
            moved, here.device_mesh, here.placements, run_check=False, shape=here.shape, stride=here.stride()
        )
        return sharded

    def __iter__(self) -> Iterator[str]:
        return iter(self._here)

    def __len__(self) -> int:
        return len(self._here)
