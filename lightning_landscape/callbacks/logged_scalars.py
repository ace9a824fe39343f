"""Which scalars go to the loggers; `trainer.callback_metrics` holds all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from lightning_landscape.examination.own_scalars import SCALARS
from lightning_landscape.examination.run_state import RunState

FEW = (
    *("grad_norm", "grad_norm_clipped", "update_ratio", "plateau_length", "loss_trend", "noise_scale", "barrier"),
    "verdict",
)
"""the scalars that `LandscapeMonitor` logs unless others are asked for"""
Choice: TypeAlias = Literal["few", "all"] | Sequence[str]
"""`FEW`, all scalars, or those with these names"""


def check_choice(log_scalars: object) -> None:
    """Check that this is a choice of scalars.

    Raises:
        ValueError: if it is not "few", "all" or a sequence of known names.
    """
    if isinstance(log_scalars, str):
        if log_scalars not in {"few", "all"}:
            raise ValueError(f"log_scalars must be 'few', 'all' or a list of names, got {log_scalars!r}")
        return
    names = log_scalars if isinstance(log_scalars, Sequence) else [log_scalars]
    if unknown := [name for name in names if not isinstance(name, str) or name not in SCALARS]:
        raise ValueError(f"log_scalars may name {', '.join(sorted(SCALARS))}; got {unknown[0]!r}")


def logged(scalars: Mapping[str, float], choice: Choice, state: RunState) -> dict[str, float]:
    """Return those of the scalars, under their full names, that are logged.

    The user's own scalars are always among them. The gradient norm after clipping is left out while nothing clips,
    unless it is asked for by its name.
    """
    wanted = SCALARS if choice == "all" else frozenset(FEW if choice == "few" else choice)
    if isinstance(choice, str) and not state.gradients.clips:
        wanted -= {"grad_norm_clipped"}
    left_out = {f"landscape/{name}" for name in SCALARS - wanted}
    return {name: value for name, value in scalars.items() if name not in left_out}
