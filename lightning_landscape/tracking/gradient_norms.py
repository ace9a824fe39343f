"""The gradient norms of a run: their recent scale, their history, and whether they vanish or explode."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lightning_landscape._thinning import merge_columns, merge_pairs
from lightning_landscape.evidence import Clipping, GradientScale, LostGradients
from lightning_landscape.tracking.step_record import StepRecord

COLUMNS = 200
"""columns at which the history is shortened: neighbours are merged, and each column covers twice as many steps"""
RECENT = 50
"""number of measured steps over which medians are taken"""
VANISHED = 1e-4
"""norm of the first group over that of the last, both medians; below this ratio the gradient vanishes"""
UNCLIPPED = 0.999
"""share of the norm that is left after clipping, from which on the difference counts as rounding"""
EXPLODED = 100.0
"""norm over the median of earlier norms; the gradient explodes if three norms in a row are above this ratio"""
SILENT_STEPS = 8
"""number of measured steps without any gradient from which on a group counts as having lost it"""
EARLIER_COLUMNS = 3
"""number of columns with a gradient before; in nearly all columns until then there must have been one"""
EARLIER_STEPS = 10
"""number of earlier norms and losses that are needed to tell whether a gradient explodes"""


class GradientNorms:
    """The recent scale of the gradient, its history for each group of parameters, and whether it vanishes or explodes.

    The memory that this takes is bounded. With several optimizers, the history covers all of them; the scale, and
    whether the gradient vanishes or explodes, are those of the first optimizer.

    Args:
        groups: names of the groups of parameters, in the order of `StepRecord.group_norms`.
    """

    def __init__(self, groups: Sequence[str] = ()) -> None:
        self.groups = tuple(groups)
        self.steps: list[int] = []
        """optimizer step at the end of each column of the history"""
        self.history: list[list[float | None]] = []
        """columns with the largest norm of each group over the column's steps; None for a group without gradient"""
        self._span = 1  # measured steps in a column
        self._run: list[list[float | None]] = []  # group norms of the steps of the unfinished column
        self._recent: deque[list[float | None]] = deque(maxlen=RECENT)  # group norms
        self._norms: deque[float] = deque(maxlen=RECENT)
        self._losses: deque[float] = deque(maxlen=RECENT)
        self._left_by_clipping: deque[float] = deque(maxlen=RECENT)  # norms after over norms before clipping
        self._weight_norm = 0.0
        self._bursts = 0  # number of steps in a row with a norm far above the median
        self._finite = True

    def update(self, record: StepRecord) -> None:
        """Add one optimizer step."""
        if record.weight_norm is not None:
            self._weight_norm = record.weight_norm
        if record.grad_norm is None or record.group_norms is None or not record.stepped:
            return
        if record.optimizer == 0:
            self._finite = math.isfinite(record.grad_norm)
            if self._finite:
                self._add_norm(record.grad_norm, record.loss)
                if record.grad_norm > 0 and record.grad_norm_clipped is not None:
                    self._left_by_clipping.append(record.grad_norm_clipped / record.grad_norm)
                self._recent.append(list(record.group_norms))
        self._run.append(list(record.group_norms))
        if len(self._run) == self._span:
            self._append(record.step)

    def scale(self, floor: float = 0.0) -> GradientScale | None:
        """Return the medians over the last `RECENT` measured steps, with `floor` as the lowest possible loss.

        None before the first measured step.
        """
        if not self._norms or not self._losses:
            return None
        norm, loss = median(self._norms), abs(median(self._losses) - floor)
        groups = {name: self._median(i) for i, name in enumerate(self.groups)}
        return GradientScale(
            norm=norm,
            relative=norm * max(self._weight_norm, 1.0) / loss if loss > 0 else math.inf,
            groups={name: value for name, value in groups.items() if value is not None},
        )

    def clipping(self) -> Clipping | None:
        """Return the share of the gradient that clipping leaves, over the last `RECENT` measured steps, or None."""
        left = self._left_by_clipping
        return Clipping(median(left), max(left), len(left)) if left else None

    @property
    def clips(self) -> bool:
        """Whether clipping has shortened a gradient in the last `RECENT` measured steps."""
        return any(left < UNCLIPPED for left in self._left_by_clipping)

    def lost(self) -> LostGradients | None:
        """Return which groups had a gradient before and have had none at all since; None if there are none."""
        steps, columns = self.steps, self.history
        last: dict[str, int] = {}
        silent = SILENT_STEPS
        for i, name in enumerate(self.groups):
            had = [bool(column[i]) for column in columns]
            count = len(had) - next((j for j, present in enumerate(reversed(had)) if present), len(had))
            without = (len(had) - count) * self._span + sum(not column[i] for column in self._run)
            if count < EARLIER_COLUMNS or sum(had) < 0.9 * count or any(column[i] for column in self._run):
                continue
            if without >= SILENT_STEPS:
                last[name] = steps[count - 1]
                silent = without if len(last) == 1 else min(silent, without)
        return LostGradients(last, silent) if last else None

    @property
    def vanishing(self) -> GradientScale | None:
        """The scale of a gradient that vanishes towards the first group; None if it does not, or too early to tell."""
        scale = self.scale() if len(self._norms) == RECENT else None
        if scale is None or not scale.norm > 0 or scale.reached.first_to_last >= VANISHED:
            return None
        return scale.reached

    @property
    def exploding(self) -> bool:
        """Whether the last norm is not finite, or the last three are far above the median while the loss rises."""
        return not self._finite or self._bursts >= 3

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes for copies and pickles, with lists: `torch.load(weights_only=True)` loads no deque."""
        return {name: list(value) if isinstance(value, deque) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes that `__getstate__` returned."""
        names = ("_recent", "_norms", "_losses", "_left_by_clipping")
        recent = {name: deque(state[name], maxlen=RECENT) for name in names}
        vars(self).update(state | recent)

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins."""
        return {
            "groups": list(self.groups),
            "steps": list(self.steps),
            "history": [list(column) for column in self.history],
            "span": self._span,
            "run": [list(column) for column in self._run],
            "recent": [list(column) for column in self._recent],
            "norms": list(self._norms),
            "losses": list(self._losses),
            "left_by_clipping": list(self._left_by_clipping),
            "weight_norm": self._weight_norm,
            "bursts": self._bursts,
            "finite": self._finite,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what was observed.

        Raises:
            ValueError: if the number of columns, or of norms in a column, differs from that of steps or groups.
        """
        steps, width = len(state["steps"]), len(state["groups"])
        if len(state["history"]) != steps or any(len(c) != width for c in (*state["history"], *state["run"])):
            raise ValueError(f"the history must have {steps} columns of {width} norms, as there are steps and groups")
        self.groups = tuple(state["groups"])
        self.steps = [int(step) for step in state["steps"]]
        self.history = [_numbers(column) for column in state["history"]]
        self._span = state["span"]
        self._run = [_numbers(column) for column in state["run"]]
        self._recent = deque(map(_numbers, state["recent"]), maxlen=RECENT)
        self._norms = deque(map(float, state["norms"]), maxlen=RECENT)
        self._losses = deque(map(float, state["losses"]), maxlen=RECENT)
        self._left_by_clipping = deque(map(float, state.get("left_by_clipping", ())), maxlen=RECENT)
        self._weight_norm = state["weight_norm"]
        self._bursts = state["bursts"]
        self._finite = state["finite"]

    def _add_norm(self, norm: float, loss: float | None) -> None:
        """Count the norm as a burst if it is far above the median; the first three bursts do not enter the median."""
        enough = len(self._norms) >= EARLIER_STEPS and len(self._losses) >= EARLIER_STEPS
        # If the gradient grows while the loss falls, the run leaves a saddle, and the gradient does not explode.
        rising = loss is not None and enough and loss > median(self._losses)
        burst = enough and rising and norm > EXPLODED * median(self._norms)
        self._bursts = self._bursts + 1 if burst else 0
        if not burst or self._bursts > 3:
            self._norms.append(norm)
            if loss is not None and math.isfinite(loss):
                self._losses.append(loss)

    def _median(self, group: int) -> float | None:
        """Return the median of the recent finite norms of a group, given by its index; None if there are none."""
        norms = [column[group] for column in self._recent if group < len(column)]
        finite = [norm for norm in norms if norm is not None and math.isfinite(norm)]
        return median(finite) if finite else None

    def _append(self, step: int) -> None:
        """Finish the open column of the history, and shorten the history if it is full."""
        self.steps.append(step)
        self.history.append(merge_columns(self._run))
        self._run = []
        if len(self.history) == COLUMNS:
            self.history = merge_pairs(self.history)
            self.steps = self.steps[1::2]
            self._span *= 2


def _numbers(column: Sequence[Any]) -> list[float | None]:
    """Return a stored column as floats; a `TypeError` or `ValueError` is raised if it contains anything else."""
    return [None if number is None else float(number) for number in column]
