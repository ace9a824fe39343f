"""Train the programs without any monitor: do the mistakes matter, and do the healthy programs learn?"""

from __future__ import annotations

import math
from itertools import islice

from benchmarks.reported_mistakes.training import fit


def mean(values):
    """Return the mean, or NaN if there is nothing to average."""
    return sum(values) / len(values) if values else math.nan


def ends(losses):
    """Return the mean loss over the first 2% of a run, in its middle, and over the last 10%."""
    n = len(losses)
    middle = losses[int(0.45 * n) : int(0.55 * n)]
    return mean(losses[: max(1, n // 50)]), mean(middle), mean(losses[-max(1, n // 10) :])


def bare(program, seed, *, cured=False):
    """Train a program without a monitor and return its run and its quality before and after, None if it has none."""
    module, batches, settings = program.build(seed, cured=cured)
    judged = hasattr(module, "quality")
    before = module.quality(list(islice(iter(batches), 20))) if judged else None
    run = fit(module, batches, settings)
    after = module.quality(list(islice(iter(batches), 20))) if judged else None
    return run, before, after


def verify(programs, seeds):
    """Print one line for each run: the mean loss at its beginning, middle and end, and the quality if there is one."""
    print(f"{'name':34s} seed {'run':8s} {'begin':>10s} {'middle':>10s} {'end':>10s} {'quality':>20s} seconds")
    for program in programs:
        for seed in seeds:
            for cured in (False, True) if program.kind == "failing" else (False,):
                run, before, after = bare(program, seed, cured=cured)
                begin, middle, end = ends(run.losses)
                label = "cured" if cured else program.kind
                quality = "" if before is None else f"{before:.4g} to {after:.4g}"
                print(
                    f"{program.name:34s} {seed:4d} {label:8s} {begin:10.4g} {middle:10.4g} {end:10.4g} {quality:>20s}"
                    f" {run.seconds:6.1f} {run.error or ''}",
                    flush=True,
                )
