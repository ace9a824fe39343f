"""Memory: which probes get a copy of the weights, which need too many of a large model, and whether memory ran out."""

from __future__ import annotations

import torch

from lightning_landscape.evidence import Trials
from lightning_landscape.surface import LARGE_WEIGHTS, LossSurface, Probe

PACKAGE = "lightning_landscape."
SOME_TRIALS = "the trial with the averaged weights"
"""what `CopyTrials` leaves out where the weights are large"""
ADAM_TRIALS = "trials with Adam"
"""what it leaves out as well if the run's own optimizer has a smaller state than Adam, as restarts do"""


def for_probe(probe: Probe, surface: LossSurface) -> LossSurface:
    """Return the surface for this probe: a probe of the user gets a copy of the weights, which it may change."""
    named = probe if hasattr(probe, "__name__") else type(probe)
    ours = getattr(named, "__module__", "").startswith(PACKAGE)
    return surface if ours else surface.with_copied_weights()


def why_too_large(probe: Probe, surface: LossSurface) -> str:
    """Return why the weights are too large for this probe; empty if they are not.

    This depends on the model alone and not on free memory, so that a run gets the same verdict on every machine.
    """
    if not surface.large or not getattr(probe, "several_copies", False):
        return ""
    return f"{_size_of(surface)}, and it needs several copies of them"


def skipped_within(reading: object | None, surface: LossSurface) -> dict[str, str]:
    """Return what a probe that has returned this reading has left out, with the reasons; empty if nothing."""
    if not isinstance(reading, Trials) or not surface.large:
        return {}
    reason = f"{_size_of(surface)}, and trials get memory for one copy of them and of the optimizer's state"
    what = [SOME_TRIALS] if surface.has_room_for_adam else [SOME_TRIALS, ADAM_TRIALS]
    return dict.fromkeys(what, reason)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether this error, or one that it was raised from, says that a device or the host has no memory left."""
    while error is not None:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _size_of(surface: LossSurface) -> str:
    mebibyte = 2**20
    return f"the weights take {surface.weights_bytes / mebibyte:.0f} MiB (limit {LARGE_WEIGHTS / mebibyte:.0f} MiB)"
