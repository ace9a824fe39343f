"""Open the loss surface of a LightningModule that is not being trained, to compare finished runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from lightning_landscape.module_surface.assembly import assemble
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import require_copies
from lightning_landscape.module_surface.evaluator import Evaluator
from lightning_landscape.module_surface.isolation import isolated
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.training_step import LossFn, TrainingStep
from lightning_landscape.module_surface.weights import Weights
from lightning_landscape.surface import LossSurface, Params, RunContext
from lightning_landscape.trainer._compat import trainer_of
from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.ranks import Ranks

UNLIMITED = 2**62
"""a number of bytes that no batch exceeds"""


@contextlib.contextmanager
def offline_surface(
    pl_module: Any, batches: Sequence[Any], anchors: Mapping[str, Params], loss_fn: LossFn | None = None
) -> Iterator[LossSurface]:
    """Open the loss of a module outside of any fit as a function of all its parameters, frozen ones included.

    The loss is that of ``training_step`` on these batches, in evaluation mode: there is no dropout, and the statistics
    of BatchNorm are collected anew at each point. In the step, ``self.trainer`` is a trainer that has not started; if
    the step needs more than that, give `loss_fn` or define ``landscape_loss(self, batch)``. The module is restored
    afterwards.

    Args:
        pl_module: the module; it is evaluated on its present device.
        batches: the batches, on that device, as `training_step` takes them.
        anchors: points by their names.
        loss_fn: called instead of ``training_step``.

    Yields:
        the surface; its `here` is the present weights of the module

    A `SurfaceError` is raised if the module cannot be evaluated; its message says why.
    """
    with (
        _attached_to_trainer(pl_module) as trainer,
        isolated(host := LightningHost(trainer, pl_module), Weights(pl_module)) as isolation,
    ):
        probe_set = ProbeSet(max(1, len(batches)), max_bytes=UNLIMITED)
        for position, batch in enumerate(batches):
            probe_set.capture(pl_module, batch, position)
        training_step = TrainingStep(host, isolation, loss_fn)
        captured = tuple(batch for half in probe_set.halves for batch in half)
        require_copies(isolation, training_step, captured)
        evaluator = Evaluator(isolation, training_step, Ranks(host), "eval")
        measured = MeanLoss(evaluator, captured)
        try:
            evaluator.require_reproducible(measured.batches[0])
            yield assemble(measured, None, anchors, RunContext())
        finally:
            evaluator.open = False


@contextlib.contextmanager
def _attached_to_trainer(pl_module: Any) -> Iterator[Trainer]:
    """Attach a new trainer, set training mode and let all parameters require gradients; undo this afterwards.

    Yields:
        the trainer, which has not started
    """
    previous_trainer = trainer_of(pl_module)
    modes = {module: module.training for module in pl_module.modules()}
    flags = {p: p.requires_grad for p in pl_module.parameters() if _can_require_grad(p)}
    trainer = _unstarted_trainer()
    try:
        pl_module.trainer = trainer
        # The surface collects statistics for those BatchNorm layers that it finds in training mode.
        pl_module.train()
        for parameter in flags:
            parameter.requires_grad_()
        yield trainer
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
        for module, mode in modes.items():
            module.training = mode
        pl_module.trainer = previous_trainer


def _can_require_grad(parameter: nn.Parameter) -> bool:
    return parameter.is_floating_point() or parameter.is_complex()


def _unstarted_trainer() -> Trainer:
    # The constructor logs which accelerators it uses, which would mislead: nothing is trained.
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        return Trainer(
            accelerator="auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    finally:
        logger.setLevel(level)
