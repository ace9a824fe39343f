"""How much the probes of one run may compute, and which measurements were left out because of that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from lightning_landscape._text import listed
from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.examination.account import Account, ProbeReason
from lightning_landscape.examination.effort import LONGEST_PICTURE_GAP, SETTINGS, Effort
from lightning_landscape.examination.naming import in_words
from lightning_landscape.examination.spending import Budget, Spending
from lightning_landscape.examination.stopwatch import Brake, Stopwatch
from lightning_landscape.module_surface.meter import Meter
from lightning_landscape.trainer.host import Host

NAMES = {
    ProbeReason.SCHEDULE: "regular lines to earlier weights",
    ProbeReason.STALL_TEST: "a test of the loss on fixed batches",
}
"""what is left out where the budget of scheduled measurements is used up"""


class Limits:
    """The effort of a run, the account of the gradients that its probes compute, and the brake.

    Args:
        setting: the effort that the user chose, one of `SETTINGS`; None for no limit.
        share: share of the training time after which the clock ends the probes; None for no such limit.
        limits_schedule: whether scheduled measurements are limited; not where the user has set their interval.

    Raises:
        ValueError: if `setting` is none of the settings.
    """

    def __init__(self, setting: str | None, share: float | None, *, limits_schedule: bool) -> None:
        if setting is not None and setting not in SETTINGS:
            raise ValueError(f"effort must be one of {', '.join(map(repr, SETTINGS))}, got {setting!r}")
        self._setting, self._share, self._limits_schedule = setting, share, limits_schedule
        self.forget()

    def forget(self) -> None:
        """Forget all that was observed."""
        self.account = Account()
        self.left_out: dict[str, tuple[str, str]] = {}
        """measurements that the budget or the time did not allow: the reason, and the setting that would allow them"""
        self._drawn = 0
        self._clock: Clock = SYSTEM_CLOCK
        self._brake = Brake(Stopwatch(self._clock), self._share)

    def begin(self, stopwatch: Stopwatch, clock: Clock) -> None:
        """Use the clock of the fit that begins."""
        self._clock, self._brake = clock, Brake(stopwatch, self._share)

    def choose(self, host: Host, batch_seconds: float | None) -> None:
        """Choose the effort of this run, once, from the time on rank 0; there is nothing to choose without limits."""
        if self._setting is not None and self.account.effort is None:
            self.account.effort = host.from_first_rank(Effort.chosen(self._setting, batch_seconds))

    def may_draw(self, steps: int, *, verdict: bool) -> bool:
        """Return whether to draw pictures after this many steps: with a verdict, or if the last ones are old enough.

        Without a verdict the run has to be twice as long as at the last ones, or `LONGEST_PICTURE_GAP` has passed.
        """
        if self.account.effort is not None and not verdict:
            shortest = self.account.effort.picture_every_n_steps
            if steps - self._drawn < max(shortest, min(self._drawn, LONGEST_PICTURE_GAP * shortest)):
                return False
        self._drawn = steps
        return True

    def cover(self, host: Host, reason: ProbeReason, steps: int, price: int) -> bool:
        """Return whether probes at this price may begin now, the same on every rank; if not, a note says so."""
        what = NAMES.get(reason, "another diagnosis")
        if self._unlimited(reason) or host.from_first_rank(self.account.can_afford(reason, steps, price)):
            self.left_out.pop(what, None)
            return True
        too_little = "1% of the steps so far are too few gradients", "every_n_steps=..."
        used_up = "the budget of this run is used up", self.account.larger_effort
        self.left_out[what] = too_little if reason is ProbeReason.SCHEDULE else used_up
        return False

    def spending(self, reason: ProbeReason, steps: int, budget: Budget | None) -> Spending:
        """Return what the probes of one check may compute; `budget` is that of a diagnosis that continues."""
        meter = Meter(self._clock)
        unlimited = self._unlimited(reason)
        return Spending(self.account, reason, steps, meter, self._brake, budget=budget, unlimited=unlimited)

    def note(self, left_out: Mapping[str, tuple[str, str]], measured: Collection[str]) -> None:
        """Add the measurements that a check has left out, and remove those that it has made."""
        earlier = {what: why for what, why in self.left_out.items() if what not in measured}
        self.left_out = {**earlier, **left_out}

    def notes(self) -> list[str]:
        """Return the notes on the effort, the gradients so far, and the measurements that were left out."""
        notes = self.account.notes()
        alike: dict[str, list[str]] = {}
        for what, (why, setting) in self.left_out.items():
            alike.setdefault(f"to include: {setting}" if setting else why, []).append(in_words(what))
        parts = [f"{listed(_distinct(names))} ({note})" for note, names in alike.items()]
        return [*notes, f"left out to save time: {'; '.join(parts)}"] if parts else notes

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        return self.account.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.account.load_state_dict(state, self._setting)

    def _unlimited(self, reason: ProbeReason) -> bool:
        return reason is ProbeReason.SCHEDULE and not self._limits_schedule


def _distinct(names: Iterable[str]) -> list[str]:
    """Return each name once; lines to earlier weights that are all left out include the regular ones."""
    distinct = dict.fromkeys(names)
    if in_words("LossLine") in distinct:
        distinct.pop(NAMES[ProbeReason.SCHEDULE], None)
    return list(distinct)
