"""Has the loss stopped falling? One record per optimizer step goes in; the answer is an attribute."""

from __future__ import annotations

from typing import NamedTuple


class StepRecord(NamedTuple):
    """What was measured of one optimizer step, in plain numbers; None stands for "not measured at this step"."""

    step: int
    """the x at which the loggers put this step's `train_loss`, from 0"""
    optimizer: int
    """which of the trainer's optimizers"""
    loss: float | None
    """mean training loss over the micro-batches of this step; NaN and inf are data"""
    learning_rate: float
    stepped: bool
    """whether the weights could move: False for a step skipped by a GradScaler or without any gradient"""
    grad_norm: float | None = None
    """global norm of the accumulated, unscaled gradient before clipping"""
    grad_norm_clipped: float | None = None
    """the same after clipping: what the optimizer used"""
    group_norms: tuple[float | None, ...] | None = None
    """`grad_norm` by group of parameters, in the order of `StepRecorder.groups`; None for a group without gradient"""
    missing: float | None = None
    """share of the parameters that require a gradient and got none, in [0, 1]"""
    update_norm: float | None = None
    """|Δw| of this step"""
    weight_norm: float | None = None
    """|w| before this step"""
    predicted: float | None = None
    """|g·Δw| with the gradient before clipping: the first-order change of the loss"""
