"""Run probes on the surface of a module: the same ones on every rank, and on fewer batches where memory lacks."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lightning_landscape.callbacks.batches import ProbeSet
from lightning_landscape.callbacks.budget import Allowance
from lightning_landscape.callbacks.distributed import Ranks
from lightning_landscape.callbacks.guard import Guard
from lightning_landscape.callbacks.module_surface import module_surface
from lightning_landscape.callbacks.trainer import agreed_upon
from lightning_landscape.errors import LandscapeError, OverBudgetError, SurfaceError
from lightning_landscape.evidence import Evidence
from lightning_landscape.surface import LossSurface, Params, Probe

log = logging.getLogger("lightning_landscape")

SURFACE = "the loss surface"
"""by this name it is skipped, and switched off"""
READINGS = Evidence.__module__.rpartition(".")[0]
"""where this library's own readings are defined"""


@dataclass
class Probing:
    """One examination: its readings, in the order of the probes, and what was skipped.

    Args:
        trainer: in a hook where a surface may be opened.
        pl_module: the module that is being trained.
        guard: counts what fails.
        allowance: what all probes together may cost; None where nobody counts.
        loss_fn: evaluates the loss in place of `training_step`.
    """

    trainer: Any
    pl_module: Any
    guard: Guard
    allowance: Allowance | None = None
    loss_fn: Any = None
    readings: list[object] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    unpaid: dict[str, str] = field(default_factory=dict)
    """what the allowance was too small for"""
    done: int = 0
    """how many of the probes have had their turn"""
    starved: str = ""
    """what ran out of memory in the present attempt, on this rank"""

    @property
    def left(self) -> int | None:
        """Gradients of one batch that may still be taken, the same on every rank; None where nobody counts."""
        return agreed_upon(self.trainer, self.allowance.gradients) if self.allowance is not None else None

    def run(
        self,
        probes: Sequence[Probe],
        batches: ProbeSet,
        anchors: Callable[[], Mapping[str, Params]],
        wanted: Callable[[Probe, Sequence[object]], bool],
    ) -> None:
        """Apply the probes, each if it is still `wanted` after the readings before it.

        Where the memory does not suffice, everything is let go of and the rest of the probes is run once more on half
        of the batches; a probe that does not get by with these either is switched off.
        """
        if not self.guard.allows(SURFACE):
            return
        ranks = Ranks(self.trainer)
        points: Mapping[str, Params] = {}
        with self.guard("reading points of the run"):
            points = anchors()
        # A file that lies on one machine alone is no anchor: the others would wait for a line that they cannot follow.
        offered = [set(names) for names in ranks.all(sorted(points))]
        points = {name: point for name, point in points.items() if all(name in names for names in offered)}
        starved = self._starves(probes, batches, points, wanted)
        if starved and (starved := self._starves(probes, batches.half(), points, wanted)):
            self.guard.give_up(starved, f"out of memory on {len(batches)} batches, and on half of them")
        self._share_failures(ranks)

    def _starves(
        self,
        probes: Sequence[Probe],
        batches: ProbeSet,
        points: Mapping[str, Params],
        wanted: Callable[[Probe, Sequence[object]], bool],
    ) -> str:
        """Attempt it on all ranks, and say what ran out of memory on any of them; empty where nothing did."""
        ranks, self.starved = Ranks(self.trainer), ""
        self._attempt(probes, batches, points, wanted, ranks)
        starved = next(filter(None, ranks.all(self.starved)), "")
        self.done = min(ranks.all(self.done))
        if starved:
            self.skipped.pop(starved, None)  # on the other ranks, since it failed on one
            log.info("%s ran out of memory on %d batches", starved, len(batches))
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return starved

    def _attempt(
        self,
        probes: Sequence[Probe],
        batches: ProbeSet,
        points: Mapping[str, Params],
        wanted: Callable[[Probe, Sequence[object]], bool],
        ranks: Ranks,
    ) -> None:
        """Apply the probes that are not done, until one runs out of memory or the ranks have parted."""
        with self.guard(SURFACE):
            try:
                surface = module_surface(
                    self.trainer, self.pl_module, batches, anchors=points, loss_fn=self.loss_fn, ranks=ranks
                )
                with surface as opened:
                    while self.done < len(probes) and not self.starved and not ranks.parted:
                        if wanted(probes[self.done], self.readings):
                            self._apply(probes[self.done], opened, ranks)
                        self.done += not self.starved
            except SurfaceError as error:
                self.skipped[SURFACE] = str(error)
                self.starved = SURFACE if out_of_memory(error) else ""

    def _apply(self, probe: Probe, surface: LossSurface, ranks: Ranks) -> None:
        """Keep what the probe has to say; nothing where it is silent, will not speak, failed or is switched off."""
        name = getattr(probe, "__name__", None) or repr(probe)
        if not self.guard.allows(name):
            return
        with self.guard(name):
            try:
                surface = replace(surface, gradients=self.left)
                with ranks.together():
                    reading = self._asked(probe, name, surface)
                reading = _of_the_first(ranks, reading)
            except Exception as error:
                if out_of_memory(error):
                    self.starved = name
                elif isinstance(error, SurfaceError):
                    self.skipped[name] = str(error)
                else:
                    raise
            else:
                self.readings += [] if reading is None else [reading]

    def _asked(self, probe: Probe, name: str, surface: LossSurface) -> object:
        try:
            return probe(surface)
        except SurfaceError:
            raise
        except OverBudgetError as error:
            self.unpaid[name] = str(error)
            return None
        except LandscapeError as error:  # no failure: what it measures does not exist here
            self.skipped[name] = str(error)
            return None

    def _share_failures(self, ranks: Ranks) -> None:
        """Switch off on every rank what failed on one: what one rank leaves out, no other can do alone."""
        for failures in ranks.all(dict(self.guard.failures)):
            for part, count in failures.items():
                self.guard.failures[part] = max(count, self.guard.failures.get(part, 0))


def out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised from, is a device's or the host's lack of memory."""
    while error is not None:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _of_the_first(ranks: Ranks, reading: object) -> object:
    """The reading of the first rank: what is seen of a rank's own batches must not lead the ranks different ways."""
    if ranks.size == 1:
        return reading
    ours = reading is None or type(reading).__module__.startswith(READINGS)
    # A stranger's reading may be anything, and of any size: each rank has its own.
    mine: dict[str, Any] = {} if reading is None else Evidence(reading).to_dict() if ours else {"": {}}
    said = ranks.all(mine)[0]
    if not said:
        return None if ours else reading
    return next(iter(Evidence.from_dict(said)), reading)
