"""Run probes on the surface of a module: the same ones on every rank, and on fewer batches where memory lacks."""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from lightning_landscape.errors import LandscapeError, OverBudgetError, SurfaceError
from lightning_landscape.evidence import Evidence, checked
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.naming import name_of
from lightning_landscape.examination.spending import Spending
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import module_surface
from lightning_landscape.surface import LossSurface, Params, Probe, cost_of
from lightning_landscape.trainer.queries import agreed_upon
from lightning_landscape.trainer.ranks import Ranks

log = logging.getLogger("lightning_landscape")

SURFACE = "the loss surface"
"""by this name it is skipped, and switched off"""


EXCESS = 1.2
"""a probe is ended when it takes this many times what it has said"""


@dataclass
class Probing:
    """One check: the readings of its probes, in their order, and what was skipped or left out.

    Args:
        trainer: in a hook where a surface may be opened.
        pl_module: the module that is being trained.
        guard: counts what fails.
        spending: what the probes may take.
        loss_fn: evaluates the loss in place of `training_step`.
    """

    trainer: Any
    pl_module: Any
    guard: Guard
    spending: Spending
    loss_fn: Any = None
    readings: list[object] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, tuple[str, str]] = field(default_factory=dict)
    """what there was not enough work left for: why, and the setting with which it would be included"""
    measured: set[str] = field(default_factory=set)
    """names of the probes that were run"""
    done: int = 0
    """how many of the probes have had their turn"""
    waiting: bool = False
    """whether the next probe waits for the next check, which may take more"""
    out_of_memory_part: str = ""
    """what ran out of memory in the present attempt, on this rank"""

    def run(
        self,
        probes: Sequence[Probe],
        batches: ProbeSet,
        anchors: Callable[[], Mapping[str, Params]],
        wanted: Callable[[Probe, Sequence[object]], bool],
        follows: Callable[[Probe], bool],
    ) -> None:
        """Apply the probes, each if it is still `wanted` after the readings before it.

        Those that only follow a diagnosis are charged apart from those that decide it.

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
        self._follows = follows
        out_of_memory_part = self._runs_out_of_memory(probes, batches, points, wanted)
        if out_of_memory_part and (
            out_of_memory_part := self._runs_out_of_memory(probes, batches.half(), points, wanted)
        ):
            self.guard.give_up(out_of_memory_part, f"out of memory on {len(batches)} batches, and on half of them")
        self._share_failures(ranks)

    def _runs_out_of_memory(
        self,
        probes: Sequence[Probe],
        batches: ProbeSet,
        points: Mapping[str, Params],
        wanted: Callable[[Probe, Sequence[object]], bool],
    ) -> str:
        """Attempt it on all ranks, and say what ran out of memory on any of them; empty where nothing did."""
        ranks, self.out_of_memory_part = Ranks(self.trainer), ""
        self._attempt(probes, batches, points, wanted, ranks)
        out_of_memory_part = next(filter(None, ranks.all(self.out_of_memory_part)), "")
        self.done = min(ranks.all(self.done))
        if out_of_memory_part:
            self.skipped.pop(out_of_memory_part, None)  # on the other ranks, since it failed on one
            log.info("%s ran out of memory on %d batches", out_of_memory_part, len(batches))
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return out_of_memory_part

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
                    self.trainer,
                    self.pl_module,
                    batches,
                    anchors=points,
                    loss_fn=self.loss_fn,
                    ranks=ranks,
                    meter=self.spending.meter,
                )
                with surface as opened:
                    self.spending.charge()
                    while (
                        self.done < len(probes)
                        and not self.out_of_memory_part
                        and not ranks.diverged
                        and not self.waiting
                    ):
                        if wanted(probes[self.done], self.readings):
                            self._apply(probes[self.done], opened, ranks)
                        self.done += not self.out_of_memory_part and not self.waiting
            except SurfaceError as error:
                self.skipped[SURFACE] = str(error)
                self.out_of_memory_part = SURFACE if out_of_memory(error) else ""

    def _apply(self, probe: Probe, surface: LossSurface, ranks: Ranks) -> None:
        """Keep what the probe has to say; nothing where it is silent, will not speak, failed or is switched off."""
        name = name_of(probe)
        if not self.guard.allows(name):
            return
        with self.guard(name):
            try:
                surface = surface.with_budget(self._left(probe))
                with ranks.together():
                    price = _checked_price(cost_of(probe, surface))
                price = agreed_upon(self.trainer, price)
                if not self._affords(probe, name, price, surface.run.gradient_budget):
                    return
                with ranks.together(), self._charging(probe, price, surface.run.gradient_budget, ranks):
                    reading = self._asked(probe, name, surface)
                reading = _of_the_first(ranks, reading)
            except Exception as error:
                if out_of_memory(error):
                    self.out_of_memory_part = name
                elif isinstance(error, SurfaceError):
                    self.skipped[name] = str(error)
                else:
                    raise
            else:
                self.measured.add(name)
                self.readings += [] if reading is None else [reading]

    def _left(self, probe: Probe) -> int | None:
        """The gradients of one batch that this probe may take, the same on every rank; None for no limit."""
        left: int | None = agreed_upon(self.trainer, self.spending.left(follows=self._follows(probe)))
        return left

    def _affords(self, probe: Probe, name: str, price: float | None, left: int | None) -> bool:
        """Whether what the probe is going to take is left; if not, it waits for the next check or is left out."""
        needed = 1.0 if price is None else price
        if left is None or needed <= left:
            return True
        self.waiting = agreed_upon(self.trainer, self.spending.waits(needed, follows=self._follows(probe)))
        if not self.waiting:
            self.left_out[name] = self.spending.reason(price, left)
        return False

    @contextmanager
    def _charging(self, probe: Probe, price: float | None, left: int | None, ranks: Ranks) -> Iterator[None]:
        """End what takes far more inside than the probe has said, and enter what it has taken.

        On several ranks nothing is ended: they would have to end it at the same evaluation.
        """
        limit: float | None = left if price is None else EXCESS * price
        announced = f"{left} that were left" if price is None else f"{price:.0f} that it had announced"
        unlimited = left is None or ranks.size > 1
        try:
            with self.spending.meter.limited(None if unlimited else limit, announced):
                yield
        finally:
            self.spending.charge(follows=self._follows(probe))

    def _asked(self, probe: Probe, name: str, surface: LossSurface) -> object:
        try:
            return None if (reading := probe(surface)) is None else checked(reading)
        except SurfaceError:
            raise
        except OverBudgetError as error:
            self.left_out[name] = str(error), ""
            return None
        except LandscapeError as error:  # no failure: what it measures does not exist here
            self.skipped[name] = str(error)
            return None

    def _share_failures(self, ranks: Ranks) -> None:
        """Switch off on every rank what failed on one: what one rank leaves out, no other can do alone."""
        for failures in ranks.all(dict(self.guard.failures)):
            for part, count in failures.items():
                self.guard.failures[part] = max(count, self.guard.failures.get(part, 0))


def once(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return the probes in their order, each once; they need not be hashable."""
    kept: list[Probe] = []
    for probe in probes:
        if probe not in kept:
            kept.append(probe)
    return tuple(kept)


def _checked_price(price: float | None) -> float | None:
    """Return the price.

    Raises:
        ValueError: if it is no number of gradients.
    """
    if price is not None and not 0 <= price < math.inf:
        raise ValueError(f"cost must return a number of gradients, 0 or more, got {price!r}")
    return price


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
    mine = {} if reading is None else Evidence(reading).to_dict()
    said = Evidence.from_dict(ranks.all(mine)[0])
    if not said.to_dict():
        return None
    found = next(iter(said), None) if reading is None else next(iter(said), said.get(type(reading)))
    # A class within a function cannot be looked up where this probe was silent: then no rank has the reading.
    return found if all(ranks.all(found is not None)) else None
