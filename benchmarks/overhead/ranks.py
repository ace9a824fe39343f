"""What watching costs on two ranks; a module of its own, since Lightning starts the second rank by its command."""

from __future__ import annotations

import time

from benchmarks.overhead.models import MODELS
from benchmarks.overhead.peers import EMPTY, OURS, WATCHING
from benchmarks.overhead.timing import fit, quiet
from benchmarks.overhead.turns import race


def main() -> None:
    """Print a row of the table of `growth_table`."""
    import os

    quiet()
    model = MODELS[0]
    settings = {"strategy": "ddp", "devices": 2, "accelerator": "cpu"}
    fits = {name: fit(model.made, OURS[name](), **settings) for name in (EMPTY, WATCHING)}
    # Both ranks give the turns in the same order. A rank that waits for the other uses no processor time.
    found = race(fits, model.batches(64), turns=9, turn=50, horizon=model.minute, clock=time.perf_counter)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        if found.failed:
            print(f"| 2 ranks | | {'; '.join(found.failed.values())} | |")
            return
        step, ratio = found.per_step(EMPTY), found.ratio(WATCHING, EMPTY)
        print(f"| 2 ranks (gloo) | {1e6 * step:.0f} | {1e6 * step * (ratio.median - 1):.0f} | {ratio} |")


if __name__ == "__main__":
    main()
