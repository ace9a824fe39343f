"""The entry point through which TensorBoard loads the Landscape tab at every start.

TensorBoard does not catch errors of entry points, so an error here would keep it from starting. Therefore this module
imports nothing but one class, and everything that can fail happens inside `load`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tensorboard.plugins.base_plugin import TBLoader

if TYPE_CHECKING:
    from tensorboard.plugins.base_plugin import TBContext, TBPlugin

log = logging.getLogger("lightning_landscape")


class LandscapeLoader(TBLoader):  # type: ignore[misc, unused-ignore]
    """Loads the Landscape tab, or logs why it cannot be loaded."""

    def load(self, context: TBContext) -> TBPlugin | None:
        """Return the tab; None if it cannot be loaded."""
        try:
            from lightning_landscape.tensorboard_plugin.tab import LandscapeTab

            return LandscapeTab(context)
        except Exception as error:
            log.warning("The Landscape tab cannot be loaded: %s: %s", type(error).__name__, error)
            return None
