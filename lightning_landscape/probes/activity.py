"""What the activation layers do: units that are dead, units that are saturated."""

from __future__ import annotations

from torch import Tensor

from lightning_landscape.evidence import Activity
from lightning_landscape.surface import BOUNDS, RECTIFIERS, LossSurface, costs


@costs(lambda surface: surface.measuring(1))
def activity(surface: LossSurface) -> Activity | None:
    """The worst layer for each ailment, or None where no activation layer can be seen.

    A unit of a rectifier is dead when it is zero on every sample. A value of a bounded activation is saturated when it
    lies within 1% of the range from a bound, where tanh and sigmoid have less than 4% of their largest slope.
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


def dead_share(values: Tensor) -> float:
    """Share of the units that are zero on every sample, for values of shape (samples, units).

    >>> import torch
    >>> dead_share(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    0.5
    """
    return float((values == 0).all(0).float().mean())


def saturated_share(values: Tensor, low: float, high: float) -> float:
    """Share of the entries within 1% of the range from one of its ends.

    >>> import torch
    >>> saturated_share(torch.tensor([[-1.0, 0.0], [0.999, 1.0]]), -1.0, 1.0)
    0.75
    """
    reach = 0.01 * (high - low)
    return float(((values > high - reach) | (values < low + reach)).float().mean())
