"""Open the loss surface of a LightningModule while it is trained, without a trace in the run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lightning_landscape._text import listed
from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.activations import watch_activations
from lightning_landscape.module_surface.assembly import assemble
from lightning_landscape.module_surface.batches import ProbeBatch, ProbeSet
from lightning_landscape.module_surface.evaluator import Evaluator, Mode
from lightning_landscape.module_surface.finiteness import step_evaluations_of
from lightning_landscape.module_surface.isolation import Isolation, isolated
from lightning_landscape.module_surface.lowest_loss import lowest_loss
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.meter import Meter
from lightning_landscape.module_surface.optimizer_copy import (
    decay_of,
    fresh_optimizer,
    optimizer_copy,
    state_bytes,
)
from lightning_landscape.module_surface.outputs import see_outputs
from lightning_landscape.module_surface.reinitialization import reinitialization
from lightning_landscape.module_surface.tracing import trace_step
from lightning_landscape.module_surface.training_step import LossFn, TrainingStep
from lightning_landscape.module_surface.weights import ShardedWeights, Weights
from lightning_landscape.surface import LossSurface, Params, RunContext
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.ranks import Ranks, Status

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

PROBING_HOOKS = frozenset({"on_train_batch_end", "on_train_epoch_end"})
"""hooks in which a surface can be opened; in others, the module may have averaged weights, `toggle_optimizer` may have
frozen some of them, or a training step may be unfinished"""


@contextlib.contextmanager
def module_surface(
    trainer: Trainer,
    pl_module: LightningModule,
    probe_set: ProbeSet,
    *,
    anchors: Mapping[str, Params] = MappingProxyType({}),
    loss_fn: LossFn | None = None,
    mode: Mode = "as_trained",
) -> Iterator[LossSurface]:
    """Open the loss of `pl_module` on the batches of `probe_set` as a function of its trainable parameters.

    All ranks have to open it at the same step. While it is open, the module works on copies of its attributes, so that
    a probe cannot change the run. The loss depends on the weights alone: each evaluation begins with the same buffers,
    random numbers and attributes.

    Args:
        trainer: the trainer, which is running one of `PROBING_HOOKS`.
        pl_module: the module that it trains.
        probe_set: batches that were captured in the preceding steps.
        anchors: earlier points of the run by their names; `snapshot` makes them.
        loss_fn: called instead of ``training_step``; None for the module's method ``landscape_loss(self, batch)`` if it
            has one.
        mode: "as_trained" for BatchNorm and dropout as in training; "eval" for evaluation mode, in which the statistics
            of BatchNorm are collected anew at each point.

    Yields:
        the surface; it and the graphs made with it can be used inside the ``with`` block only

    A `SurfaceError` is raised if the module cannot be evaluated at other weights without a trace; its message says why.
    """
    with host_surface(
        LightningHost(trainer, pl_module), probe_set, anchors=anchors, loss_fn=loss_fn, mode=mode
    ) as surface:
        yield surface.with_copied_weights()


@contextlib.contextmanager
def host_surface(
    host: Host,
    probe_set: ProbeSet,
    *,
    anchors: Mapping[str, Params] = MappingProxyType({}),
    loss_fn: LossFn | None = None,
    mode: Mode = "as_trained",
    ranks: Ranks | None = None,
    meter: Meter | None = None,
    typical_rate: float | None = None,
    kept: MutableMapping[str, Any] | None = None,
) -> Iterator[LossSurface]:
    """Open the loss surface of a run, as `module_surface` does, in any training loop that implements `Host`.

    Args:
        host: the run, which is in one of `PROBING_HOOKS`.
        probe_set: batches that were captured in the preceding steps.
        anchors: earlier points of the run by their names.
        loss_fn: called instead of ``training_step``.
        mode: "as_trained" or "eval".
        ranks: synchronises the ranks; None for a new one.
        meter: counts the evaluations; None for a new one.
        typical_rate: the learning rate of runs that begin anew, unless the present one is larger; None for that.
        kept: what probes keep for the next diagnosis; None where nothing can be kept.

    Yields:
        the surface, whose `LossSurface.here` may be the very tensors that are trained
    """
    weights_type = _weights_type(host)
    _require_probing_hook(host)
    ranks = Ranks(host) if ranks is None else ranks
    try:
        with _mean_losses(host, probe_set, anchors, loss_fn, mode, ranks, weights_type, meter) as (measured, held_out):
            evaluator = measured.evaluator
            decay, decoupled = decay_of(host)
            run = RunContext(
                optimizer_copy=optimizer_copy(host),
                fresh_optimizer=fresh_optimizer(host, typical_rate),
                reinitialize=reinitialization(evaluator),
                optimizer_bytes=state_bytes(host),
                lent_weights=evaluator.weights.lent,
                frozen_since=lambda name: evaluator.weights.frozen_since(name, anchors[name]),
                activations=functools.partial(watch_activations, measured),
                trace=functools.partial(trace_step, measured, host.optimizers) if weights_type is Weights else None,
                step_evaluations=step_evaluations_of(measured, held_out) if weights_type is Weights else (),
                outputs=functools.partial(see_outputs, measured),
                lowest_loss=functools.partial(lowest_loss, measured),
                weight_decay=decay,
                decoupled_decay=decoupled,
                # A checkpoint has the state of rank 0 only, which does not hold the shards of the others.
                kept=kept if weights_type is Weights else None,
            )
            yield assemble(measured, held_out if held_out.batches else None, anchors, run)
        ranks.meet(Status.CLOSING)
    except Exception:
        ranks.meet(Status.FAILED)
        raise


@contextlib.contextmanager
def _mean_losses(
    host: Host,
    probe_set: ProbeSet,
    anchors: Mapping[str, Params],
    loss_fn: LossFn | None,
    mode: Mode,
    ranks: Ranks,
    weights_type: type[Weights],
    meter: Meter | None,
) -> Iterator[tuple[MeanLoss, MeanLoss]]:
    """Isolate the module, and check that its loss can be evaluated.

    Yields:
        the mean loss over the batches to measure with, and that over the held-out batches, which may be none

    Raises:
        SurfaceError: if there is no batch
    """
    batches, held_out = probe_set.halves
    if not batches:
        raise SurfaceError(f"[LL310] no batch to evaluate on: {_why_no_batch(probe_set)}")
    with isolated(host, weights_type(host.module)) as isolation:
        training_step = TrainingStep(host, isolation, loss_fn)
        require_copies(isolation, training_step, (*batches, *held_out))
        evaluator = Evaluator(isolation, training_step, ranks, mode, meter)
        try:
            evaluator.require_reproducible(batches[0], evaluator.weights.finite_point(anchors))
            ddp = "DDPStrategy" in host.strategy_names
            yield MeanLoss(evaluator, batches, ddp), MeanLoss(evaluator, held_out, ddp)
        finally:
            evaluator.open = False


def require_copies(isolation: Isolation, training_step: TrainingStep, batches: Iterable[ProbeBatch]) -> None:
    """Check that everything that the training step could change can be copied.

    With a loss function of the user, nothing is checked: the user is responsible for what it changes.

    Raises:
        SurfaceError: if the module or a batch contains an object that cannot be copied
    """
    uncopied = dict(isolation.uncopied)
    for batch in batches:
        uncopied |= batch.uncopied
    if uncopied and not training_step.has_loss_fn:
        named = listed([f"{where} ({kind})" for where, kind in uncopied.items()])
        raise SurfaceError(
            f"[LL311] training_step may change objects that cannot be copied, and so cannot be restored: {named}; give "
            "loss_fn or define landscape_loss(self, batch) that does not change them"
        )


def _why_no_batch(probe_set: ProbeSet) -> str:
    if probe_set.left_out is None:
        return "none was captured"
    return f"a batch takes {probe_set.left_out} bytes, and the probe set may hold {probe_set.max_bytes}"


def _weights_type(host: Host) -> type[Weights]:
    """Return the class that exchanges the weights under the strategy of the run.

    Raises:
        SurfaceError: if the weights cannot be exchanged under this strategy
    """
    if refused := host.strategy_names & {"FSDPStrategy", "DeepSpeedStrategy", "XLAStrategy"}:
        raise SurfaceError(
            f"[LL312] {min(refused)} shards the weights, so that the loss cannot be evaluated at other weights; "
            "gradient norms are still measured"
        )
    return ShardedWeights if "ModelParallelStrategy" in host.strategy_names else Weights


def _require_probing_hook(host: Host) -> None:
    if host.hook not in PROBING_HOOKS or not host.is_training:
        raise SurfaceError(
            f"[LL313] a surface can be opened in {' or '.join(sorted(PROBING_HOOKS))}, but not in {host.hook}"
        )
