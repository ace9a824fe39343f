"""Label runs: train them beyond their horizon, evaluate the loss without noise, and find its plateaus.

The gap is the difference between this loss and the lowest loss that can be reached. A plateau is a stretch in which the
gap takes at least 15% of the horizon to fall by 3%, and exceeds 15% of the difference between the trivial loss and the
lowest one. A stretch in which the gap takes 7 to 15% of the horizon, or is 5 to 15% of this difference, is ambiguous:
alarms in it do not count.
"""

from __future__ import annotations

import copy
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.stuck_runs.problem import Configuration, Problem
from benchmarks.stuck_runs.training import run

LABELS = Path(__file__).with_name("labels.json")
FALL = 0.03
"""relative fall of the gap that ends a plateau"""
LONG, SHORT = 0.15, 0.07
"""least length of a plateau and of an ambiguous stretch, as shares of the horizon"""
HIGH, LOW = 0.15, 0.05
"""least gap in a plateau and in an ambiguous stretch, as shares of the difference of trivial and lowest loss"""
GRID = 100
"""evaluations per horizon"""

Interval = tuple[int, int]
"""first and last optimizer step"""


@dataclass(frozen=True)
class Label:
    """The measured label of one run."""

    label: str
    """ "healthy", "stuck", or "ambiguous", which is not scored"""
    horizon: int
    """length of the run in optimizer steps"""
    kind: str
    """`Cause` of a stuck run; for a healthy one, a word for the shape of its loss"""
    accepts: tuple[str, ...]
    """other causes that would also be right"""
    stuck: tuple[Interval, ...]
    """plateaus"""
    ambiguous: tuple[Interval, ...]
    """stretches in which alarms do not count"""


def noise_free_loss(problem: Problem, step: int) -> float:
    """Return the loss on all of the data, without dropout, and with the statistics of these data in BatchNorm."""
    model = problem.model
    normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    model = copy.deepcopy(model) if normalises else model
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    x, y = problem.evaluation_data(step)
    with torch.no_grad():
        loss = float(problem.loss(model(x), y))
    problem.model.train()
    return loss


def noise_free_curve(problem: Problem, seed: int, horizon: int, steps: int) -> list[float]:
    """Return the noise-free loss at every 1% of the horizon up to step `steps`, with infinity instead of NaN."""
    every = max(1, horizon // GRID)
    losses = []
    for step in run(problem, seed, steps + 1):
        if step.index % every == 0:
            loss = noise_free_loss(problem, step.index)
            losses.append(loss if math.isfinite(loss) else math.inf)
    return losses


def plateaus(
    losses: Sequence[float], horizon: int, floor: float, trivial: float
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Return the plateaus and the ambiguous stretches of a run, in optimizer steps.

    Args:
        losses: noise-free losses at every 1% of the horizon, beyond it as well.
        horizon: length of the run in optimizer steps.
        floor: lowest loss that can be reached.
        trivial: loss of the best predictor that ignores its inputs.
    """
    every = max(1, horizon // GRID)
    gaps = [loss - floor for loss in losses]
    # A plateau ends only if the median of three evaluations has fallen, since a single one may be low by chance.
    smooth = [statistics.median_high(gaps[max(0, i - 1) : i + 2]) for i in range(len(gaps))]
    long, short = [], []
    for i, gap in enumerate(gaps[: GRID + 1]):
        end = next(
            (j for j in range(i + 1, len(gaps)) if math.isfinite(smooth[j]) and smooth[j] <= (1 - FALL) * gap), None
        )
        length = math.inf if end is None else (end - i) * every / horizon
        stretch = (i * every, horizon if end is None else min(horizon, end * every))
        if length >= LONG and gap > HIGH * (trivial - floor):
            long.append(stretch)
        elif length >= SHORT and gap > LOW * (trivial - floor):
            short.append(stretch)
    merged = merge(long)
    # A plateau that begins shortly before the end of the run is too short to be detected in it, so it is ambiguous.
    lasting = tuple(interval for interval in merged if interval[1] - interval[0] >= LONG * horizon)
    return lasting, subtract([*short, *(interval for interval in merged if interval not in lasting)], lasting)


def merge(stretches: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return the union as disjoint intervals in ascending order, without empty ones."""
    union: list[Interval] = []
    for start, end in sorted(stretches):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        elif end > start:
            union.append((start, end))
    return tuple(union)


def subtract(stretches: Iterable[Interval], removed: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return the union of `stretches` without the intervals of `removed`."""
    rest = merge(stretches)
    for start, end in removed:
        rest = tuple(piece for a, b in rest for piece in ((a, min(b, start)), (max(a, end), b)) if piece[0] < piece[1])
    return rest


def measure(configuration: Configuration, seed: int) -> Label:
    """Train a run beyond its horizon and return its label, which is "ambiguous" if it is not the intended one."""
    problem, cured, horizon = configuration.problem(seed), configuration.cured(seed), configuration.horizon
    floor = problem.floor
    if floor is None and cured is not None:
        floor = min(noise_free_curve(cured, seed, horizon, horizon))
    future = configuration.future if floor is None else 1.2
    losses = noise_free_curve(problem, seed, horizon, int(future * horizon))
    if floor is None:
        floor = min(losses)
    trivial = losses[0] if problem.trivial is None else problem.trivial
    stuck, ambiguous = plateaus(losses, horizon, floor, trivial)
    mostly_ambiguous = sum(end - start for start, end in ambiguous) > horizon / 2
    as_intended = bool(stuck) if configuration.stuck else not stuck and not mostly_ambiguous
    label = ("stuck" if configuration.stuck else "healthy") if as_intended else "ambiguous"
    return Label(label, horizon, configuration.kind, configuration.accepts, stuck, ambiguous)


def load_labels() -> dict[tuple[str, int], Label]:
    """Return the measured labels by name and seed."""
    labels = {}
    for key, entry in json.loads(LABELS.read_text(encoding="utf-8")).items():
        name, _, seed = key.rpartition("/")
        intervals = {field: tuple((start, end) for start, end in entry[field]) for field in ("stuck", "ambiguous")}
        labels[name, int(seed)] = Label(**{**entry, "accepts": tuple(entry["accepts"]), **intervals})
    return labels


def save_labels(labels: dict[tuple[str, int], Label]) -> None:
    """Write the labels to labels.json, one run in a line."""
    entries = {f"{name}/{seed}": asdict(labels[name, seed]) for name, seed in sorted(labels)}
    lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items()]
    LABELS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
