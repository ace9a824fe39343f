"""The numbers under ``landscape/``, each a function of what has been watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lightning_landscape.evidence import Cause, Line, Verdict
from lightning_landscape.progress import Progress, StepRecord

VERDICT_CODES = {cause: code for code, cause in enumerate(Cause, start=1)}
"""`landscape/verdict`: 0 while there is nothing to say, else the position of the cause in `Cause`, from 1"""


def gradient_scalars(record: StepRecord) -> dict[str, float]:
    """Norms before and after clipping, where this step was measured."""
    if record.grad_norm is None or record.grad_norm_clipped is None:
        return {}
    return {"grad_norm": record.grad_norm, "grad_norm_clipped": record.grad_norm_clipped}


def progress_scalars(progress: Progress) -> dict[str, float]:
    """Length of the plateau in steps, and the change of the loss over the tested window as a share of its level."""
    values = {"plateau_length": float(progress.plateau_length)}
    if progress.trend is not None and progress.trend.level > 0:
        values["loss_trend"] = -progress.trend.progress / progress.trend.level
    if progress.update_ratio is not None:
        values["update_ratio"] = progress.update_ratio
    return values


def line_scalars(lines: Mapping[str, Sequence[tuple[int, Line]]]) -> dict[str, float]:
    """The barrier on the latest line from the first anchor, in units of the loss."""
    return next(({"barrier": curves[-1][1].barrier} for curves in lines.values() if curves), {})


def verdict_scalar(verdicts: Sequence[Verdict], progress: Progress) -> dict[str, float]:
    """The code of the verdict that stands: the last one, as long as its plateau or divergence lasts."""
    stands = bool(verdicts) and (progress.stalled or progress.divergence is not None)
    return {"verdict": float(VERDICT_CODES[verdicts[-1].cause]) if stands else 0.0}
