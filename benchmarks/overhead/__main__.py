"""``python -m benchmarks.overhead --help``."""

from __future__ import annotations

from benchmarks.overhead.commands import main

if __name__ == "__main__":
    main()
