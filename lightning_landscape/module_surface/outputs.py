"""See the outputs of the layers next to the loss, the calls of loss functions, and every softmax, in one evaluation."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from lightning_landscape.module_surface.attention import saturated_share
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.operations import Followed, Operation, followed_operations, tensors_in
from lightning_landscape.observations import LayerOutput, LossCall, SeenOutputs, batches_seen
from lightning_landscape.surface import Params

MAX_SAMPLES, MAX_UNITS = 64, 1024
"""largest numbers of samples of a batch, and of units of each sample, that are kept of an output"""
MAX_ENTRIES = 16
"""largest number of tensors of a batch that are followed"""
COPIES = frozenset({"clone", "detach", "requires_grad_", "to", "contiguous", "cpu", "cuda"})
"""names of functions that copy a tensor of a batch, and use nothing of it"""
RESHAPES = frozenset({
    "float",
    "long",
    "int",
    "double",
    "squeeze",
    "unsqueeze",
    "view",
    "reshape",
    "flatten",
    "__get__",
})
"""names of functions that give a tensor of a batch another shape or type, and use nothing of it"""
MAX_LAYERS = 64
"""of more layers than this, the last ones are kept"""
MAX_VALUES = 2**20
"""largest number of values in the prediction or the target of a call of a loss function that is kept"""
LOSSES = {
    "cross_entropy": ("weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"),
    "mse_loss": ("size_average", "reduce", "reduction"),
    "l1_loss": ("size_average", "reduce", "reduction"),
    "binary_cross_entropy": ("weight", "size_average", "reduce", "reduction"),
    "binary_cross_entropy_with_logits": ("weight", "size_average", "reduce", "reduction", "pos_weight"),
}
"""the loss functions that are kept, and the names of their arguments after prediction and target"""


def see_outputs(measured: MeanLoss, point: Params) -> SeenOutputs:
    """Return what one evaluation of the first batches at `point` shows of the outputs."""
    seen: list[_Batch] = []
    batches = measured.batches[: batches_seen(len(measured.batches), measured.batches[0].samples)]
    few = replace(measured, batches=batches)
    watching = _Watching(few, seen)
    with followed_operations(few.evaluator, watching.watch, watching.finish, {}):
        loss = float(few.value(point))
    softmax: dict[str, list[float]] = defaultdict(list)
    for batch in seen:
        for place, share in batch.softmax:
            softmax[place].append(share)
    return SeenOutputs(
        loss=loss,
        loss_of_means=partial(_loss_of_means, few, point, [batch.last for batch in seen]),
        layers=_joined_layers(seen),
        loss_calls=_joined_calls(seen),
        targets=_joined_targets(seen),
        softmax={place: sum(shares) / len(shares) for place, shares in softmax.items()},
    )


def _loss_of_means(measured: MeanLoss, point: Params, last: list[frozenset[int]]) -> float:
    """Return the loss if the outputs next to the loss, given by their indices in each batch, are replaced by means."""
    losses = []
    for batch, indices in zip(measured.batches, last, strict=True):
        replaced = partial(_mean_output, indices, batch.samples)
        with followed_operations(measured.evaluator, replaced, lambda _: None, {}):
            losses.append(float(replace(measured, batches=(batch,)).value(point)))
    return sum(losses) / len(losses)


def _mean_output(last: frozenset[int], samples: int | None, operation: Operation) -> Tensor | None:
    """Return the mean over samples, in the shape of the output, for the outputs next to the loss."""
    output = operation.output
    if operation.index not in last or not output.is_floating_point():
        return None
    return output.mean(_sample_dimension(output, samples), keepdim=True).expand_as(output).clone()


@dataclass
class _Batch:
    """What the evaluation of one batch has shown."""

    layers: list[LayerOutput] = field(default_factory=list)
    loss_calls: list[LossCall] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    softmax: list[tuple[str, float]] = field(default_factory=list)
    last: frozenset[int] = frozenset()
    """indices of the layers next to the loss"""


class _Watching:
    """Collects what each operation shows, batch by batch."""

    def __init__(self, measured: MeanLoss, seen: list[_Batch]) -> None:
        self._samples = [batch.samples for batch in measured.batches]
        self._seen = seen
        self._begin()

    def _begin(self) -> None:
        self._batch = _Batch()
        self._layers: dict[int, tuple[str, Tensor]] = {}
        self._entries: dict[int, Tensor] = {}
        self._first_use: dict[int, int] = {}
        self._softmax: list[tuple[int, str, float, bool]] = []

    def watch(self, operation: Operation) -> None:
        """Keep what the operation shows: of a layer, of the batch, of a loss function or of a softmax."""
        samples = self._samples[min(len(self._seen), len(self._samples) - 1)]
        if operation.is_layer and operation.output.is_floating_point():
            rows = _rows(operation.output, samples)
            if rows is not None:
                self._layers[operation.index] = operation.place, rows
                if len(self._layers) > MAX_LAYERS:
                    del self._layers[next(iter(self._layers))]
        if operation.name in LOSSES:
            self._keep_loss_call(operation)
        self._follow_entries(operation, samples)
        share = saturated_share(operation)
        if share is not None:
            self._softmax.append((operation.index, operation.place, share, operation.is_layer))

    def _follow_entries(self, operation: Operation, samples: int | None) -> None:
        """Keep tensors of the batch with one row per sample, and when each is used first."""
        inputs = list(tensors_in((*operation.arguments, *operation.keywords.values())))
        output = operation.output
        from_batch = not self._layers and operation.name in COPIES
        if from_batch or (operation.name in RESHAPES and any(id(tensor) in self._entries for tensor in inputs)):
            if output.ndim and len(output) == samples and len(self._entries) < MAX_ENTRIES:
                self._entries[id(output)] = output
            return
        for tensor in inputs:
            if id(tensor) in self._entries:
                self._first_use.setdefault(id(tensor), operation.index)

    def finish(self, followed: Followed) -> None:
        """Add what was collected in one batch."""
        self._batch.layers = [
            LayerOutput(place, rows, index in followed.fed_the_loss) for index, (place, rows) in self._layers.items()
        ]
        self._batch.last = followed.fed_the_loss.intersection(self._layers)
        # What is used before the last layer is an input, or may be one, such as the class that a model generates.
        after = max(self._batch.last, default=-1)
        self._batch.targets = [
            _first_rows(tensor) for key, tensor in self._entries.items() if self._first_use.get(key, -1) > after
        ]
        # A softmax whose result only the loss uses is no attention and no gate.
        self._batch.softmax = [
            (place, share)
            for index, place, share, is_layer in self._softmax
            if is_layer or index in followed.fed_a_layer
        ]
        self._seen.append(self._batch)
        self._begin()

    def _keep_loss_call(self, operation: Operation) -> None:
        prediction, target = operation.argument(0, "input"), operation.argument(1, "target")
        if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
            return
        if prediction.numel() > MAX_VALUES or target.numel() > MAX_VALUES:
            return
        settings = {
            name: value
            for position, name in enumerate(LOSSES[operation.name], 2)
            if (value := operation.argument(position, name)) is not None
        }
        function = getattr(functional, operation.name)
        self._batch.loss_calls.append(LossCall(function, prediction.detach(), target.detach(), settings))


def _sample_dimension(output: Tensor, samples: int | None) -> int:
    """Return the dimension that counts samples: the first one whose length is a multiple of their number, else 0."""
    if samples and output.shape[0] % samples and output.ndim > 2 and output.shape[1] == samples:
        return 1
    return 0


def _rows(output: Tensor, samples: int | None) -> Tensor | None:
    """Return a row for each of the first samples, with at most `MAX_UNITS` units; None if there is one sample only."""
    rows = output.detach().movedim(_sample_dimension(output, samples), 0)
    return None if len(rows) < 2 or not rows.numel() else _first_rows(rows).float()


def _first_rows(tensor: Tensor) -> Tensor:
    """Return a copy of the first samples on the host, shape (samples, units), with at most `MAX_UNITS` units."""
    rows = tensor.detach()[:MAX_SAMPLES].flatten(1) if tensor.ndim > 1 else tensor.detach()[:MAX_SAMPLES, None]
    if rows.shape[1] > MAX_UNITS:
        rows = rows[:, torch.linspace(0, rows.shape[1] - 1, MAX_UNITS, device=rows.device).long()]
    return rows.to(device="cpu", copy=True)


def _joined_layers(seen: list[_Batch]) -> tuple[LayerOutput, ...]:
    """Return the layers of all batches; those of the first batch if another one has other layers."""
    first = seen[0].layers if seen else []
    shapes = [[(layer.layer, layer.values.shape[1], layer.next_to_loss) for layer in batch.layers] for batch in seen]
    alike = [batch.layers for batch, shape in zip(seen, shapes, strict=True) if shape == shapes[0]]
    return tuple(
        replace(layer, values=torch.cat([layers[i].values for layers in alike])) for i, layer in enumerate(first)
    )


def _joined_calls(seen: list[_Batch]) -> tuple[LossCall, ...]:
    """Return the calls of loss functions, each with the samples of all batches."""
    first = seen[0].loss_calls if seen else []
    calls = []
    for i, call in enumerate(first):
        others = [batch.loss_calls[i] for batch in seen[1:] if len(batch.loss_calls) == len(first)]
        alike = [call, *(other for other in others if _fit(call, other))]
        if len(alike) > 1:
            prediction = torch.cat([other.prediction for other in alike])
            call = replace(call, prediction=prediction, target=torch.cat([other.target for other in alike]))
        calls.append(call)
    return tuple(calls)


def _fit(call: LossCall, other: LossCall) -> bool:
    def layout(call: LossCall) -> tuple[object, ...]:
        return call.function, call.prediction.shape[1:], call.target.shape[1:], call.target.dtype

    per_sample = call.prediction.ndim > 0 and call.target.ndim > 0
    return per_sample and layout(call) == layout(other)


def _joined_targets(seen: list[_Batch]) -> tuple[Tensor, ...]:
    """Return the targets of all batches, as far as these have equally many of the same width."""
    return tuple(
        torch.cat([target for target in targets if target.shape[1] == targets[0].shape[1]])
        for targets in zip(*(batch.targets for batch in seen), strict=False)
    )
