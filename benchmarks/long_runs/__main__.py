"""Run the command line of `commands`; ``python -m benchmarks.long_runs --help`` shows its options."""

from __future__ import annotations

from benchmarks.long_runs.commands import main

if __name__ == "__main__":
    main()
