"""What a probe may know of the training run behind a loss surface: its optimizer, its batches and its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor

from lightning_landscape.observations import Activation, SeenOutputs, StepEvaluation
from lightning_landscape.trace import Trace

Params: TypeAlias = Mapping[str, Tensor]
"""A point in parameter space: tensors by the names of ``module.named_parameters()``; tied weights appear once."""
OptimizerStep: TypeAlias = Callable[[Params, Sequence[Tensor]], None]
"""Takes a point and the gradient there, and moves the tensors of the point in place by one optimizer step. It may
change the gradient, as clipping does, and keeps the optimizer's state from call to call, so every call must pass the
same point."""


@dataclass(frozen=True)
class Roles:
    """Which entries of a batch are targets, and whether the inputs vary."""

    targets: tuple[tuple[Any, ...], ...]
    """paths to the entries that the training step uses in the loss but does not pass to the model; a path is the
    indices, keys and attribute names that lead to the entry, such as ``(1, "label")``; empty where there is no such
    entry"""
    inputs_vary: bool = True
    """whether the inputs of different samples differ; True where this cannot be determined"""


@dataclass(frozen=True)
class Pairing:
    """The losses needed to test whether the loss depends on which input comes with which target."""

    paired_losses: tuple[Callable[[Params], Tensor], ...]
    """the loss on each held-out batch"""
    roles: Callable[[], Roles]
    """finds the targets among the entries of a batch"""
    mispaired_losses: Callable[[Sequence[tuple[Any, ...]]], tuple[Callable[[Params], Tensor], ...]]
    """takes the paths of the targets, and returns the loss on each held-out batch with these targets exchanged between
    samples; a loss is NaN where the training step fails on such a batch"""
    tries: int = 0
    """largest number of forward passes of one batch that `roles` needs; 0 where no entry can be a target"""

    @property
    def forward_passes(self) -> int:
        """Largest number of forward passes of one batch that the test needs; three cost about as much as a gradient."""
        return self.tries + (2 if self.tries else 1) * len(self.paired_losses)


@dataclass(frozen=True)
class RunContext:
    """Facts about the training run behind a surface; the defaults describe a function without a run."""

    optimizer_copy: Callable[[float], OptimizerStep] | None = None
    """takes a factor for the learning rate, and returns the step of a copy of the run's optimizer with its present
    state; None where the optimizer cannot be copied"""
    fresh_optimizer: Callable[[float], OptimizerStep] | None = None
    """takes a factor for the learning rate, and returns the step of a copy of the run's optimizer with an empty state.
    Factor 1 is the rate that the run has used most, not one that was decayed since; None where the optimizer cannot be
    copied"""
    reinitialize: Callable[[int], Params] | None = None
    """takes a seed, and returns new initial weights, drawn as the layers' ``reset_parameters`` draws them; None where
    weights cannot be drawn"""
    anchor_steps: Mapping[str, int] = field(default_factory=dict)
    """optimizer steps of those anchors whose step is known, by the names in `LossSurface.anchors`; "initial" has 0"""
    frozen_since: Callable[[str], Params] | None = None
    """takes the name of an anchor, and returns those weights of it that have changed since and require no gradient now;
    the losses accept them in addition to the parameters of `LossSurface.here`; None where there are no such weights"""
    activations: Callable[[Params], Mapping[str, Activation]] | None = None
    """takes a point, evaluates the loss there, and returns the outputs of every activation layer by the layer's name;
    None where there is no module"""
    trace: Callable[[], Trace] | None = None
    """evaluates one batch at the present weights, and returns the operations of the training step; None where there is
    no module, or where it cannot be traced"""
    entries: Callable[[], Sequence[Mapping[tuple[Any, ...], Tensor]]] | None = None
    """returns the tensors of each captured batch by their paths, as in `Roles`, in the order of the batches; they must
    not be changed in place; None where there are no batches"""
    first_layer_input: Callable[[Params], tuple[str, Activation] | None] | None = None
    """takes a point, evaluates the loss of one batch there, and returns the name and kind of the first layer with
    weights, with the numbers that it receives; None where there is no module, or no such layer"""
    step_evaluations: tuple[Callable[[Params], StepEvaluation], ...] = ()
    """for each captured batch, held-out ones included, a function that evaluates the training step at a point and finds
    what made the first value that is not finite; empty where there is no module. Each call costs one gradient, and a
    second one if the loss or its gradient is not finite"""
    outputs: Callable[[Params], SeenOutputs] | None = None
    """takes a point, evaluates the loss of the first two batches there, and returns what is seen of the outputs; None
    where there is no module"""
    lowest_loss: Callable[[Params], float | None] | None = None
    """takes a point, and returns the lowest loss of the first batch if the outputs of the layers next to the loss could
    take any values; -inf if it has no lowest value; None where that was not found, or where there is no module"""
    lent_weights: Callable[[], AbstractContextManager[dict[str, Tensor]]] | None = None
    """returns a context that lends tensors with the values of `LossSurface.here`, which may be changed in place; None
    where there is no module. `LossSurface.working_copy` uses it"""
    optimizer_bytes: int = 0
    """bytes of the state of the run's optimizer; 0 where there is none"""
    floor: float | None = None
    """the lowest possible loss, from which shares of a loss are measured; None where it was not looked for"""
    weight_decay: float = 0.0
    """weight decay of the run's optimizer; the largest where it has several"""
    decoupled_decay: bool = False
    """whether the decay shrinks the weights directly (AdamW) instead of being added to the gradient"""
    samples: int = 0
    """number of samples that `LossSurface.loss` averages over; 0 where unknown"""
    batch_samples: float = 0.0
    """number of samples in one batch, the harmonic mean where batches differ; 0 where unknown"""
    held_out_batches: int = 1
    """number of batches that `LossSurface.held_out` averages over"""
    kept: MutableMapping[str, Any] | None = None
    """what probes keep for the next diagnosis of the same plateau, each under a name of its own: builtins and tensors
    on the CPU, which go into checkpoints; None where nothing can be kept"""
    gradient_budget: int | None = None
    """number of gradients of one batch that the probe may compute; None for no limit"""
    restart_order: tuple[str, ...] = ("own", "tenth", "hundredth", "adam")
    """kinds of restarts, named like the fields of `Restart`, those first that can decide most after what is known;
    "usual_rate" only if the learning-rate schedule has come to an end"""
