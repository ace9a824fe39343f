"""The one place where Lightning's hooks become data that flows one way.

    hooks → StepRecorder → Progress, GradientNorms → stalled? → surface → probes → Evidence → Verdict → outlets

A public monitor is a `Monitor` that has chosen its probes, its scalars, its pictures and what it warns of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lightning_landscape.callbacks._compat import logger_step
from lightning_landscape.callbacks.examination import Examination
from lightning_landscape.callbacks.guard import Guard
from lightning_landscape.callbacks.recorder import StepRecorder
from lightning_landscape.diagnosis import diagnose
from lightning_landscape.errors import LandscapeWarning, ProbeSkippedWarning
from lightning_landscape.evidence import Cause, Divergence, Evidence, Movement, Plateau, Verdict
from lightning_landscape.gradients import GradientNorms
from lightning_landscape.progress import Progress, StepRecord
from lightning_landscape.reporting.outlets import Outlets
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.words import announce, card, category, message

SCHEMA = 1
PATIENCE_FOR_STEPS = 20
"""batches without any optimizer step after which a trainer is said to take none that can be seen"""


class Monitor(Callback):
    """Watches every optimizer step, examines the loss surface when the loss has stalled, and says what it found once.

    Args:
        recorder: what is measured of a step.
        examination: the probes, the batches and the points that they use, and how often they run unasked.
        settings: the arguments of the public monitor, by which Lightning tells two instances apart.
    """

    def __init__(self, recorder: StepRecorder, examination: Examination, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._settings = dict(settings)
        self._recorder = recorder
        self._examination = examination
        self._restored = False
        self._watching = False
        self._forget()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict per episode, in order."""
        return tuple(self._verdicts)

    @property
    def verdict(self) -> Verdict | None:
        """The latest verdict, or None."""
        return self._verdicts[-1] if self._verdicts else None

    @property
    def report(self) -> Report:
        """What was seen so far: a string with `to_dict`, `to_markdown` and a form for notebooks."""
        notes = [f"{part} failed {count} times" for part, count in self._guard.failures.items()]
        notes += [f"{name} was skipped: {reason}" for name, reason in self._examination.skipped.items()]
        notes += [f"{name} refused what it was sent" for name in self._outlets.silenced]
        return Report(self._steps, self._progress.level, self._verdicts, notes)

    # What a public monitor chooses.

    def _scalars(self, record: StepRecord) -> dict[str, float]:
        """Numbers under ``landscape/`` that are known after this step; those that are not finite are left out."""
        return {}

    def _pictures(self) -> Mapping[str, Any]:
        """Figures by name, drawn now."""
        return {}

    def _diagnoses(self) -> bool:
        """Whether plateaus and divergence make verdicts."""
        return True

    def _warn(self, verdict: Verdict) -> None:
        announce(message(verdict), category(verdict))

    def _look(self) -> None:
        """Look at what has been watched, whenever a stretch of steps has come in."""

    # Lightning's hooks.

    @property
    def state_key(self) -> str:
        """The class and its settings, so that two instances do not share a state."""
        return self._generate_state_key(**{name: str(value) for name, value in self._settings.items()})

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch; a state that was loaded for this fit is continued, anything older is forgotten."""
        if not self._restored:
            self._forget()
        self._restored = False
        with self._guard("starting"):
            self._begin(trainer, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Keep a copy of the batch where a probe may follow."""
        if self._watching and self._near() and self._guard.allows("keeping batches"):
            with self._guard("keeping batches"):
                self._examination.probe_set.capture(pl_module, batch, batch_idx)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """See which loss a manual step follows."""
        if self._watching:
            with self._guard("recording"):
                self._recorder.before_backward(loss)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure the gradient before it is clipped."""
        if self._watching:
            with self._guard("recording"):
                self._recorder.before_step(optimizer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Close the step; every so many steps, look at what they were."""
        if not self._watching:
            return
        with self._guard("recording"):
            self._recorder.end_batch(outputs)
            if self._near():
                self._examination.probe_set.capture_drawn(batch, batch_idx)
        self._batches += 1
        if self._recorder.waiting >= self._stride or self._steps + self._recorder.waiting == self._horizon:
            self._process(trainer, pl_module)
        elif self._batches == PATIENCE_FOR_STEPS and not self._steps and not self._recorder.waiting:
            self._say_nothing_steps()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Remember that a checkpoint was written: the loss on the way to it is of interest."""
        self._examination.checkpointed = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the last steps, without probes: other callbacks may be swapping weights here."""
        self._finish(trainer, pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keep what was seen and let go of everything; no other rank is spoken to from here."""
        self._finish(None, pl_module)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Let go of everything, if nothing else came before."""
        self._finish(None, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """What was observed, in builtins and tensors; settings are not part of it."""
        return {
            "schema": SCHEMA,
            "recorder": self._recorder.state_dict(),
            "progress": self._progress.state_dict(),
            "gradients": self._gradients.state_dict(),
            "examination": self._examination.state_dict(),
            "verdicts": [verdict.to_dict() for verdict in self._verdicts],
            "steps": self._steps,
            "x": self._x,
            "examined": self._examined,
            "missing": self._missing,
            "told": list(self._told),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where a state was taken; one of another schema, or a damaged one, starts afresh."""
        self._forget()
        try:
            if state_dict["schema"] != SCHEMA:
                return
            self._recorder.load_state_dict(state_dict["recorder"])
            self._progress.load_state_dict(state_dict["progress"])
            self._gradients.load_state_dict(state_dict["gradients"])
            self._examination.load_state_dict(state_dict["examination"])
            self._verdicts = [Verdict.from_dict(verdict) for verdict in state_dict["verdicts"]]
            self._steps, self._x = int(state_dict["steps"]), int(state_dict["x"])
            self._examined, self._missing = bool(state_dict["examined"]), float(state_dict["missing"])
            self._told = [str(code) for code in state_dict["told"]]
            self._restored = True
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            self._forget()

    # The way of the data.

    def _forget(self) -> None:
        self._guard = Guard()
        self._outlets = Outlets(())
        self._recorder.detach()
        self._recorder.drain()
        self._progress = Progress(None)
        self._gradients = GradientNorms()
        self._examination.forget()
        self._verdicts: list[Verdict] = []
        self._steps = self._batches = self._x = 0
        self._missing = 0.0
        self._told: list[str] = []
        self._examined = False
        self._horizon: int | None = None
        self._stride = 1

    def _begin(self, trainer: Any, pl_module: Any) -> None:
        # A fit that goes on from another, of which nothing is known here, has only the rest of the run before it.
        unseen = 0 if self._steps or self._recorder.waiting else logger_step(trainer)
        total = horizon_of(trainer)
        self._horizon = total - unseen if total is not None and total > unseen else None
        self._progress = continued(Progress(self._horizon), self._progress)
        self._stride = min(50, max(10, (self._horizon or 2500) // 50))
        self._recorder.attach(trainer, pl_module, self._stride + 1)
        if self._gradients.groups != self._recorder.groups:
            self._gradients = GradientNorms(self._recorder.groups)
        self._outlets = Outlets(trainer.loggers if trainer.is_global_zero else ())
        self._speaks = bool(trainer.is_global_zero)
        self._players = len(trainer.optimizers)
        self._examination.begin(pl_module, self._horizon)
        self._watching = True
        trainer.callback_metrics.update(_published({"plateau_length": 0.0} if self._diagnoses() else {}))

    def _near(self) -> bool:
        """Whether a probe may follow within the next few steps."""
        left = self._stride - self._recorder.waiting
        if self._horizon is not None:
            left = min(left, max(1, self._horizon - self._steps - self._recorder.waiting))
        return left <= self._examination.probe_set.max_batches

    def _process(self, trainer: Any | None, pl_module: Any) -> None:
        """Everything that follows from the steps since the last time; without a trainer, nobody else is asked."""
        values: dict[str, float] = {}
        with self._guard("watching"):
            for record in agreed(trainer, self._recorder.drain()):
                values.update(self._watch(trainer, record))
        with self._guard("examining"):
            self._examine(trainer, pl_module)
            self._look()
        if trainer is not None:
            trainer.callback_metrics.update(_published(values))

    def _watch(self, trainer: Any | None, record: StepRecord) -> dict[str, float]:
        self._steps += 1
        self._x = record.step
        self._gradients.update(record)
        if record.optimizer == 0:
            self._progress.update(record)
            self._missing = record.missing if record.missing is not None else self._missing
        values = {name: value for name, value in self._scalars(record).items() if math.isfinite(value)}
        every = trainer.log_every_n_steps if trainer is not None else 0
        if values and every and (record.step + 1) % every == 0:
            self._outlets.scalars({f"landscape/{name}": value for name, value in values.items()}, record.step)
        return values

    def _examine(self, trainer: Any | None, pl_module: Any) -> None:
        """Take readings where the loss has stalled, or where it is time to; a new episode ends in a verdict."""
        progress = self._progress
        fallen_apart = progress.divergence is not None and not any(v.cause is Cause.DIVERGED for v in self._verdicts)
        self._examined = self._examined and progress.stalled
        stalled = progress.stalled and not self._examined and progress.divergence is None
        readings = (
            [] if trainer is None or progress.divergence is not None else self._probe(trainer, pl_module, stalled)
        )
        if stalled or fallen_apart:
            self._examined = self._examined or stalled
            if self._diagnoses():
                self._conclude(diagnose(self._evidence(pl_module, readings)))
        if readings:
            self._draw()

    def _probe(self, trainer: Any, pl_module: Any, stalled: bool) -> list[object]:
        probes = self._examination.wanted(self._steps, stalled=stalled)
        if not probes:
            return []
        known = dict(self._examination.skipped)
        readings = self._examination.run(
            trainer, pl_module, probes, guard=self._guard, step=self._x, level=self._progress.level
        )
        for what, reason in self._examination.skipped.items():
            if what not in known and self._speaks:
                announce(f"[LL301] {what} is skipped: {reason}", ProbeSkippedWarning)
        return readings

    def _evidence(self, pl_module: Any, readings: Sequence[object]) -> Evidence:
        progress = self._progress
        since = progress.divergence.step if progress.divergence is not None else progress.since
        movement = Movement(progress.update_ratio, progress.travelled, self._missing, not_held(pl_module))
        known = (progress.trend, progress.level, progress.divergence, progress.schedule, self._gradients.scale())
        plateau = Plateau(self._x, self._x if since is None else since)
        return Evidence(plateau, *(reading for reading in known if reading is not None), movement, *readings)

    def _conclude(self, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        if self._players > 1 and verdict.evidence.get(Divergence) is None:
            return  # the losses of several players need not fall
        self._verdicts.append(verdict)
        self._outlets.card("landscape/verdict", card(verdict), self._x)
        if verdict.stuck and self._speaks:
            self._warn(verdict)

    def _draw(self) -> None:
        if not self._outlets:
            return
        with self._guard("drawing"):
            from lightning_landscape.plots import render  # matplotlib takes a second to import: not before it is needed

            for name, figure in self._pictures().items():
                self._outlets.picture(f"landscape/{name}", render(figure), self._x)

    def _finish(self, trainer: Any | None, pl_module: Any) -> None:
        if not self._watching:
            return
        self._watching = False
        with self._guard("finishing"):
            self._recorder.detach()
            self._progress.finish()
            self._process(None, pl_module)
            self._draw()
        self._examination.end()

    def _say_nothing_steps(self) -> None:
        if self._speaks:
            announce(NOTHING_STEPS, LandscapeWarning)


NOTHING_STEPS = (
    "[LL101] this Trainer has taken no optimizer step that can be seen (an optimizer inside the backward pass?), so "
    "gradient norms, updates and plateaus are not watched. Evaluating the loss at other weights still works."
)


def horizon_of(trainer: Any) -> int | None:
    """Optimizer steps that this fit will have taken at its end, or None where nobody knows."""
    try:
        steps = float(trainer.estimated_stepping_batches)
    except Exception:  # accumulation that changes by epoch, or a data loader that fails on its own terms later
        return None
    players = max(1, len(trainer.optimizers))
    if trainer.max_steps > 0:
        steps = min(steps, trainer.max_steps / players) if steps > 0 else trainer.max_steps / players
    return int(steps) if math.isfinite(steps) and steps >= 1 else None


def not_held(pl_module: torch.nn.Module) -> float:
    """Share of the trainable parameters that no optimizer of the module's trainer holds, in [0, 1]."""
    trainer: Any = getattr(pl_module, "_trainer", None)
    held = {id(p) for o in getattr(trainer, "optimizers", ()) for group in o.param_groups for p in group["params"]}
    trainable = [p for p in pl_module.parameters() if p.requires_grad]
    return sum(p.numel() for p in trainable if id(p) not in held) / max(1, sum(p.numel() for p in trainable))


def agreed(trainer: Any | None, records: list[StepRecord]) -> list[StepRecord]:
    """The records with the loss averaged over the ranks, so that every rank decides the same."""
    if trainer is None or trainer.world_size == 1 or not records:
        return records
    local = torch.tensor([math.nan if r.loss is None else r.loss for r in records], device=trainer.strategy.root_device)
    losses = trainer.strategy.reduce(local, reduce_op="mean").tolist()
    return [r._replace(loss=None if r.loss is None else loss) for r, loss in zip(records, losses, strict=True)]


def continued(fresh: Progress, earlier: Progress) -> Progress:
    """The fresh progress with what the earlier one has observed: the new run's horizon holds."""
    fresh.load_state_dict(earlier.state_dict())
    return fresh


def _published(values: Mapping[str, float]) -> dict[str, Tensor]:
    return {f"landscape/{name}": torch.tensor(value) for name, value in values.items()}
