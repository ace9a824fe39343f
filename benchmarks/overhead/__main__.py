"""Run the command line of `commands`; ``python -m benchmarks.overhead --help`` shows its options."""

from __future__ import annotations

from benchmarks.overhead.commands import main

if __name__ == "__main__":
    main()
