"""`StepRecord`: what was measured at one optimizer step."""

from __future__ import annotations

from typing import NamedTuple


class StepRecord(NamedTuple):
    """The numbers that were measured at one optimizer step; None if a number was not measured at this step."""

    step: int
    """position of this step's `train_loss` on the x axis of the loggers, from 0"""
    optimizer: int
    """index of the optimizer among the trainer's optimizers"""
    loss: float | None
    """mean training loss over the micro-batches of this step; it may be NaN or inf"""
    learning_rate: float | None
    """learning rate of this step, or of the last step before it at which more than the loss was read; None if the
    optimizer has none"""
    stepped: bool
    """whether the weights could move: False if a GradScaler skipped the step, or if there was no gradient at all"""
    grad_norm: float | None = None
    """global norm of the accumulated, unscaled gradient before clipping"""
    grad_norm_clipped: float | None = None
    """global norm of the gradient after clipping, as the optimizer used it"""
    group_norms: tuple[float | None, ...] | None = None
    """`grad_norm` of each group of parameters in `StepRecorder.groups`; None for a group without gradient"""
    no_grad_share: float | None = None
    """share of the parameters with `requires_grad=True` that received no gradient, in [0, 1]"""
    update_norm: float | None = None
    """|Δw|; like |w| and g·Δw, it is estimated from an eighth of the entries of large tensors"""
    weight_norm: float | None = None
    """|w| before this step"""
    predicted: float | None = None
    """|g·Δw| with the gradient before clipping: the first-order change of the loss"""
