"""What a run is, told by its own future: the noise-free loss is measured past the horizon, plateaus are read off it.

A plateau is a stretch in which the gap between that loss and the loss that can be reached takes at least 15% of the
horizon to fall by 3%, while the gap exceeds 15% of the way from the trivial to the reachable loss. Where it takes 7 to
15%, or the gap is 5 to 15% of the way, opinions may differ: alarms there are neither counted nor held against anyone.
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
LONG, SHORT = 0.15, 0.07
"""of the horizon"""
HIGH, LOW = 0.15, 0.05
"""of the way from the trivial to the reachable loss"""
GRID = 100
"""evaluations per horizon"""

Interval = tuple[int, int]
"""optimizer steps, from and to"""


@dataclass(frozen=True)
class Label:
    """What one run is."""

    label: str
    """ "healthy", "stuck", or "ambiguous", which is not scored"""
    horizon: int
    kind: str
    """the cause of a stuck run; what a healthy one is like"""
    accepts: tuple[str, ...]
    stuck: tuple[Interval, ...]
    ambiguous: tuple[Interval, ...]


def noise_free(problem: Problem, step: int) -> float:
    """The loss on all of the data, without dropout, and with the statistics of that data in BatchNorm."""
    model = problem.model
    normalises = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
    model = copy.deepcopy(model) if normalises else model
    model.eval()
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.train()
    x, y = problem.truth(step)
    with torch.no_grad():
        loss = float(problem.loss(model(x), y))
    problem.model.train()
    return loss


def curve(problem: Problem, seed: int, horizon: int, steps: int) -> list[float]:
    """The noise-free loss at every 1% of the horizon, up to this many steps; infinite where it is not finite."""
    every = max(1, horizon // GRID)
    losses = []
    for step in run(problem, seed, steps + 1):
        if step.index % every == 0:
            loss = noise_free(problem, step.index)
            losses.append(loss if math.isfinite(loss) else math.inf)
    return losses


def plateaus(
    losses: Sequence[float], horizon: int, floor: float, trivial: float
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """The stuck and the ambiguous stretches of the horizon, in optimizer steps."""
    every = max(1, horizon // GRID)
    gaps = [loss - floor for loss in losses]
    # One lucky evaluation is no escape: the fall has to show in the median of three.
    steady = [statistics.median_high(gaps[max(0, i - 1) : i + 2]) for i in range(len(gaps))]
    long, short = [], []
    for i, gap in enumerate(gaps[: GRID + 1]):
        left = next(
            (j for j in range(i + 1, len(gaps)) if math.isfinite(steady[j]) and steady[j] <= (1 - FALL) * gap), None
        )
        length = math.inf if left is None else (left - i) * every / horizon
        stretch = (i * every, horizon if left is None else min(horizon, left * every))
        if length >= LONG and gap > HIGH * (trivial - floor):
            long.append(stretch)
        elif length >= SHORT and gap > LOW * (trivial - floor):
            short.append(stretch)
    merged = merge(long)
    # What begins too late has to be seen too late: nobody is asked for it.
    lasting = tuple(part for part in merged if part[1] - part[0] >= LONG * horizon)
    return lasting, without([*short, *(part for part in merged if part not in lasting)], lasting)


def merge(stretches: Iterable[Interval]) -> tuple[Interval, ...]:
    """The union, as disjoint intervals in order; empty ones are dropped."""
    union: list[Interval] = []
    for start, end in sorted(stretches):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        elif end > start:
            union.append((start, end))
    return tuple(union)


def without(stretches: Iterable[Interval], taken: Iterable[Interval]) -> tuple[Interval, ...]:
    """The union of the stretches, less what is taken."""
    left = merge(stretches)
    for start, end in taken:
        left = tuple(piece for a, b in left for piece in ((a, min(b, start)), (max(a, end), b)) if piece[0] < piece[1])
    return left


def measure(configuration: Configuration, seed: int) -> Label:
    """Train past the horizon and label the run; a stuck run that is not, or the reverse, is ambiguous."""
    problem, cured, horizon = configuration.problem(seed), configuration.cured(seed), configuration.horizon
    floor = problem.floor
    if floor is None and cured is not None:
        floor = min(curve(cured, seed, horizon, horizon))
    future = configuration.future if floor is None else 1.2
    losses = curve(problem, seed, horizon, int(future * horizon))
    if floor is None:
        floor = min(losses)
    trivial = losses[0] if problem.trivial is None else problem.trivial
    stuck, ambiguous = plateaus(losses, horizon, floor, trivial)
    doubtful = sum(end - start for start, end in ambiguous) > horizon / 2
    as_meant = bool(stuck) if configuration.stuck else not stuck and not doubtful
    label = ("stuck" if configuration.stuck else "healthy") if as_meant else "ambiguous"
    return Label(label, horizon, configuration.kind, configuration.accepts, stuck, ambiguous)


def load_labels() -> dict[tuple[str, int], Label]:
    """The measured labels by name and seed."""
    labels = {}
    for key, entry in json.loads(LABELS.read_text(encoding="utf-8")).items():
        name, _, seed = key.rpartition("/")
        intervals = {part: tuple((start, end) for start, end in entry[part]) for part in ("stuck", "ambiguous")}
        labels[name, int(seed)] = Label(**{**entry, "accepts": tuple(entry["accepts"]), **intervals})
    return labels


def save_labels(labels: dict[tuple[str, int], Label]) -> None:
    """One line per run."""
    entries = {f"{name}/{seed}": asdict(labels[name, seed]) for name, seed in sorted(labels)}
    lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items()]
    LABELS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
