"""When probes run, what they may cost, and what is kept of a run."""
