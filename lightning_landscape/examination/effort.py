"""How much work a diagnosis may take, in gradients of one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Setting: TypeAlias = Literal["auto", "light", "standard", "thorough"]
GRADIENTS = {"light": 0, "standard": 500, "thorough": 1500}
"""gradients of one batch that the first diagnosis of a run may take"""
SETTINGS = ("auto", *GRADIENTS)
FAST = 0.02
"""seconds for one batch: "auto" halves the work of "standard" for each doubling beyond it"""
FEWEST = 60
"""gradients that a first diagnosis may take however slow the steps are: the shortest trials"""
SLOW = 0.16
"""seconds for one batch, beyond which a diagnosis is taken in slices"""
PICTURE_SECONDS = 15.0
"""seconds of training that pay for the pictures of one moment, 0.3 seconds, at 2%"""
UNTIMED = 1e-3
"""seconds for one batch where none could be timed"""


@dataclass(frozen=True)
class Effort:
    """What a run may spend on examinations: chosen once, kept with the state of the run."""

    setting: str
    """what was asked for: one of `SETTINGS`"""
    gradients: int
    """of one batch, for the first diagnosis of the run"""
    sliced: bool
    """whether a diagnosis is spread over several checks, each of at most a quarter of the steps taken so far"""
    picture_every_n_steps: int
    """steps between pictures that are drawn while the run goes on"""

    @classmethod
    def chosen(cls, setting: str, batch_seconds: float | None) -> Effort:
        """Return the effort for a run that takes this long for a batch; None where no batch could be timed.

        The time is rounded to the nearest doubling of `FAST`: 500 gradients up to 28 ms, 250 up to 57 ms, and so on.

        >>> [Effort.chosen("auto", seconds).gradients for seconds in (0.001, 0.02, 0.04, 0.08, 0.16, 10.0)]
        [500, 500, 250, 125, 62, 60]
        """
        seconds = batch_seconds or UNTIMED
        pictures = 2 ** max(0, math.ceil(math.log2(PICTURE_SECONDS / seconds)))
        if setting != "auto":
            return cls(setting, GRADIENTS[setting], sliced=False, picture_every_n_steps=pictures)
        halvings = max(0, round(math.log2(seconds / FAST)))
        gradients = max(FEWEST, GRADIENTS["standard"] >> halvings)
        return cls(setting, gradients, sliced=seconds > SLOW, picture_every_n_steps=pictures)

    def sentence(self) -> str:
        """Return what the report says of it."""
        if not self.gradients:
            return f"effort={self.setting!r}: only losses, gradients and updates are watched"
        standard = GRADIENTS["standard"]
        fewer = self.setting == "auto" and self.gradients < standard
        milliseconds = 1000 * FAST * standard / self.gradients
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
        """Return the effort that `to_dict` was taken of."""
        return cls(
            str(data["setting"]), int(data["gradients"]), bool(data["sliced"]), int(data["picture_every_n_steps"])
        )
