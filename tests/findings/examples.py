"""The examples of the pages in docs/findings: the code of a section, and a fit of what it builds."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch

from lightning_landscape import LandscapeMonitor

PAGES = Path(__file__).parents[2] / "docs" / "findings"


def example(page: str, finding: str) -> dict[str, Any]:
    """Return the names that the code of a section defines, after that of the page's first section."""
    opening, *sections = re.split(r"^### ", (PAGES / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    section = next(text for text in sections if text.startswith("`LL") and f" {finding}`" in text.split("\n")[0])
    names: dict[str, Any] = {"__name__": f"example_{finding}"}
    for code in re.findall(r"^```python\n(.*?)^```", opening + section, flags=re.MULTILINE | re.DOTALL):
        exec(compile(code, f"{page}: {finding}", "exec"), names)
    return names


def fitted(module: L.LightningModule, loader: Any, steps: int, **settings: Any) -> LandscapeMonitor:
    """Fit with a monitor for this many optimizer steps, and return the monitor."""
    monitor = LandscapeMonitor()
    trainer = L.Trainer(
        max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[monitor], **settings,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, loader)
    return monitor


def fit_example(page: str, finding: str, built: str, steps: int) -> LandscapeMonitor:
    """Fit what the function `built` of a section returns, from the same random numbers in each call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return fitted(*example(page, finding)[built](), steps)


def alarms(monitor: LandscapeMonitor) -> list[str]:
    """Return the names of the findings of all alarms; the cause of an alarm without a finding."""
    return [v.finding.name if v.finding else v.cause.value for v in monitor.verdicts if v.stuck]


def notes(monitor: LandscapeMonitor) -> str:
    """Return all notes of the report."""
    return "\n".join(monitor.report.to_dict()["notes"])
