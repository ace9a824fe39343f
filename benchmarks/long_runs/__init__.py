"""Watch eight real training runs of ten to twenty minutes each with `LandscapeMonitor()`, half of them stuck.

``python -m benchmarks.long_runs --out out/long_runs`` trains two of them at a time on one core each, and prints what
the monitor reported, when, and what it cost. Its learning curves are in docs/long_runs.md.
"""
