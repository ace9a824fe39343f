"""When probes run, how much they may compute, and what a monitor knows of a run."""
