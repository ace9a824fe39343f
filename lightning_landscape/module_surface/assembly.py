"""Make a `LossSurface` from the mean losses of a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from lightning_landscape.module_surface.autograd import differentiable
from lightning_landscape.module_surface.contents import entries_of, first_layer_input
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.pairing import pairing_of
from lightning_landscape.module_surface.weights import Anchor
from lightning_landscape.surface import LossSurface, Params, RunContext


def assemble(
    measured: MeanLoss, held_out: MeanLoss | None, anchors: Mapping[str, Params], run: RunContext
) -> LossSurface:
    """Return the surface with these losses.

    Args:
        measured: the mean loss over the batches with which probes measure.
        held_out: the mean loss over the held-out batches; None if there are none.
        anchors: earlier points of the run by their names.
        run: facts about the run; its samples, batches and their entries are replaced.
    """
    here = measured.evaluator.weights.present_point
    return LossSurface(
        loss=differentiable(measured),
        here=here,
        anchors={name: Anchor(name, point, here) for name, point in anchors.items()},
        held_out=None if held_out is None else differentiable(held_out),
        batch_losses=tuple(differentiable(replace(measured, batches=(batch,))) for batch in measured.batches),
        held_out_losses=(
            ()
            if held_out is None
            else tuple(differentiable(replace(held_out, batches=(batch,))) for batch in held_out.batches)
        ),
        run=replace(
            run,
            samples=measured.samples,
            batch_samples=measured.samples_of_a_batch(),
            entries=partial(entries_of, measured.batches, () if held_out is None else held_out.batches),
            first_layer_input=partial(first_layer_input, measured),
            held_out_batches=0 if held_out is None else len(held_out.batches),
        ),
        pairing=None if held_out is None else pairing_of(held_out),
    )
