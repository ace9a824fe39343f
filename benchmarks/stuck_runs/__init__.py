"""Score `LandscapeMonitor` on small training runs, which are labelled as healthy or stuck.

A label is measured: each run is trained beyond its end. There are seven splits: ``open``, ``seen``, ``second``,
``held_out`` and ``midway`` for developing the verdicts, ``fresh`` and ``fifth`` for judging them. Nothing may be tuned
on these two.

``python -m benchmarks.stuck_runs`` trains every run of a split with `LandscapeMonitor()` and prints its score beside
those of published rules on the same runs. ``python -m benchmarks.stuck_runs label`` measures the labels.
"""
