"""The Landscape tab's front door, which TensorBoard loads at every start: it can neither fail nor cost time.

TensorBoard loads entry points without a guard: an error here would keep the user's whole TensorBoard from starting.
So nothing but this class is imported, and everything that could go wrong happens inside `load`.
"""

from __future__ import annotations

import logging
from typing import Any

from tensorboard.plugins.base_plugin import TBLoader

log = logging.getLogger("lightning_landscape")


class LandscapeLoader(TBLoader):  # type: ignore[misc, unused-ignore]
    """Makes the tab, or leaves it out and says why."""

    def load(self, context: Any) -> Any:
        """The plugin, or None where it cannot be made."""
        try:
            from lightning_landscape.tensorboard_plugin.tab import LandscapeTab

            return LandscapeTab(context)
        except Exception as error:
            log.warning("no Landscape tab: %s: %s", type(error).__name__, error)
            return None
