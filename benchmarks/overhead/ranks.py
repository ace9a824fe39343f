"""Time a monitor on two ranks. This is a module of its own because Lightning starts the second rank by its command."""

from __future__ import annotations

import os
import time

from benchmarks.overhead.models import MODELS
from benchmarks.overhead.peers import EMPTY, OURS, WATCHING
from benchmarks.overhead.timing import fit, silence
from benchmarks.overhead.turns import time_in_turns


def main() -> None:
    """Print one row of the table of `growth_table`."""
    silence()
    model = MODELS[0]
    settings = {"strategy": "ddp", "devices": 2, "accelerator": "cpu"}
    fits = {name: fit(model.build_seeded, OURS[name](), **settings) for name in (EMPTY, WATCHING)}
    # Both ranks give the turns in the same order. A rank that waits for the other one uses no processor time, so the
    # wall-clock time is taken.
    timings = time_in_turns(
        fits, model.batches(64), turns=9, turn=50, horizon=model.steps_per_minute, clock=time.perf_counter
    )
    if os.environ.get("LOCAL_RANK", "0") == "0":
        if timings.errors:
            print(f"| 2 ranks | | {'; '.join(timings.errors.values())} | |")
            return
        step, ratio = timings.per_step(EMPTY), timings.ratio(WATCHING, EMPTY)
        print(f"| 2 ranks (gloo) | {1e6 * step:.0f} | {1e6 * step * (ratio.median - 1):.0f} | {ratio} |")


if __name__ == "__main__":
    main()
