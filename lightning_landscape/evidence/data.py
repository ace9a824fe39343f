"""Readings of the captured batches: what their entries contain, and whether their inputs predict their targets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EntryContents:
    """What one entry of the batches contains, over all captured batches."""

    name: str
    """the indices, keys or attribute names that lead to it, as in "1" or "image.pixels"; empty for the batch itself"""
    target: bool
    """whether only the loss uses it, and not the model"""
    size: float
    """root mean square of its finite values; 0 if it has none"""
    mean_size: float
    """mean of their absolute values"""
    spread: float
    """standard deviation of its finite values"""
    values: int
    """number of values that were checked"""
    not_finite: int = 0
    """number of these that are NaN or infinite; the ``-inf`` of a mask, which holds one other value, do not count"""
    varies: bool = True
    """whether any two samples differ"""


@dataclass(frozen=True)
class BatchContents:
    """What the captured batches contain."""

    batches: int
    """number of batches"""
    entries: tuple[EntryContents, ...]
    """the tensors in them"""
    repeated: int = 0
    """number of batches that equal an earlier one in every value"""
    class_shares: tuple[float, ...] = ()
    """share of the most frequent class in each batch; empty unless the target is one class for each sample"""
    classes: int = 0
    """number of distinct classes in all batches; 0 unless the target is one class for each sample"""
    highest_class: int | None = None
    """largest class index in all batches; None unless the target is one class index for each sample"""
    order: float | None = None
    """how much likelier two samples of one batch share their class than two of different batches: about 0 if the data
    are shuffled, 1 if each batch holds one class of its own; for targets that are numbers, their intraclass correlation
    in a batch; None unless there are two distinct targets and two batches"""
    inputs_vary: bool = True
    """whether the inputs of different samples differ; True where this cannot be determined"""
    first_layer: str | None = None
    """name of the first layer with weights that the model calls on numbers; None where none was seen"""
    first_layer_kind: str = ""
    """class name of that layer"""
    input_size: float = 0.0
    """root mean square of the inputs of that layer; 0 where none was seen"""
    feature_sizes: tuple[float, float] | None = None
    """smallest and largest root mean square of one of its input features that is not always 0; None where there are
    fewer than two"""


@dataclass(frozen=True)
class LinearFit:
    """How well a linear regression on the inputs of the captured batches predicts targets that it has not seen."""

    explained: float
    """share of the targets' variance that it explains of samples left out; below 0, their mean predicts better"""
    by_chance: float
    """the largest such share of 49 fits to targets that were exchanged between the samples"""
    samples: int
    """number of samples with different inputs"""

    @property
    def helps(self) -> bool:
        """Whether the inputs help to predict the targets, more than chance explains."""
        return self.explained > max(0.0, self.by_chance)
