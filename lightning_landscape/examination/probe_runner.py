"""Run probes on the loss surface of a module: the same on every rank, and on half of the batches if memory is short."""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, SupportsFloat, TypeGuard

import torch

from lightning_landscape.errors import LandscapeError, OverBudgetError, SurfaceError
from lightning_landscape.evidence import Evidence, LossFloor, Measurements, checked
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.memory import for_probe, is_out_of_memory, skipped_within, why_too_large
from lightning_landscape.examination.naming import name_of
from lightning_landscape.examination.spending import Spending, Underway
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import host_surface
from lightning_landscape.surface import LossSurface, Params, Probe, cost_of
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.ranks import Ranks

log = logging.getLogger("lightning_landscape")

SURFACE = "the loss surface"
"""the name of the surface itself in reports of what was skipped or switched off"""
EXCESS = 1.2
"""a probe is ended if it computes this many times its announced cost"""


@dataclass
class ProbeRunner:
    """Runs the probes of one check; keeps their readings in order, and what was skipped or left out.

    Args:
        host: the run, in a hook where a surface may be opened.
        guard: counts failures.
        spending: what the probes may compute.
        loss_fn: computes the loss in place of `training_step`.
        typical_rate: the learning rate of trials that begin anew; None for the present one.
        kept: what probes keep for the next diagnosis of the same plateau; None where nothing can be kept.
        restart_order: takes the readings so far, and returns `RunContext.restart_order`; None for the usual order.
    """

    host: Host
    guard: Guard
    spending: Spending
    loss_fn: Callable[..., Any] | None = None
    typical_rate: float | None = None
    kept: MutableMapping[str, Any] | None = None
    restart_order: Callable[[Sequence[object]], tuple[str, ...]] | None = None
    readings: list[object] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """what could not be measured, and why"""
    left_out: dict[str, tuple[str, str]] = field(default_factory=dict)
    """probes that the budget did not cover: the reason, and the setting with which they would run"""
    anchor_steps: Mapping[str, int] = field(default_factory=dict)
    """optimizer steps of the anchors, by their names"""
    measured: set[str] = field(default_factory=set)
    """names of the probes that have run"""
    floor: float | None = None
    """the lowest possible loss; None where it was not looked for"""
    done: int = 0
    """number of probes that have run or were left out"""
    needs: float | None = None
    """gradients that the next probe needs, if it waits for a later check, which has a larger budget; None if not"""
    out_of_memory: str = ""
    """name of the probe that ran out of memory on this rank in the present attempt; empty if there is none"""

    def run(
        self,
        probes: Sequence[Probe],
        batches: ProbeSet,
        anchors: Callable[[], Mapping[str, Params]],
        is_due: Callable[[Probe, Sequence[object]], bool],
        is_follow_up: Callable[[Probe], bool],
    ) -> None:
        """Run the probes that `is_due` still returns True for after the readings before them.

        Where memory is short, everything is released and the remaining probes run once more, on half of the batches. A
        probe that runs out of memory on these as well is switched off.

        Args:
            probes: the probes, in their order.
            batches: the captured batches.
            anchors: returns the other points of the run by their names.
            is_due: whether a probe should run, given the readings so far.
            is_follow_up: whether a probe is charged as one that follows a diagnosis.
        """
        if not self.guard.allows(SURFACE):
            return
        ranks = Ranks(self.host)
        points: Mapping[str, Params] = {}
        with self.guard("reading the anchors"):
            points = anchors()
        # A checkpoint file that exists on one machine only is left out, since the other ranks could not use it.
        offered = [set(names) for names in ranks.all(sorted(points))]
        points = {name: point for name, point in points.items() if all(name in names for names in offered)}
        self._is_due, self._is_follow_up = is_due, is_follow_up
        failed = self._attempt_on_all_ranks(probes, batches, points)
        if failed and (failed := self._attempt_on_all_ranks(probes, batches.half(), points)):
            self.guard.give_up(failed, f"out of memory on {len(batches)} batches, and on half of them")
        self._share_failures(ranks)

    def underway(self, names: tuple[str, ...]) -> Underway | None:
        """Return the diagnosis with these probes if it continues at a later check; None if it is complete."""
        if self.needs is None:
            return None
        return Underway(self.spending.budget, self.done, tuple(self.readings), names, self.needs)

    def _attempt_on_all_ranks(self, probes: Sequence[Probe], batches: ProbeSet, points: Mapping[str, Params]) -> str:
        """Run the remaining probes; return which one ran out of memory on any rank, empty if none did."""
        ranks, self.out_of_memory = Ranks(self.host), ""
        self._attempt(probes, batches, points, ranks)
        failed = next(filter(None, ranks.all(self.out_of_memory)), "")
        self.done = min(ranks.all(self.done))
        if failed:
            self.skipped.pop(failed, None)  # entered on the other ranks, since it failed on one
            log.info("%s ran out of memory on %d batches", failed, len(batches))
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return failed

    def _attempt(self, probes: Sequence[Probe], batches: ProbeSet, points: Mapping[str, Params], ranks: Ranks) -> None:
        """Run the remaining probes, until one runs out of memory or the ranks diverge."""
        with self.guard(SURFACE):
            try:
                surface = host_surface(
                    self.host,
                    batches,
                    anchors=points,
                    loss_fn=self.loss_fn,
                    ranks=ranks,
                    meter=self.spending.meter,
                    typical_rate=self.typical_rate,
                    kept=self.kept,
                )
                with surface as opened:
                    self.spending.charge()
                    while self.done < len(probes) and not ranks.diverged:
                        if self._is_due(probes[self.done], self.readings):
                            self._run_one(probes[self.done], opened, ranks)
                        if self.out_of_memory or self.needs is not None:
                            break
                        self.done += 1
            except SurfaceError as error:
                self.skipped[SURFACE] = str(error)
                self.out_of_memory = SURFACE if is_out_of_memory(error) else ""

    def _run_one(self, probe: Probe, surface: LossSurface, ranks: Ranks) -> None:
        """Run one probe and keep its reading, or the reason why there is none."""
        name = name_of(probe)
        if not self.guard.allows(name):
            return
        with self.guard(name):
            try:
                left = self.host.from_first_rank(self.spending.left(follow_up=self._is_follow_up(probe)))
                run = replace(surface.run, gradient_budget=left, floor=self.floor, anchor_steps=self.anchor_steps)
                surface = replace(surface, run=run)
                if reason := why_too_large(probe, surface):
                    self.skipped[name] = reason
                    return
                if self.restart_order is not None:
                    order = self.restart_order(self.readings)
                    surface = replace(surface, run=replace(surface.run, restart_order=order))
                with ranks.together():
                    price = _checked_price(cost_of(probe, surface))
                price = self.host.from_first_rank(price)
                if not self._covers(probe, name, price, left):
                    return
                with ranks.together(), self._charging(probe, price, left, ranks):
                    reading = self._reading(probe, name, surface)
                reading = _reading_of_first_rank(ranks, reading)
            except Exception as error:
                if is_out_of_memory(error):
                    self.out_of_memory = name
                elif isinstance(error, SurfaceError):
                    self.skipped[name] = str(error)
                else:
                    raise
            else:
                self.measured.add(name)
                self.readings += [] if reading is None else [reading]
                self.skipped |= skipped_within(reading, surface)
                self.floor = reading.known if isinstance(reading, LossFloor) else self.floor

    def _covers(self, probe: Probe, name: str, price: float | None, left: int | None) -> bool:
        """Return whether the budget covers the probe; if not, it waits for the next check or is left out."""
        needed = 1.0 if price is None else price
        if left is None or needed <= left:
            return True
        waits = self.spending.waits(needed, follow_up=self._is_follow_up(probe))
        self.needs = needed if self.host.from_first_rank(waits) else None
        if self.needs is None:
            self.left_out[name] = self.spending.why_left_out(price, left)
        return False

    @contextmanager
    def _charging(self, probe: Probe, price: float | None, left: int | None, ranks: Ranks) -> Iterator[None]:
        """Charge what is computed inside, and end a probe that computes far more than its announced cost.

        With several ranks no probe is ended, since all ranks would have to end it at the same evaluation.
        """
        limit: float | None = left if price is None else EXCESS * price
        announced = f"{left} that were left" if price is None else f"{price:.0f} that it had announced"
        unlimited = left is None or ranks.size > 1
        try:
            with self.spending.meter.limited(None if unlimited else limit, announced):
                yield
        finally:
            self.spending.charge(follow_up=self._is_follow_up(probe))

    def _reading(self, probe: Probe, name: str, surface: LossSurface) -> object | None:
        """Return the checked reading of a probe; a plain number becomes `Measurements` with the probe's name.

        Raises:
            SurfaceError: if the surface can no longer be evaluated.
        """
        try:
            reading = probe(for_probe(probe, surface))
        except SurfaceError:
            raise
        except OverBudgetError as error:
            self.left_out[name] = str(error), ""
            return None
        except LandscapeError as error:  # what the probe measures does not exist here, which is no failure
            self.skipped[name] = str(error)
            return None
        if reading is None:
            return None
        return Measurements({name: float(reading)}) if _is_number(reading) else checked(reading)

    def _share_failures(self, ranks: Ranks) -> None:
        """Count the failures of all ranks on every rank, since a probe must be switched off on all of them at once."""
        for failures in ranks.all(dict(self.guard.failures)):
            for part, count in failures.items():
                self.guard.failures[part] = max(count, self.guard.failures.get(part, 0))


def _is_number(reading: object) -> TypeGuard[SupportsFloat]:
    """Return whether this is one number: of Python or NumPy, or a tensor with one element."""
    if isinstance(reading, torch.Tensor):
        return reading.numel() == 1 and not reading.is_complex()
    return isinstance(reading, Real) and not isinstance(reading, bool)


def _checked_price(price: float | None) -> float | None:
    """Return the price.

    Raises:
        ValueError: if it is not a finite number of gradients.
    """
    if price is not None and not 0 <= price < math.inf:
        raise ValueError(f"cost must return a number of gradients, 0 or more, got {price!r}")
    return price


def _reading_of_first_rank(ranks: Ranks, reading: object | None) -> object | None:
    """Return the reading of rank 0 on every rank: each rank has other batches, but all must reach the same verdict."""
    if ranks.size == 1:
        return reading
    mine = {} if reading is None else Evidence(reading).to_dict()
    first = Evidence.from_dict(ranks.all(mine)[0])
    if not first.to_dict():
        return None
    shared = next(iter(first), None) if reading is None else next(iter(first), first.get(type(reading)))
    # A rank whose probe returned None cannot look up a class that is defined in a function. No rank then keeps it.
    return shared if all(ranks.all(shared is not None)) else None
