"""The loss surface of a LightningModule in the midst of its training, without a trace."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.activations import watch_activations
from lightning_landscape.module_surface.assembly import assemble
from lightning_landscape.module_surface.batches import ProbeBatch, ProbeSet
from lightning_landscape.module_surface.evaluator import Evaluator, Mode
from lightning_landscape.module_surface.isolation import Isolation, isolated
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.meter import Meter
from lightning_landscape.module_surface.optimizer_copy import decay_of, optimizer_copy, reinitialization
from lightning_landscape.module_surface.training_step import LossFn, TrainingStep
from lightning_landscape.module_surface.weights import ShardedWeights, Weights
from lightning_landscape.surface import LossSurface, Params, RunContext
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.ranks import Ranks, Status

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

PROBING_HOOKS = frozenset({"on_train_batch_end", "on_train_epoch_end"})
"""where the module holds the weights that are trained, all of them are trainable, and no step is under way"""


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

    It has to be opened on every rank at the same step. While it is open, the module works on private copies of all that
    it has, so that a probe cannot change the run. The weights are the only variable of the loss: each evaluation begins
    with the same buffers, random numbers and attributes.

    Args:
        trainer: the trainer, in one of `PROBING_HOOKS`.
        pl_module: the module that is trained.
        probe_set: batches captured in the steps before.
        anchors: other points of the run by their names; see `snapshot`.
        loss_fn: the loss to evaluate in place of ``training_step``; a method ``landscape_loss(self, batch)`` does as
            well.
        mode: "as_trained" keeps BatchNorm and dropout as they are in training; "eval" evaluates in eval mode, with
            BatchNorm statistics collected anew at each point.

    Yields:
        the surface; it and the graphs made from it are closed with the block

    A `SurfaceError` says why a module cannot be evaluated at other weights without a trace.
    """
    with host_surface(
        LightningHost(trainer, pl_module), probe_set, anchors=anchors, loss_fn=loss_fn, mode=mode
    ) as surface:
        yield surface


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
) -> Iterator[LossSurface]:
    """Open the surface of any `Host`; `module_surface` describes it.

    Args:
        host: the run, in one of `PROBING_HOOKS`.
        probe_set: batches captured in the steps before.
        anchors: other points of the run by their names.
        loss_fn: the loss to evaluate in place of ``training_step``.
        mode: "as_trained" or "eval".
        ranks: synchronises the ranks; None for one of its own.
        meter: counts the evaluations.

    Yields:
        the surface

    Raises:
        SurfaceError: if the module cannot be evaluated at other weights without a trace; the message says why
    """
    weights_type = _kind_of_strategy(host)
    if reason := _out_of_place(host):
        raise SurfaceError(reason)
    ranks = Ranks(host) if ranks is None else ranks
    try:
        with _opened(host, probe_set, loss_fn, mode, ranks, weights_type, meter) as (evaluator, measured, judged):
            decay, decoupled = decay_of(host)
            run = RunContext(
                optimizer_copy=optimizer_copy(host) if weights_type is Weights else None,
                reinitialize=reinitialization(evaluator) if weights_type is Weights else None,
                frozen_since=functools.partial(_frozen_since, evaluator, anchors),
                activations=functools.partial(watch_activations, measured),
                weight_decay=decay,
                decoupled_decay=decoupled,
            )
            yield assemble(measured, judged if judged.batches else None, anchors, run)
        ranks.meet(Status.CLOSING)
    except Exception:
        ranks.meet(Status.FAILED)
        raise


def _frozen_since(evaluator: Evaluator, anchors: Mapping[str, Params], name: str) -> Params:
    return evaluator.weights.frozen_since(name, anchors[name])


@contextlib.contextmanager
def _opened(
    host: Host,
    probe_set: ProbeSet,
    loss_fn: LossFn | None,
    mode: Mode,
    ranks: Ranks,
    weights_type: type[Weights],
    meter: Meter | None,
) -> Iterator[tuple[Evaluator, MeanLoss, MeanLoss]]:
    """The module under isolation, checked, with the loss on both halves of the batches.

    Yields:
        the evaluator, the loss to measure and the loss to judge

    Raises:
        SurfaceError: if it has no batch
    """
    halves = probe_set.halves
    if not halves[0]:
        raise SurfaceError(f"[LL310] no batch to evaluate on: {_why_empty(probe_set)}")
    with isolated(host, weights_type(host.module)) as isolation:
        replay = TrainingStep(host, isolation, loss_fn)
        require_copies(isolation, replay, [batch for half in halves for batch in half])
        evaluator = Evaluator(isolation, replay, ranks, mode, meter)
        try:
            evaluator.require_reproducible(halves[0][0])
            ddp = "DDPStrategy" in host.strategy_names
            yield evaluator, MeanLoss(evaluator, halves[0], ddp), MeanLoss(evaluator, halves[1], ddp)
        finally:
            evaluator.open = False


def require_copies(isolation: Isolation, replay: TrainingStep, batches: Iterable[ProbeBatch]) -> None:
    """Refuse what cannot be copied, unless the user answers for the loss.

    Raises:
        SurfaceError: if the training step could change it for good
    """
    uncopied = dict(isolation.uncopied)
    for batch in batches:
        uncopied |= batch.uncopied
    if uncopied and not replay.overridden:
        named = ", ".join(f"{where} ({kind})" for where, kind in uncopied.items())
        raise SurfaceError(
            f"[LL311] cannot be copied, and so could not be put back as it was: {named}; give loss_fn or define "
            "landscape_loss(self, batch) that leaves it alone"
        )


def _why_empty(probe_set: ProbeSet) -> str:
    if probe_set.left_out is None:
        return "none was captured"
    return f"one takes {probe_set.left_out} bytes of the {probe_set.max_bytes} that the probe set may hold"


def _kind_of_strategy(host: Host) -> type[Weights]:
    lineage = set(host.strategy_names)
    if refused := lineage & {"FSDPStrategy", "DeepSpeedStrategy", "XLAStrategy"}:
        raise SurfaceError(f"[LL312] {refused.pop()} shards the weights out of reach: only total norms are measured")
    return ShardedWeights if "ModelParallelStrategy" in lineage else Weights


def _out_of_place(host: Host) -> str | None:
    """Why not here: elsewhere the module may hold averaged weights, frozen players, or half of a step."""
    if host.hook in PROBING_HOOKS and host.is_training:
        return None
    return f"[LL313] a surface is opened in {' or '.join(sorted(PROBING_HOOKS))}, not in {host.hook}"
