"""Check the arguments of the public monitors; every error names the argument and shows its value."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from torch.nn.modules.loss import _Loss

from lightning_landscape.examination.effort import SETTINGS
from lightning_landscape.examination.snapshots import NAMES
from lightning_landscape.tracking.metric_history import Mode


def check_numbers(**numbers: object) -> None:
    """Check that these arguments are whole numbers.

    Raises:
        ValueError: if one of them is not.
    """
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} must be a whole number, got {value!r}")


def check_optional_numbers(**numbers: object) -> None:
    """Check that these arguments are whole numbers, or None for a default, as `check_numbers` does."""
    check_numbers(**{name: value for name, value in numbers.items() if value is not None})


def check_directory(**paths: object) -> None:
    """Check that these arguments are paths, or None for a default.

    Raises:
        TypeError: if one of them is not.
    """
    for name, value in paths.items():
        if value is not None and not isinstance(value, (str, os.PathLike)):
            raise TypeError(f"{name} must be the path of a directory, got {value!r}")


def check_anchors(anchors: object) -> None:
    """Check that these are names of anchors or paths of checkpoint files.

    A file may be written later. A word without a directory and without a suffix that is no file now is a misspelt name.

    Raises:
        ValueError: if there is no anchor, or one is neither a known name nor a path.
    """
    if isinstance(anchors, str) or not isinstance(anchors, Sequence) or not anchors:
        raise ValueError(f"anchors must be a non-empty sequence of names or paths, got {anchors!r}")
    for anchor in anchors:
        if not isinstance(anchor, str) or not anchor:
            raise ValueError(f"anchors must be a non-empty sequence of names or paths, got {anchors!r}")
        if anchor not in NAMES and not _may_be_file(anchor):
            known = ", ".join(map(repr, NAMES))
            raise ValueError(f"anchors must be among {known}, or be paths of checkpoint files, got {anchor!r}")


def _may_be_file(path: str) -> bool:
    with suppress(OSError, ValueError):  # a name that no file can have
        return bool(Path(path).suffix) or len(Path(path).parts) > 1 or Path(path).is_file()
    return False


def check_loss_fn(loss_fn: object) -> None:
    """Check that this is a function of a module and a batch, or None.

    Raises:
        ValueError: if it is not.
    """
    if loss_fn is None:
        return
    if not callable(loss_fn) or _is_no_function(loss_fn) or isinstance(loss_fn, _Loss) or not _takes(2, loss_fn):
        raise ValueError(f"loss_fn must be a function (module, batch) -> loss, got {loss_fn!r}")


def _is_no_function(value: object) -> bool:
    """Return whether a value cannot be called, or is a class."""
    return not callable(value) or isinstance(value, type)


def _takes(count: int, function: Callable[..., object]) -> bool:
    """Return whether a function takes this number of positional arguments; True where its signature is unknown."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a built-in function without a signature
        return True
    return True


def check_sequences(**functions: object) -> None:
    """Check that these arguments are sequences of functions, or None for the default ones.

    A class among the functions is refused, since an instance is meant, as in `HessianExtremes()`.

    Raises:
        ValueError: if one of them is not.
    """
    for name, value in functions.items():
        if value is None:
            continue
        if isinstance(value, str) or not isinstance(value, Sequence) or any(map(_is_no_function, value)):
            raise ValueError(f"{name} must be a sequence of functions, got {value!r}")


def check_share(**shares: object) -> None:
    """Check that these arguments are shares in (0, 1], or None for no limit.

    Raises:
        ValueError: if one of them is not.
    """
    for name, value in shares.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise ValueError(f"{name} must be a share above 0 and at most 1, got {value!r}")


def check_effort(effort: object, *, budget: object, **of_probes: object) -> None:
    """Check that the effort is one of `SETTINGS`, and that no other argument contradicts it.

    Args:
        effort: the effort.
        budget: the share of the training time after which the clock ends the probes, or None.
        of_probes: other arguments that have no effect without probes, by name; None where not given.

    Raises:
        ValueError: if the effort is unknown, or another argument contradicts it.
    """
    if effort not in SETTINGS:
        raise ValueError(f"effort must be one of {', '.join(map(repr, SETTINGS))}, got {effort!r}")
    if effort == "light":
        for name, value in {"budget": budget, **of_probes}.items():
            if value is not None and value != ():
                raise ValueError(
                    f"effort='light' runs no probes, so {name}={value!r} has no effect; remove one of the two"
                )
    if effort == "thorough" and budget is not None:
        raise ValueError(
            f"effort='thorough' asks for complete diagnoses, which budget={budget!r} would end; remove one of the two"
        )


def declared_metrics(monitor: str | Sequence[str] | None, mode: Mode | Sequence[Mode] | None) -> dict[str, Mode]:
    """Return the metrics that the user declares, and the mode of each; None for the mode "min".

    Raises:
        ValueError: if a name is empty or no string, there are two equal names, a mode is neither "min" nor "max", there
            are several modes but not one for each metric, or a mode without a metric.
    """
    names = [monitor] if isinstance(monitor, str) else [] if monitor is None else monitor
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"monitor must be the name of a logged metric, or a list of names, got {monitor!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"monitor must name each metric once, got {monitor!r}")
    mode, no_mode = ("min", True) if mode is None else (mode, False)
    given = [mode] if isinstance(mode, str) else mode
    if not isinstance(given, Sequence) or any(one not in ("min", "max") for one in given):
        raise ValueError(f"mode must be 'min' or 'max', or a list of these, got {mode!r}")
    if not names and not no_mode:
        raise ValueError(
            f"mode={mode!r} says how a metric should move, but monitor={monitor!r} names none; "
            "name the metric, as in monitor='val_acc', or remove mode"
        )
    modes = [mode] * len(names) if isinstance(mode, str) else mode
    if len(modes) != len(names):
        raise ValueError(f"mode must be one for all metrics or one for each, got {mode!r} for {monitor!r}")
    return dict(zip(names, modes, strict=True))
