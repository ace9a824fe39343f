"""Test on the same batches whether the loss stands still, where the noise of single batches hides it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.evidence import SameBatches
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.captures import Captures
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.limits import Limits
from lightning_landscape.examination.probe_runner import ProbeRunner
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.snapshots import size_of, weights_of
from lightning_landscape.examination.weight_files import resolved
from lightning_landscape.surface import Probe
from lightning_landscape.trainer.host import Host

COPIES = 3
"""copies of earlier weights that are compared with the present ones"""
SPACING = 0.05
"""share of the run between two copies, so that they reach back 15%"""
BETWEEN_TESTS = 0.075
"""share of the run between two tests"""
LONGEST_WAIT = 0.25
"""share of the run after the first copy for which a diagnosis waits for the test; it takes 15% where noise hides the
trend all the time, and somewhat longer where it does so now and then"""
BATCHES = 6
"""most batches on which they are compared; their differences scatter so little that more would not help much"""
PRICE = (COPIES + 1) * BATCHES // 3 + 1
"""gradients that a test costs: a loss is a third of one, and one more shows that a loss can be computed again"""
MAX_BYTES = 64 * 2**20
"""most bytes of all copies together, since they go into the user's checkpoints; without them there is no test"""


class StallTest:
    """Keeps copies of earlier weights while noise hides the trend of the loss, and compares them on the same batches.

    They are kept for a fifth of the run after noise has last hidden it: where the trend comes and goes in the noise, a
    test is possible as soon as it is needed. Until then `Progress.awaits_test` holds, so that a run is not diagnosed
    for what a test shows for a small part of the price.

    Args:
        probes: the probe that makes the comparison; none for no tests.
        limits: count the gradients that it computes.
        loss_fn: computes the loss in place of `training_step`.
    """

    def __init__(self, probes: Sequence[Probe], limits: Limits, loss_fn: Callable[..., Any] | None) -> None:
        self._probes, self._limits, self._loss_fn = tuple(probes), limits, loss_fn
        self.forget()

    def forget(self) -> None:
        """Forget all that was observed."""
        self._copies: dict[int, dict[str, Tensor]] = {}
        self._tested_at = 0
        self._needed_at: int | None = None
        self._began_at: int | None = None
        self._refused = False

    @torch.no_grad()
    def take(self, module: nn.Module, state: RunState) -> None:
        """Copy the weights if noise has lately hidden the trend and the last copy is old enough; else drop all."""
        weights, spacing = weights_of(module), _steps(SPACING, state)
        large = COPIES * size_of(weights) > MAX_BYTES
        if self._is_needed(state):
            self._needed_at = state.step
        else:
            state.progress.on_same_batches = None
        lately = self._needed_at is not None and state.step - self._needed_at <= (COPIES + 1) * spacing
        possible = bool(self._probes) and not large and not self._refused
        self._began_at = (state.step if self._began_at is None else self._began_at) if lately else None
        waited = 0 if self._began_at is None else state.step - self._began_at
        state.progress.awaits_test = possible and waited <= _steps(LONGEST_WAIT, state)
        if not self._probes or large or not lately:
            self._copies = {}
            return
        names = weights.keys()
        if self._copies and state.step - max(self._copies) < spacing:
            return
        kept = {s: copy for s, copy in self._copies.items() if copy.keys() == names}
        kept = {s: copy for s, copy in kept.items() if state.step - s <= (COPIES + 1) * spacing}
        kept[state.step] = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        self._copies = dict(sorted(kept.items())[-COPIES:])

    def due(self, state: RunState, ahead: int = 0) -> bool:
        """Return whether to test after this many further steps: the copies reach back far enough."""
        if len(self._copies) < COPIES or not self._is_needed(state):
            return False
        old_enough = state.step + ahead - min(self._copies) >= COPIES * _steps(SPACING, state)
        return old_enough and state.steps + ahead - self._tested_at >= _steps(BETWEEN_TESTS, state)

    def __call__(self, host: Host, captures: Captures, state: RunState, guard: Guard) -> dict[str, str]:
        """Compare the copies with the present weights, enter the result into the state, and return what was skipped."""
        self._tested_at = state.steps
        captures.end_probes()
        self._refused = not self._limits.cover(host, ProbeReason.STALL_TEST, state.steps, PRICE)
        if self._refused:
            return {}
        points = {f"step {step}": copy for step, copy in self._copies.items() if step < state.step}
        steps = [*(step for step in self._copies if step < state.step), state.step]
        spending = self._limits.spending(ProbeReason.STALL_TEST, state.steps, None)
        runner = ProbeRunner(host, guard, spending, self._loss_fn)
        latest = captures.batches.latest(BATCHES)
        runner.run(self._probes, latest, lambda: points, lambda probe, so_far: True, lambda probe: False)
        for reading in runner.readings:
            if isinstance(reading, SameBatches) and all(map(math.isfinite, sum(reading.losses, ()))):
                state.progress.enter_same_batches(steps[-len(reading.points) :], reading.losses)
        return runner.skipped

    def _is_needed(self, state: RunState) -> bool:
        progress = state.progress
        return progress.noise_hides and progress.divergence is None and state.optimizer_count == 1

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins and tensors."""
        copies = {step: dict(copy) for step, copy in self._copies.items()}
        times = {"tested_at": self._tested_at, "needed_at": self._needed_at, "began_at": self._began_at}
        return {**times, "refused": self._refused, "copies": copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._tested_at = int(state.get("tested_at", 0))
        needed = state.get("needed_at", max(state.get("copies", {}), default=None))  # versions before 0.2 had none
        self._needed_at = None if needed is None else int(needed)
        self._began_at, self._refused = state.get("began_at"), bool(state.get("refused", False))
        self._copies = {int(step): dict(resolved(copy)) for step, copy in state.get("copies", {}).items()}


def _steps(share: float, state: RunState) -> int:
    return max(1, int(share * state.progress.assumed_horizon))
