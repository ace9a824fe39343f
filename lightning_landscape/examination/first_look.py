"""Check the wiring of a run right after its first optimizer step, before the loss can show that anything is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from lightning_landscape._text import capitalised
from lightning_landscape.diagnosis import Finder, found
from lightning_landscape.diagnosis.findings.parts import is_said_at_once
from lightning_landscape.errors import LandscapeWarning
from lightning_landscape.evidence import Evidence
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.host_readings import host_readings
from lightning_landscape.examination.known_findings import KnownFindings
from lightning_landscape.examination.limits import Limits
from lightning_landscape.examination.loss_floor import enter_readings, floor_of
from lightning_landscape.examination.probe_runner import ProbeRunner
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.snapshots import Snapshots
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.reporting.messages import finding_message
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.reporting.terminal import print_line
from lightning_landscape.surface import Params, Probe
from lightning_landscape.trainer.host import Host

ATTEMPTS = 3
"""checks, on one batch each, after which the wiring is given up as one that cannot be seen"""
NO_ANCHORS: Mapping[str, Params] = MappingProxyType({})


class FirstLook:
    """Runs a few cheap probes on one batch after the first optimizer step, and warns of mistakes that are certain.

    It checks again after the parameter groups of the optimizers have changed.

    Args:
        probes: the probes; with none of them, there is no check.
        finders: reach the findings.
        limits: count the gradients that the probes compute.
        loss_fn: computes the loss in place of `training_step`.
        snapshots: have the initial weights; None where these are unknown.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        finders: Sequence[Finder],
        limits: Limits,
        loss_fn: Callable[..., Any] | None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._probes, self._finders, self._limits, self._loss_fn = tuple(probes), tuple(finders), limits, loss_fn
        self._snapshots = snapshots
        self._batch = ProbeSet(max_batches=1)
        self._looked_at = self._failed = 0

    def begin(self, findings: KnownFindings, groups_version: int) -> None:
        """Begin with a fit whose optimizers have been read this often; one that resumes may have been checked."""
        self._batch.clear()
        self._looked_at, self._failed = groups_version if findings.looked else 0, 0

    def due(self, groups_version: int) -> bool:
        """Return whether to check once an optimizer has stepped: the optimizers have been read since the last check."""
        return groups_version != self._looked_at and bool(self._probes)

    def capture(self, module: nn.Module, batch: Any, batch_idx: int, groups_version: int) -> None:
        """Keep a copy of the batch if it is the first one for a check that is due."""
        if self.due(groups_version) and not len(self._batch):
            self._batch.capture(module, batch, batch_idx)

    def capture_drawn(self, batch: Any, batch_idx: int) -> bool:
        """Keep a copy of the batch if the step has drawn it itself; return whether there is a batch now."""
        if not len(self._batch):
            self._batch.capture_drawn(batch, batch_idx)
        return len(self._batch) > 0

    def __call__(self, host: Host, groups_version: int, state: RunState, guard: Guard, reporter: Reporter) -> None:
        """Run the probes on the captured batch, enter what was found into the state, and warn of it."""
        self._looked_at, state.findings.looked = groups_version, True
        with guard("checking the wiring"):
            spending = self._limits.spending(ProbeReason.FIRST_LOOK, state.steps, None)
            runner = ProbeRunner(host, guard, spending, self._loss_fn, floor=floor_of(state))
            runner.run(self._probes, self._batch, lambda: NO_ANCHORS, lambda probe, so_far: True, lambda probe: False)
            self._batch.clear()
            self._failed += not runner.readings
            if not runner.readings and self._failed < ATTEMPTS:  # the step may have no loss on this one batch
                self._looked_at, state.findings.looked = 0, False
            state.findings.unseen = next(iter(runner.skipped.values()), None)
            enter_readings(state, host.step, runner.readings)
            initial = None if self._snapshots is None else self._snapshots.point("initial")
            state.host_readings = host_readings(host, initial, state.frozen)
            kept = () if state.kept_gradients is None else (state.kept_gradients,)
            findings = found(Evidence(*runner.readings, *state.host_readings, *kept), self._finders)
            for finding in findings:
                if is_said_at_once(finding.sentence) and finding.weight == "note" and not reporter.silent:
                    print_line(f"lightning_landscape: {finding.sentence} Try: {capitalised(finding.advice)}")
            for finding in state.findings.enter_wiring(findings):
                reporter.finding(finding, host.step)
                reporter.warn(finding_message(finding, host.step), LandscapeWarning)
