"""How many units of the activation layers are dead, and how many of their outputs are saturated."""

from __future__ import annotations

from torch import Tensor

from lightning_landscape.evidence import Activity
from lightning_landscape.observations import BOUNDS, RECTIFIERS
from lightning_landscape.surface import LossSurface, costs


@costs(lambda surface: surface.loss_cost(1))
def activity(surface: LossSurface) -> Activity | None:
    """Return the largest dead share and the largest saturated share of any layer; None without activation layers.

    A unit of a rectifier is dead if its output is zero on every sample. An output of a bounded activation is saturated
    if its distance from a bound is below 1% of the range between the bounds, where the slopes of tanh and sigmoid are
    below 4% of their largest.
    """
    layers = surface.run.activations(surface.here) if surface.run.activations is not None else {}
    dead = {name: dead_share(layer.values) for name, layer in layers.items() if layer.kind in RECTIFIERS}
    saturated = {
        name: saturated_share(layer.values, *BOUNDS[layer.kind])
        for name, layer in layers.items()
        if layer.kind in BOUNDS
    }
    if not dead and not saturated:
        return None
    most_dead = max(dead, key=lambda name: dead[name], default=None)
    most_saturated = max(saturated, key=lambda name: saturated[name], default=None)
    return Activity(
        dead=dead[most_dead] if most_dead else 0.0,
        dead_layer=most_dead,
        saturated=saturated[most_saturated] if most_saturated else 0.0,
        saturated_layer=most_saturated,
        layers=len(dead) + len(saturated),
        samples=max(len(layer.values) for layer in layers.values()),
    )


def dead_share(outputs: Tensor) -> float:
    """Return the share of units that are zero on every sample.

    Args:
        outputs: shape (samples, units).

    >>> import torch
    >>> dead_share(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    0.5
    """
    return float((outputs == 0).all(0).float().mean())


def saturated_share(outputs: Tensor, low: float, high: float) -> float:
    """Return the share of outputs whose distance from a bound is below 1% of the range between the bounds.

    >>> import torch
    >>> saturated_share(torch.tensor([[-1.0, 0.0], [0.999, 1.0]]), -1.0, 1.0)
    0.75
    """
    margin = 0.01 * (high - low)
    return float(((outputs > high - margin) | (outputs < low + margin)).float().mean())
