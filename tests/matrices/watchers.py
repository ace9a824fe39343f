"""Every monitor of the library, set to check and to measure so often that a run of 40 steps exercises all of it."""

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
    Restarts,
    activity,
    input_use,
    starting_point,
    symmetry,
)
from lightning_landscape.recording.recorder import StepRecorder

ALL_PROBES = (
    *(starting_point, activity, symmetry, input_use),
    *(CopyTrials(steps=2), HessianExtremes(iterations=2), Restarts(seeds=1, steps=2)),
)


def monitor_with_all_probes() -> Monitor:
    """Return a monitor that runs the probes of a diagnosis every 20 steps, because runs that stall take too long."""
    examination = Examination((), scheduled=ALL_PROBES, every_n_steps=20, anchors=("initial",), max_batches=2)
    return Monitor(examination, recorder=StepRecorder(updates_every=2))


@dataclass(frozen=True)
class Watcher:
    """A monitor, and the scalars that it logs."""

    make: Callable[[], Monitor]
    scalars: frozenset[str] = field(default=frozenset())
    """names without ``landscape/`` of scalars that a logger has received after any run of 40 steps"""
    probes: bool = True
    """whether the monitor evaluates the loss surface"""


def _watcher(make: Callable[[], Monitor], scalars: str, *without: str) -> Watcher:
    return Watcher(make, frozenset(scalars.split()), probes="probes" not in without)


WATCHERS = {
    "LandscapeMonitor": _watcher(
        lambda: LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=4, norm_every_n_steps=1, budget=None),
        "grad_norm update_ratio plateau_length barrier verdict",
    ),
    "GradientNormMonitor": _watcher(GradientNormMonitor, "grad_norm update_ratio", "probes"),
    "PlateauMonitor": _watcher(
        lambda: PlateauMonitor(norm_every_n_steps=1), "plateau_length update_ratio verdict", "probes"
    ),
    "LossInterpolationMonitor": _watcher(lambda: LossInterpolationMonitor(every_n_steps=10, num_points=3), "barrier"),
    "CurvatureMonitor": _watcher(
        lambda: CurvatureMonitor(every_n_steps=10, iterations=2, max_batches=2),
        "lambda_min lambda_max sharpness_ratio trace",
    ),
    "all probes": _watcher(monitor_with_all_probes, ""),
}


def pairs(
    rows: Iterable[str], chosen: Collection[str], in_full: Collection[str] = ("LandscapeMonitor",)
) -> list[tuple[str, str]]:
    """Return (row, watcher) for all `rows` with the monitors `in_full`, and for the rows `chosen` with all monitors.

    `LandscapeMonitor` consists of the parts of the other monitors, and all monitors have the same hooks (a test in
    `test_hooks.py` checks that). The others are therefore tested only on rows that matter for their parts.
    """
    return [(row, watcher) for row in rows for watcher in WATCHERS if watcher in in_full or row in chosen]
