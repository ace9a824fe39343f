"""Every callback of the library, in a hurry: what it does every thousand steps of a run it does here every ten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from lightning_landscape.callbacks import (
    CurvatureMonitor,
    GradientNormMonitor,
    LandscapeMonitor,
    LossInterpolationMonitor,
    PlateauMonitor,
)
from lightning_landscape.callbacks.monitor import Monitor
from lightning_landscape.examination.examination import Examination
from lightning_landscape.probes import (
    CopyTrials,
    HessianExtremes,
    RedrawnRestart,
    activity,
    input_use,
    starting_point,
    symmetry,
)
from lightning_landscape.recording.recorder import StepRecorder

EVERYTHING = (
    *(starting_point, activity, symmetry, input_use),
    *(CopyTrials(steps=2), HessianExtremes(iterations=2), RedrawnRestart(seeds=1, steps=2)),
)


def examining() -> Monitor:
    """A stalled run's whole examination, on schedule: a run that stalls for real is too long for a matrix."""
    examination = Examination((), scheduled=EVERYTHING, every_n_steps=20, anchors=("initial",), max_batches=2)
    return Monitor(examination, recorder=StepRecorder(updates_every=2))


@dataclass(frozen=True)
class Watcher:
    make: Callable[[], Monitor]
    scalars: frozenset[str] = field(default=frozenset())
    """names under ``landscape/`` that a logger has after a run of 40 steps, of those that are always there"""
    probes: bool = True
    """whether it looks at the loss surface"""


def _watcher(make: Callable[[], Monitor], scalars: str, *without: str) -> Watcher:
    return Watcher(make, frozenset(scalars.split()), probes="probes" not in without)


WATCHERS = {
    "LandscapeMonitor": _watcher(
        lambda: LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=4, norm_every_n_steps=1, budget=None),
        "grad_norm grad_norm_clipped update_ratio plateau_length barrier verdict",
    ),
    "GradientNormMonitor": _watcher(GradientNormMonitor, "grad_norm grad_norm_clipped update_ratio", "probes"),
    "PlateauMonitor": _watcher(
        lambda: PlateauMonitor(norm_every_n_steps=1), "plateau_length update_ratio verdict", "probes"
    ),
    "LossInterpolationMonitor": _watcher(lambda: LossInterpolationMonitor(every_n_steps=10, num_points=3), "barrier"),
    "CurvatureMonitor": _watcher(
        lambda: CurvatureMonitor(every_n_steps=10, iterations=2, max_batches=2),
        "lambda_min lambda_max sharpness_ratio trace",
    ),
    "whole examination": _watcher(examining, ""),
}


def pairs(
    rows: Iterable[str], chosen: Collection[str], in_full: Collection[str] = ("LandscapeMonitor",)
) -> list[tuple[str, str]]:
    """Each row of a matrix with the callbacks `in_full`, and the `chosen` rows with the others as well.

    `LandscapeMonitor` has all the parts of which the others have some, and all callbacks share their hooks (a test in
    `test_hooks.py` says so): the others are tried on the rows in which their own parts meet something different.
    """
    return [(row, watcher) for row in rows for watcher in WATCHERS if watcher in in_full or row in chosen]
