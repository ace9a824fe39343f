"""The hooks in which a monitor reads the metrics that the module logs: after a validation, an epoch or a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from lightning_landscape._text import listed
from lightning_landscape.callbacks.reporting_callback import ReportingCallback
from lightning_landscape.callbacks.views import named
from lightning_landscape.evidence import Verdict
from lightning_landscape.examination.metric_reader import MetricReader
from lightning_landscape.tracking.metric_history import Declared as Declared
from lightning_landscape.trainer._compat import logged_metrics, logger_step
from lightning_landscape.trainer.lightning_host import LightningHost

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

EVERY_N_BATCHES = 20
"""batches between two looks for metrics that are logged within an epoch"""
CLOSE = 0.5
"""similarity from which on another name may be the one that is meant"""


class MetricHooks(ReportingCallback):
    """Reads the declared metrics and the validation loss, and judges them; it computes no metric and logs none.

    Rank 0 reads, and all other ranks get its values, so that all of them judge the same.

    Args:
        settings: the arguments of the monitor, by which Lightning tells the states of two monitors apart.
        metrics: the declared metrics, and whether each should fall or rise; None to watch no metric at all.
    """

    def __init__(self, settings: Mapping[str, Any], metrics: Declared | None = None) -> None:
        # Without a declared metric, the key in the checkpoint stays that of versions that knew none.
        super().__init__({**settings, "monitor": tuple(metrics)} if metrics else settings)
        self._declared, self._watches_metrics = dict(metrics or {}), metrics is not None
        self._reader = MetricReader()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the values before the validation, to see which it changes."""
        if self._watching and self._watches_metrics:
            self._guard.attempt("reading metrics", lambda: self._reader.begin_validation(logged_metrics(trainer)))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read and judge what the validation has logged."""
        if not self._watching or not self._watches_metrics or trainer.sanity_checking:
            return
        metrics, step = logged_metrics(trainer), logger_step(trainer)

        def read() -> None:
            self._reader.take(metrics, self._state.metrics.validation(self._reader.of_validation(metrics)), step)

        self._look(LightningHost(trainer, pl_module), read)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read and judge what was logged at the end of the epoch before."""
        self._look_at_declared(trainer, pl_module)
        if self._watching and trainer.current_epoch and (self._state.metrics.validated or not _validates(trainer)):
            self._guard.attempt("warning", lambda: self._warn_of_missing(logged_metrics(trainer)))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the last values and steps; no probes run, since other callbacks may change the weights here."""
        self._look_at_declared(trainer, pl_module)
        if self._watching:
            self._guard.attempt("warning", lambda: self._warn_of_missing(logged_metrics(trainer)))
        self._finish()

    def _finish(self, status: str = "ended") -> None:
        """End the watching of the fit, as `Monitor` does."""
        raise NotImplementedError

    def warn(self, verdict: Verdict) -> None:
        """Warn of an alarm, as `Monitor` does."""
        raise NotImplementedError

    def _say(self, verdict: Verdict) -> None:
        """Report a verdict, and warn of an alarm."""
        self._reporter.verdict(verdict)
        if verdict.stuck:
            self.warn(verdict)

    def _look_at_declared(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read and judge the declared metrics."""
        if self._watching and self._declared:
            step = max(0, logger_step(trainer) - 1)  # the step has been counted already
            self._look(
                LightningHost(trainer, pl_module),
                lambda: self._reader.take(logged_metrics(trainer), self._declared, step),
            )

    def _read_steps(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> None:
        """Read metrics that are logged within an epoch: each batch once one is known, which is looked for rarely."""
        known, looks = self._state.metrics.per_step, batch_idx > 0 and batch_idx % EVERY_N_BATCHES == 0
        if not self._declared or not (known or looks):
            return
        step = max(0, logger_step(trainer) - 1)
        if known:
            self._reader.take(logged_metrics(trainer), known, step)
        if not looks:
            return

        def read() -> None:
            # After an epoch and after a validation every metric is read, so a new value comes from within the epoch.
            for name in self._declared:
                if name not in known and self._reader.take(logged_metrics(trainer), [name], step):
                    known.append(name)

        self._look(LightningHost(trainer, pl_module), read)

    def _look(self, host: LightningHost, read: Callable[[], object]) -> None:
        """Read new values, enter them on all ranks, and report new verdicts."""
        with self._stopwatch.spending():
            self._guard.attempt("reading metrics", read)
            values = self._reader.drain()
            # An error on one rank must not keep it from the exchange that the other ranks wait for.
            self._state.metrics.per_step, values = host.from_first_rank((self._state.metrics.per_step, values))
            self._guard.attempt("judging metrics", lambda: self._enter_metrics(host, values))

    def _enter_metrics(self, host: LightningHost, values: list[tuple[str, int, float]]) -> None:
        if not values:
            return
        state = self._state
        level = state.progress.level
        state.metrics.enter(values, None if level is None else level.now)
        alarmed = bool(state.verdicts) and state.verdicts[-1].stuck and state.progress.stalled
        for verdict in state.metrics.judge(level, alarmed=alarmed):
            self._say(verdict)
        host.publish(named(state.metrics.scalars))

    def _warn_of_missing(self, metrics: Mapping[str, Any]) -> None:
        """Warn once of declared metrics that no hook of the module has logged so far."""
        if missing := self._state.metrics.missing:
            self._warn_once("LL112", missing_message(missing, metrics))


def missing_message(missing: list[str], metrics: Mapping[str, Any]) -> str:
    """Return the warning for declared metrics that were never logged, with names that may be meant."""
    others = [name for name in metrics if not name.startswith("landscape/")]
    near = [name for wanted in missing for name in get_close_matches(wanted, others, cutoff=CLOSE)]
    rest = [name for name in others if name not in near]
    logged = listed([repr(name) for name in (*dict.fromkeys(near), *rest)], most=6) or "none"
    words = "metrics {} were" if len(missing) > 1 else "metric {} was"
    which = words.format(listed([repr(name) for name in missing]))
    return (
        f"[LL112] The declared {which} not logged so far, so the run is not judged by it. Logged were: {logged}.\n"
        '  Try: `self.log("name", value)` in the module, with the name that `monitor=` has.'
    )


def _validates(trainer: Trainer) -> bool:
    return bool(trainer.enable_validation)
