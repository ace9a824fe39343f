"""``python -m benchmarks.stuck_runs [score | label] --help``."""

from __future__ import annotations

from benchmarks.stuck_runs.commands import main

main()
