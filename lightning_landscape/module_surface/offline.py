"""The loss surface of a LightningModule that is not being trained: finished runs, looked at side by side."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
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
from lightning_landscape.trainer._compat import forced_eager, trainer_of
from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.ranks import Ranks

UNLIMITED = 2**62


@contextlib.contextmanager
def offline_surface(
    pl_module: Any, batches: Sequence[Any], anchors: Mapping[str, Params], loss_fn: LossFn | None = None
) -> Iterator[LossSurface]:
    """Open the loss of a module outside of any fit as a function of all its parameters, frozen ones included.

    The loss is that of ``training_step`` on these batches, in evaluation mode: no dropout, and every BatchNorm with
    statistics collected anew at each point. The step finds a trainer that has not begun; where it needs more than that,
    `loss_fn` or a method ``landscape_loss(self, batch)`` takes its place. Afterwards the module is as it was.

    Args:
        pl_module: the module; it is evaluated on the device where it is.
        batches: as its `training_step` takes them, on that device.
        anchors: points by their names.
        loss_fn: what to evaluate in place of ``training_step``.

    Yields:
        the surface, whose `here` is the module's present weights

    A `SurfaceError` says why a module cannot be evaluated.
    """
    with (
        _borrowed(pl_module) as trainer,
        isolated(host := LightningHost(trainer, pl_module), Weights(pl_module)) as isolation,
    ):
        probe_set = ProbeSet(max(1, len(batches)), max_bytes=UNLIMITED)
        for position, batch in enumerate(batches):
            probe_set.capture(pl_module, batch, position)
        with torch.inference_mode(mode=False), torch.enable_grad(), forced_eager():
            replay = TrainingStep(host, isolation, loss_fn)
            captured = tuple(held for half in probe_set.halves for held in half)
            require_copies(isolation, replay, captured)
            evaluator = Evaluator(isolation, replay, Ranks(host), "eval")
            measured = MeanLoss(evaluator, captured)
            try:
                evaluator.require_reproducible(measured.batches[0])
                yield assemble(measured, None, anchors, RunContext())
            finally:
                evaluator.open = False


@contextlib.contextmanager
def _borrowed(pl_module: Any) -> Iterator[Trainer]:
    """Give the module a trainer that has not begun, training mode and nothing frozen, and take all of it back.

    Yields:
        that trainer
    """
    before = trainer_of(pl_module)
    modes = {module: module.training for module in pl_module.modules()}
    flags = {parameter: parameter.requires_grad for parameter in pl_module.parameters() if _is_real(parameter)}
    trainer = _unstarted_trainer()
    try:
        pl_module.trainer = trainer
        # What BatchNorm collects at other weights it collects in training mode; all else is evaluated without.
        pl_module.train()
        for parameter in flags:
            parameter.requires_grad_()
        yield trainer
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
        for module, mode in modes.items():
            module.training = mode
        pl_module.trainer = before


def _is_real(parameter: nn.Parameter) -> bool:
    return parameter.is_floating_point() or parameter.is_complex()


def _unstarted_trainer() -> Trainer:
    # It would announce its accelerators, although nothing is trained.
    voice = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    level = voice.level
    try:
        voice.setLevel(logging.ERROR)
        return Trainer(
            accelerator="auto",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    finally:
        voice.setLevel(level)
