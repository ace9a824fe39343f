"""Whether the inputs of the captured batches predict their targets, which a network may not have found yet."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.evidence import LinearFit
from lightning_landscape.functional.linear_fit import explained_when_left_out
from lightning_landscape.probes.data import classes_of, is_target
from lightning_landscape.surface import LossSurface, costs

MAX_SAMPLES, MAX_FEATURES, MAX_UNITS = 256, 2048, 64
"""the regression takes this many samples, input features and target units at most: about as long as ten steps of a
small network. Of larger inputs it takes features at equal distances"""


def _cost(surface: LossSurface) -> float:
    """Return the forward passes that find the targets, in gradients."""
    return 0.0 if surface.pairing is None else surface.pairing.tries / 3


@costs(_cost)
def linear_fit(surface: LossSurface) -> LinearFit | None:
    """Return how well a linear regression on the inputs predicts the targets.

    None where the batches have no inputs and targets with one row for each sample, or too few different samples.
    """
    captured = [] if surface.run.entries is None else [batch for batch in surface.run.entries() if batch]
    if not captured or surface.pairing is None:
        return None
    roles = surface.pairing.roles()
    rows = {path: _rows([batch[path] for batch in captured if path in batch]) for path in captured[0]}
    targets = next((_numbers(values) for path, values in rows.items() if is_target(path, roles)), None)
    if targets is None:
        return None
    of_model = [values for path, values in rows.items() if not is_target(path, roles) and len(values) == len(targets)]
    if not of_model:
        return None
    inputs = _thinned(torch.cat([_flat(values) for values in of_model], 1), MAX_FEATURES)
    shares = explained_when_left_out(inputs[-MAX_SAMPLES:], targets[-MAX_SAMPLES:])
    return None if shares is None else LinearFit(*shares, samples=min(len(inputs), MAX_SAMPLES))


def _rows(batches: list[Tensor]) -> Tensor:
    """Return the samples of all batches, on the CPU; none where their shapes differ."""
    alike = all(batch.ndim and batch.shape[1:] == batches[0].shape[1:] for batch in batches)
    return torch.cat([batch.detach().cpu() for batch in batches]) if alike else torch.zeros(0, 1)


def _numbers(targets: Tensor) -> Tensor | None:
    """Return the targets as numbers, shape (samples, units): of classes, 1 for the class of a sample and else 0."""
    classes = classes_of([targets]) if len(targets) else []
    if not classes:
        return _thinned(_flat(targets), MAX_UNITS) if len(targets) else None
    found, places = torch.unique(classes[0], return_inverse=True)
    return torch.nn.functional.one_hot(places, len(found)).float() if len(found) <= MAX_UNITS else None


def _flat(values: Tensor) -> Tensor:
    return values.reshape(len(values), -1).float()


def _thinned(columns: Tensor, most: int) -> Tensor:
    """Return at most this many columns, at equal distances."""
    return columns[:, :: -(-columns.shape[1] // most)] if columns.shape[1] > most else columns
