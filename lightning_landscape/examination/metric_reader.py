"""Read logged metrics without computing them, and without waiting for the device after each step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

Value = tuple[str, int, float]
"""name of a metric, the step after which it was logged, and its value"""


class MetricReader:
    """Finds out which metrics were logged anew, and turns them into numbers.

    Lightning keeps the latest value of each metric, so an old value stays until there is a new one. A new value is a
    new tensor; the latest one is kept here, so that no other tensor can take its place in memory.
    """

    def __init__(self) -> None:
        self._latest: dict[str, Any] = {}
        self._waiting: list[tuple[str, int, Any]] = []
        self._before: dict[str, Any] = {}

    def __reduce__(self) -> tuple[type[MetricReader], tuple[()]]:
        """Return how copies and pickles are made: empty, since they watch no run."""
        return MetricReader, ()

    def take(self, metrics: Mapping[str, Any], names: Iterable[str], step: int) -> int:
        """Add the new values of the metrics with these names to those that `drain` returns, and return their number."""
        count = 0
        for name in names:
            value, latest = metrics.get(name), self._latest.get(name)
            if value is not None and not _same(value, latest):
                self._latest[name] = value
                self._waiting.append((name, step, value))
                count += 1
        return count

    def begin_validation(self, metrics: Mapping[str, Any]) -> None:
        """Keep the values before a validation."""
        self._before = dict(metrics)

    def of_validation(self, metrics: Mapping[str, Any]) -> list[str]:
        """Return the names of the metrics that were logged since `begin_validation`."""
        names = [name for name, value in metrics.items() if not _same(value, self._before.get(name))]
        self._before = {}
        return [name for name in names if not name.startswith("landscape/")]

    def drain(self) -> list[Value]:
        """Return the values that were added since the last call, as numbers: NaN for what is no single number."""
        waiting, self._waiting = self._waiting, []
        on_device = [value for _, _, value in waiting if _is_number_on_device(value)]
        numbers = iter(torch.stack([v.detach().reshape(()).float() for v in on_device]).tolist() if on_device else ())
        return [
            (name, step, next(numbers) if _is_number_on_device(value) else _number(value))
            for name, step, value in waiting
        ]


def _same(value: Any, other: Any) -> bool:
    """Return whether both are the same value of Lightning's, which gives out a new view of a tensor each time."""
    if isinstance(value, Tensor) and isinstance(other, Tensor) and value.device == other.device:
        return value is other or (value.data_ptr() == other.data_ptr() != 0)
    return value is other


def _is_number_on_device(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type != "cpu" and value.numel() == 1


def _number(value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
