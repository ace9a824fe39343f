"""Run the command line of `commands`; ``python -m benchmarks.stuck_runs --help`` shows its options."""

from __future__ import annotations

from benchmarks.stuck_runs.commands import main

main()
