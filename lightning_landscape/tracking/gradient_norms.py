"""How large are the gradients, and where? One record per optimizer step goes in."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lightning_landscape._thinning import merge_columns, merge_pairs
from lightning_landscape.evidence import GradientScale
from lightning_landscape.tracking.progress import StepRecord

COLUMNS = 200
"""columns of the heat map; when they are used up, neighbours are merged and each stands for twice as many steps"""
RECENT = 50
"""measured steps over which a median is taken"""
VANISHED = 1e-4
"""median norm of the first group over that of the last, below which the gradient vanishes on its way back"""
EXPLODED = 100.0
"""norm over the median of the steps before, above which a gradient has exploded, if it does so three times in a row"""


class GradientNorms:
    """The recent scale of the gradient, a bounded history by group, and whether it vanishes or explodes.

    Args:
        groups: names of the groups of parameters, in the order of `StepRecord.group_norms`.

    Of several optimizers the history shows all, the scale and the judgement follow the first.
    """

    def __init__(self, groups: Sequence[str] = ()) -> None:
        self.groups = tuple(groups)
        self.steps: list[int] = []
        self.history: list[list[float | None]] = []
        self._span = 1
        self._run: list[list[float | None]] = []
        self._recent: deque[list[float | None]] = deque(maxlen=RECENT)
        self._norms: deque[float] = deque(maxlen=RECENT)
        self._losses: deque[float] = deque(maxlen=RECENT)
        self._weight_norm = 0.0
        self._bursts = 0
        self._finite = True

    def update(self, record: StepRecord) -> None:
        """Take in one optimizer step."""
        if record.weight_norm is not None:
            self._weight_norm = record.weight_norm
        if record.grad_norm is None or record.group_norms is None or not record.stepped:
            return
        if record.optimizer == 0:
            self._finite = math.isfinite(record.grad_norm)
            if self._finite:
                self._judge(record.grad_norm, record.loss)
                self._recent.append(list(record.group_norms))
        self._run.append(list(record.group_norms))
        if len(self._run) == self._span:
            self._append(record.step)

    def scale(self) -> GradientScale | None:
        """Medians over the last measured steps, or None before there are any."""
        if not self._norms or not self._losses:
            return None
        norm, loss = median(self._norms), abs(median(self._losses))
        groups = {name: self._median(i) for i, name in enumerate(self.groups)}
        return GradientScale(
            norm=norm,
            relative=norm * max(self._weight_norm, 1.0) / loss if loss > 0 else math.inf,
            groups={name: value for name, value in groups.items() if value is not None},
        )

    @property
    def vanishing(self) -> GradientScale | None:
        """The scale, where the gradient has vanished on its way back over the last `RECENT` measured steps."""
        scale = self.scale() if len(self._norms) == RECENT else None
        return scale if scale is not None and scale.norm > 0 and scale.first_to_last < VANISHED else None

    @property
    def exploding(self) -> bool:
        """Whether the last three norms were far above those before without the loss falling, or one was not finite."""
        return not self._finite or self._bursts >= 3

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles are made of; `torch.load(weights_only=True)` fills no deque, so there is none."""
        return {name: list(value) if isinstance(value, deque) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` has given."""
        recent = {name: deque(state[name], maxlen=RECENT) for name in ("_recent", "_norms", "_losses")}
        vars(self).update(state | recent)

    def state_dict(self) -> dict[str, Any]:
        """Builtins only."""
        return {
            "groups": list(self.groups),
            "steps": list(self.steps),
            "history": [list(column) for column in self.history],
            "span": self._span,
            "run": [list(column) for column in self._run],
            "recent": [list(column) for column in self._recent],
            "norms": list(self._norms),
            "losses": list(self._losses),
            "weight_norm": self._weight_norm,
            "bursts": self._bursts,
            "finite": self._finite,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: if the columns do not fit the steps or the groups.
        """
        steps, width = len(state["steps"]), len(state["groups"])
        if len(state["history"]) != steps or any(len(c) != width for c in (*state["history"], *state["run"])):
            raise ValueError(f"a history of {steps} steps and {width} groups has other columns than that")
        self.groups = tuple(state["groups"])
        self.steps = list(state["steps"])
        self.history = [_numbers(column) for column in state["history"]]
        self._span = state["span"]
        self._run = [_numbers(column) for column in state["run"]]
        self._recent = deque(map(_numbers, state["recent"]), maxlen=RECENT)
        self._norms = deque(map(float, state["norms"]), maxlen=RECENT)
        self._losses = deque(map(float, state["losses"]), maxlen=RECENT)
        self._weight_norm = state["weight_norm"]
        self._bursts = state["bursts"]
        self._finite = state["finite"]

    def _judge(self, norm: float, loss: float | None) -> None:
        # A gradient that grows while the loss falls is a run that leaves a saddle, not an explosion.
        known = len(self._norms) >= 10 and len(self._losses) >= 10
        rising = loss is not None and known and loss > median(self._losses)
        burst = known and rising and norm > EXPLODED * median(self._norms)
        self._bursts = self._bursts + 1 if burst else 0
        if not burst or self._bursts > 3:
            self._norms.append(norm)
            if loss is not None and math.isfinite(loss):
                self._losses.append(loss)

    def _median(self, group: int) -> float | None:
        values = [column[group] for column in self._recent if group < len(column)]
        known = [value for value in values if value is not None and math.isfinite(value)]
        return median(known) if known else None

    def _append(self, step: int) -> None:
        self.steps.append(step)
        self.history.append(merge_columns(self._run))
        self._run = []
        if len(self.history) == COLUMNS:
            self.history = merge_pairs(self.history)
            self.steps = self.steps[1::2]
            self._span *= 2


def _numbers(column: Sequence[Any]) -> list[float | None]:
    """As they were saved; what is none raises."""
    return [None if number is None else float(number) for number in column]
