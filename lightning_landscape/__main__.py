"""``python -m lightning_landscape`` is the same as the command ``landscape``."""

from __future__ import annotations

import sys

from lightning_landscape.command_line import main

if __name__ == "__main__":
    sys.exit(main())
