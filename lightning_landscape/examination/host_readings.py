"""Readings of the run itself, without a loss surface: what its optimizers, schedulers and parameters are now."""

from __future__ import annotations

from lightning_landscape.surface import Params
from lightning_landscape.trainer.host import Host


def host_readings(host: Host, initial: Params | None = None) -> tuple[object, ...]:
    """Return the readings of the run at this step.

    Args:
        host: the run.
        initial: the initial weights by name, on any device; None where they are unknown.
    """
    return ()
