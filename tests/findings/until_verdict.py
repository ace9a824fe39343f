"""The examples on a page of `docs/findings`, and short runs of them with a monitor."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L

from lightning_landscape import LandscapeMonitor

PAGES = Path(__file__).parents[2] / "docs" / "findings"
SECTION = re.compile(r"^### `(LL\d+ [\w-]+)`$", flags=re.MULTILINE)


def examples(page: str) -> dict[str, dict[str, Any]]:
    """Return the names that the code of each section defines, by its code such as "LL206 stale-optimizer"."""
    introduction, *sections = SECTION.split((PAGES / page).read_text())
    return {code: _defined(introduction, text) for code, text in zip(sections[::2], sections[1::2], strict=True)}


def _defined(*texts: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for text in texts:
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            exec(compile(block, "docs/findings", "exec"), names)
    return names


class StopAtVerdict(L.Callback):
    """Ends the run at the first verdict."""

    def __init__(self, monitor: LandscapeMonitor) -> None:
        self.monitor = monitor

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        trainer.should_stop = bool(self.monitor.verdicts)


def watched(
    make: Callable[[], L.LightningModule], data: Any, *, steps: int = 250, **settings: Any
) -> tuple[LandscapeMonitor, list[str]]:
    """Fit the module until the first verdict, or for this many steps; return the monitor and our warnings."""
    L.seed_everything(0, verbose=False)
    monitor, module = LandscapeMonitor(), make()
    trainer = L.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[monitor, StopAtVerdict(monitor)],
        **settings,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, data)
    return monitor, [str(warning.message) for warning in caught if str(warning.message).startswith("[LL")]
