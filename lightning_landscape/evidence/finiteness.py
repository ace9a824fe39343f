"""The reading of a run whose loss is not finite: what made the first value that is not finite."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotFinite:
    """What made the first value that is not finite, found by evaluating training steps at weights that are finite."""

    where: str
    """"forward" for a value of the loss, "backward" for a gradient, "batch" for an entry of the batch, "weights" for an
    optimizer step that made the weights not finite although its gradient is finite"""
    operation: str = ""
    """name of the operation, such as "sqrt"; of the batch's entry, such as "batch[0]"; empty for weights"""
    module: str = ""
    """name of the submodule whose code calls the operation; of the method, where the LightningModule itself calls it"""
    place: str = ""
    """file and line of the call, such as "train.py, line 41"; empty where it is not known"""
    code: str = ""
    """the source text of that line; empty where it is not known"""
    after: str = ""
    """"softmax" or "sigmoid" if the operation takes the outcome of one; empty otherwise"""
    written: bool = False
    """whether the code itself writes the value, as in ``x.masked_fill(mask, -inf)`` or ``loss * float("nan")``"""
    dtype: str = ""
    """type of the values: "float32" or another one"""
    outcome: str = "nan"
    """the value, which is "nan", "inf" or "-inf" as text"""
    inputs: tuple[float, ...] = ()
    """what the operation was given at the place where it failed, in the order of its arguments; empty if not known"""
    entries: int | None = None
    """number of values that it was given; None where it takes no tensor"""
    largest: float = 0.0
    """largest absolute value of its finite inputs"""
    step: int | None = None
    """optimizer steps of the run after which it had the weights of this evaluation; None where they are not known"""
    repeated: int = 0
    """optimizer steps that were taken from there on a copy of the weights, until the value was not finite"""
    growth: float | None = None
    """largest weight there over the largest initial weight; None where the initial weights are not known, or all 0"""
