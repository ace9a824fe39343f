"""How the learning-rate schedulers of a run are set up: what they count, when they are stepped, and when they end."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat

from torch.optim.lr_scheduler import ExponentialLR, StepLR

from lightning_landscape.evidence import Scheduler, Schedulers
from lightning_landscape.trainer._compat import inner_schedulers, milestones_of, one_cycle_warmup

if TYPE_CHECKING:
    from lightning_landscape.trainer.host import Host

LENGTHS = (
    *("total_steps", "num_training_steps", "T_max", "total_iters", "max_iters", "max_steps", "max_epochs"),
    *("total_epochs", "milestones", "step_size"),
)
"""usual names for the number of a scheduler's steps after which it ends, or makes its first cut"""
WARMUPS = ("num_warmup_steps", "warmup_steps", "warmup_epochs", "warmup_iters", "total_warmup_steps")
"""usual names for the number of a scheduler's steps in which the rate rises at first"""


class SchedulerConfig(Protocol):
    """A scheduler with the settings of `configure_optimizers`, as Lightning keeps them."""

    @property
    def scheduler(self) -> Any:
        """The scheduler, of a class of torch or of the user."""
        ...

    @property
    def interval(self) -> str:
        """When it is stepped: "step" or "epoch"."""
        ...

    @property
    def frequency(self) -> int:
        """Number of intervals between two of its steps."""
        ...

    @property
    def monitor(self) -> str | None:
        """The metric that it watches; None for no metric."""
        ...


def schedulers_of(host: Host) -> Schedulers:
    """Return how the schedulers of the first optimizer are set up, whose learning rate is the one that is tracked."""
    first = host.optimizers[0] if host.optimizers else None
    configs = [config for config in host.scheduler_configs if getattr(config.scheduler, "optimizer", first) is first]
    return Schedulers(
        tuple(_reading(config, manual=not host.automatic_optimization) for config in configs), host.steps_per_epoch
    )


def _reading(config: SchedulerConfig, *, manual: bool) -> Scheduler:
    scheduler = config.scheduler
    settings = settings_of(scheduler)
    length_name, length = _first_count(settings, LENGTHS)
    warmup_name, warmup = _first_count(settings, WARMUPS)
    patience, factor = _number(settings.get("patience")), _number(settings.get("factor"))
    watches = patience is not None and factor is not None
    return Scheduler(
        kind=type(scheduler).__name__,
        interval="manual" if manual else config.interval,
        frequency=config.frequency,
        length=length,
        length_name=length_name,
        warmup=warmup,
        warmup_name=warmup_name,
        target_rate=_target_rate(scheduler),
        monitor=config.monitor,
        patience=int(patience) if patience is not None and watches else None,
        factor=factor if watches else None,
        decay=_decay(scheduler),
    )


def _decay(scheduler: Any) -> float | None:
    """Return the factor by which each step of a scheduler multiplies the rate; None where that is not always one."""
    if not isinstance(scheduler, (StepLR, ExponentialLR)):
        return None
    gamma, size = _number(scheduler.gamma), _number(getattr(scheduler, "step_size", 1))
    return gamma ** (1 / size) if gamma is not None and size is not None and 0 < gamma < 1 <= size else None


def settings_of(scheduler: Any) -> dict[str, Any]:
    """Return the settings of a scheduler by name, as far as they can be read without calling it.

    They are its attributes; of a `LambdaLR`, also the arguments that `functools.partial` has fixed, as the schedules of
    Hugging Face transformers do. A `SequentialLR` has the settings that its schedulers have together: the end of the
    last one, and the first milestone as the end of a warm-up.
    """
    attributes: dict[str, Any] = getattr(scheduler, "__dict__", {})
    settings = {name: value for name, value in attributes.items() if not name.startswith("_")}
    for function in settings.get("lr_lambdas") or ():
        if isinstance(function, functools.partial):
            settings = {**function.keywords, **settings}
    milestones = settings.get("milestones")
    if isinstance(milestones, Mapping) and milestones:  # `MultiStepLR` counts how often each milestone is listed
        settings["milestones"] = max(milestones)
    settings["warmup_iters"] = settings.get("warmup_iters", one_cycle_warmup(scheduler))
    inner = inner_schedulers(scheduler)
    if len(inner) > 1:
        settings |= _joined([settings_of(part) for part in inner], milestones_of(scheduler))
    elif (start := _number(settings.get("start_factor"))) is not None and start < 1:
        settings["warmup_iters"] = settings.get("total_iters")
    return settings


def _joined(parts: Sequence[Mapping[str, Any]], milestones: Sequence[int]) -> dict[str, Any]:
    """Return the length and the warm-up of schedulers that follow one another, changing at `milestones`.

    Those of a `ChainedScheduler`, which has no milestones, all begin at the first step.
    """
    starts = [0, *milestones] if milestones else [0] * len(parts)
    ends = [start + (_first_count(part, LENGTHS)[1] or 0) for start, part in zip(starts, parts, strict=False)]
    joined: dict[str, Any] = {"milestones": max(ends)} if max(ends, default=0) > 0 else {}
    return {**joined, "warmup_iters": parts[0].get("warmup_iters")}


def _first_count(settings: Mapping[str, Any], names: Sequence[str]) -> tuple[str, int | None]:
    """Return the first of these settings that is a positive number of steps, with its name."""
    for name in names:
        count = _number(settings.get(name))
        if count is not None and count >= 1:
            return name, int(count)
    return "", None


def _number(value: object) -> float | None:
    """Return the value as a number; None if it is no finite number."""
    number = float(value) if isinstance(value, SupportsFloat) and isinstance(value, Real) else math.nan
    return number if math.isfinite(number) else None


def _target_rate(scheduler: Any) -> float | None:
    """Return the rate to which a warm-up leads: the largest ``max_lr`` of the groups, or their initial rate."""
    groups = getattr(getattr(scheduler, "optimizer", None), "param_groups", ())
    rates = [group.get("max_lr", group.get("initial_lr")) for group in groups]
    numbers = [float(rate) for rate in rates if rate is not None]
    return max(numbers, default=None)
