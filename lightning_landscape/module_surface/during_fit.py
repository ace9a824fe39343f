"""The loss surface of a LightningModule in the midst of its training, without a trace."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

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
from lightning_landscape.trainer._compat import current_hook, strategy_lineage
from lightning_landscape.trainer.ranks import Ranks, Status

PROBING_HOOKS = frozenset({"on_train_batch_end", "on_train_epoch_end"})
"""where the module holds the weights that are trained, all of them are trainable, and no step is under way"""


@contextlib.contextmanager
def module_surface(
    trainer: Any,
    pl_module: Any,
    probe_set: ProbeSet,
    *,
    anchors: Mapping[str, Params] = MappingProxyType({}),
    loss_fn: LossFn | None = None,
    mode: Mode = "as_trained",
    ranks: Ranks | None = None,
    meter: Meter | None = None,
) -> Iterator[LossSurface]:
    """Open the loss of `pl_module` on the batches of `probe_set` as a function of its trainable parameters.

    To be opened on every rank at the same step. While it is open, the module works on private copies of everything it
    has; what a probe does with the surface can reach the run in no way. Weights are the mean loss's only variable:
    each evaluation begins from the same buffers, random numbers and attributes.

    Args:
        trainer: the trainer, in one of `PROBING_HOOKS`
        pl_module: the module that is being trained
        probe_set: batches captured in the steps before
        anchors: other points of the run by their names; see `snapshot`
        loss_fn: what to evaluate in place of ``training_step``; a method ``landscape_loss(self, batch)`` does as well
        mode: "as_trained" keeps the flags that the module was trained with, BatchNorm and dropout included; "eval"
            evaluates in eval mode with BatchNorm statistics collected anew at each point
        ranks: where the ranks meet, for who wants to know whether they have parted
        meter: counts what is evaluated

    Yields:
        the surface; it and the graphs made from it are closed with the block

    Raises:
        SurfaceError: if the module cannot be evaluated at other weights without a trace; the message says why
    """
    weights_type = _kind_of_strategy(trainer)
    if reason := _out_of_place(trainer, pl_module):
        raise SurfaceError(reason)
    ranks = Ranks(trainer) if ranks is None else ranks
    try:
        with _opened(trainer, pl_module, probe_set, loss_fn, mode, ranks, weights_type, meter) as (
            evaluator,
            measured,
            judged,
        ):
            decay, decoupled = decay_of(trainer)
            run = RunContext(
                optimizer_copy=optimizer_copy(trainer, pl_module) if weights_type is Weights else None,
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
    trainer: Any,
    pl_module: Any,
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
    with isolated(trainer, pl_module, weights_type(pl_module)) as isolation:
        replay = TrainingStep(trainer, pl_module, isolation, loss_fn)
        require_copies(isolation, replay, [batch for half in halves for batch in half])
        evaluator = Evaluator(isolation, replay, ranks, mode, meter)
        try:
            evaluator.check(halves[0][0])
            ddp = "DDPStrategy" in strategy_lineage(trainer.strategy)
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


def _kind_of_strategy(trainer: Any) -> type[Weights]:
    lineage = strategy_lineage(trainer.strategy)
    if refused := lineage & {"FSDPStrategy", "DeepSpeedStrategy", "XLAStrategy"}:
        raise SurfaceError(f"[LL312] {refused.pop()} shards the weights out of reach: only total norms are measured")
    return ShardedWeights if "ModelParallelStrategy" in lineage else Weights


def _out_of_place(trainer: Any, pl_module: Any) -> str | None:
    """Why not here: elsewhere the module may hold averaged weights, frozen players, or half of a step."""
    hook = current_hook(pl_module)
    if hook in PROBING_HOOKS and trainer.training and not trainer.sanity_checking:
        return None
    return f"[LL313] a surface is opened in {' or '.join(sorted(PROBING_HOOKS))}, not in {hook}"
