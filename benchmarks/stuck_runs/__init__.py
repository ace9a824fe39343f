"""Does the monitor say that a run is stuck, why, and early, and does it keep quiet otherwise?

Small real training runs, labelled by their own future, in three splits: ``open`` and ``seen`` for developing the
verdicts, ``held_out`` for judging them. Nothing may be tuned on the last.

``python -m benchmarks.stuck_runs`` trains every run of a split with `LandscapeMonitor()` attached and prints its score
next to those of published rules on the very same runs. ``python -m benchmarks.stuck_runs label`` measures the labels.
"""
