"""How much work a diagnosis may do, in gradients of one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Setting: TypeAlias = Literal["auto", "light", "standard", "thorough"]
GRADIENTS = {"light": 0, "standard": 500, "thorough": 1500}
"""gradients of one batch that the first diagnosis of a run may compute, by setting"""
SETTINGS = ("auto", *GRADIENTS)
FAST_BATCH_SECONDS = 0.02
"""seconds for one batch up to which "auto" is "standard"; each doubling of the time halves the gradients"""
FEWEST_GRADIENTS = 60
"""least gradients that a first diagnosis may compute, however slow the steps are; enough for the shortest trials"""
SLOW_BATCH_SECONDS = 0.16
"""seconds for one batch above which a diagnosis is spread over several checks"""
PICTURE_SECONDS = 60.0
"""least seconds of training between two sets of pictures; drawing a set takes up to a second"""
LONGEST_PICTURE_GAP = 8
"""most times `PICTURE_SECONDS` between two sets: in a long run, drawing takes about 0.2% of the time"""
UNTIMED_BATCH_SECONDS = 1e-3
"""seconds that are assumed for one batch where none could be timed"""


@dataclass(frozen=True)
class Effort:
    """How much the probes of a run may compute; chosen once, and kept in the state of the run."""

    setting: str
    """the user's setting, one of `SETTINGS`"""
    gradients: int
    """gradients of one batch for the first diagnosis of the run"""
    sliced: bool
    """whether a diagnosis is spread over several checks, so that at no time more than a sixth as many gradients were
    computed as there were steps so far"""
    picture_every_n_steps: int
    """least steps between two sets of pictures during the run"""

    @classmethod
    def chosen(cls, setting: str, batch_seconds: float | None) -> Effort:
        """Return the effort for a run that takes this long for a batch; None where no batch could be timed.

        The time is rounded to the nearest doubling of `FAST_BATCH_SECONDS`: 500 gradients up to 28 ms, 250 up to 57 ms,
        and so on.

        >>> [Effort.chosen("auto", seconds).gradients for seconds in (0.001, 0.02, 0.04, 0.08, 0.16, 10.0)]
        [500, 500, 250, 125, 62, 60]
        """
        seconds = batch_seconds or UNTIMED_BATCH_SECONDS
        pictures = 2 ** max(0, math.ceil(math.log2(PICTURE_SECONDS / seconds)))
        if setting != "auto":
            return cls(setting, GRADIENTS[setting], sliced=False, picture_every_n_steps=pictures)
        halvings = max(0, round(math.log2(seconds / FAST_BATCH_SECONDS)))
        gradients = max(FEWEST_GRADIENTS, GRADIENTS["standard"] >> halvings)
        return cls(setting, gradients, sliced=seconds > SLOW_BATCH_SECONDS, picture_every_n_steps=pictures)

    def sentence(self) -> str:
        """Return the effort as a note of the report."""
        if not self.gradients:
            return f"effort={self.setting!r}: only losses, gradients and updates are measured"
        standard = GRADIENTS["standard"]
        fewer = self.setting == "auto" and self.gradients < standard
        milliseconds = 1000 * FAST_BATCH_SECONDS * standard / self.gradients
        since = f" since a batch took about {milliseconds:.0f} ms or more at the first check" if fewer else ""
        slices = ", spread over several checks" if self.sliced else ""
        return (
            f"effort={self.setting!r}: the first diagnosis may compute {self.gradients} gradients of one batch{since}"
            f"{slices}, all together twice as many"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return builtins only, for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Effort:
        """Return the effort from what `to_dict` returned."""
        return cls(
            str(data["setting"]), int(data["gradients"]), bool(data["sliced"]), int(data["picture_every_n_steps"])
        )
