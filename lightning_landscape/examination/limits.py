"""What the examinations of one run may take, and what was left out for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.examination.account import Account, ProbeReason
from lightning_landscape.examination.effort import SETTINGS, Effort
from lightning_landscape.examination.spending import Purse, Spending
from lightning_landscape.examination.stopwatch import Brake, Stopwatch
from lightning_landscape.module_surface.meter import Meter
from lightning_landscape.trainer.queries import agreed_upon


class Limits:
    """The effort of a run, the account of its work, and the clock as a brake.

    Args:
        setting: the effort that was asked for, one of `SETTINGS`; None for no limit.
        share: of the training time, at which the clock ends an examination; None for no such limit.
        looks: whether scheduled looks are limited; they are not where the user has said how often they come.

    Raises:
        ValueError: if `setting` is none of the settings.
    """

    def __init__(self, setting: str | None, share: float | None, *, looks: bool) -> None:
        if setting is not None and setting not in SETTINGS:
            raise ValueError(f"effort must be one of {', '.join(map(repr, SETTINGS))}, got {setting!r}")
        self._setting, self._share, self._looks = setting, share, looks
        self.forget()

    def forget(self) -> None:
        """Start as if nothing had been seen."""
        self.account = Account()
        self.left_out: dict[str, tuple[str, str]] = {}
        """what was not measured for want of work or time: why, and the setting with which it would be included"""
        self._drawn = 0
        self._clock: Clock = SYSTEM_CLOCK
        self._brake = Brake(Stopwatch(self._clock), self._share)

    def begin(self, stopwatch: Stopwatch, clock: Clock) -> None:
        """A fit begins, or goes on."""
        self._clock, self._brake = clock, Brake(stopwatch, self._share)

    def choose(self, trainer: Any, batch_seconds: float | None) -> None:
        """Choose the effort of this run, once, as the first rank sees it; nothing where nothing is limited."""
        if self._setting is not None and self.account.effort is None:
            self.account.effort = agreed_upon(trainer, Effort.chosen(self._setting, batch_seconds))

    def draws(self, steps: int, *, verdict: bool) -> bool:
        """Return whether pictures are drawn after this many steps: with a verdict always, else not too often."""
        every = 1 if self.account.effort is None else self.account.effort.picture_every_n_steps
        if not verdict and steps - self._drawn < every:
            return False
        self._drawn = steps
        return True

    def cover(self, trainer: Any, occasion: ProbeReason, steps: int, price: int) -> bool:
        """Return whether probes at this price may begin now, on every rank alike; what may not is noted as left out."""
        looks = occasion is ProbeReason.LOOK
        what = "scheduled lines" if looks else "another diagnosis"
        if self._unlimited(occasion) or agreed_upon(trainer, self.account.covers(occasion, steps, price)):
            self.left_out.pop(what, None)
            return True
        too_little = "they may take 2% of the steps, which is too little so far", "every_n_steps=..."
        used_up = "the work of this run is used up", self.account.larger_effort
        self.left_out[what] = too_little if looks else used_up
        return False

    def spending(self, occasion: ProbeReason, steps: int, purse: Purse | None) -> Spending:
        """Return what the probes of one check may take; `purse` is that of the diagnosis that is under way."""
        meter = Meter(self._clock)
        unlimited = self._unlimited(occasion)
        return Spending(self.account, occasion, steps, meter, self._brake, purse=purse, unlimited=unlimited)

    def note(self, left_out: Mapping[str, tuple[str, str]], measured: Collection[str]) -> None:
        """Enter what a check has left out; what it has measured is left out no more."""
        kept = {what: why for what, why in self.left_out.items() if what not in measured}
        self.left_out = {**kept, **left_out}

    def notes(self) -> list[str]:
        """Return what the effort is, what was taken, and what was left out."""
        notes = self.account.notes()
        by_setting: dict[str, list[str]] = {}
        for what, (why, setting) in self.left_out.items():
            by_setting.setdefault(setting, []).append(f"{what} ({why})")
        parts = ["; ".join(which) + (f": set {setting}" if setting else "") for setting, which in by_setting.items()]
        return [*notes, f"left out: {'. '.join(parts)}"] if parts else notes

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        return self.account.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.account.load_state_dict(state, self._setting)

    def _unlimited(self, occasion: ProbeReason) -> bool:
        return occasion is ProbeReason.LOOK and not self._looks
