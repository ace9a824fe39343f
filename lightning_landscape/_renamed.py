"""Arguments by their names of version 0.1: each still works in version 0.2, with a warning that gives its new name."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypedDict, TypeVar, cast

NEW_NAMES = {
    "every": "every_n_steps",
    "norms_every": "norm_every_n_steps",
    "batches": "max_batches",
    "points": "num_points",
    "folder": "dirpath",
}
Function = TypeVar("Function", bound=Callable[..., object])


class OldNames(TypedDict, total=False):
    """The arguments of version 0.1 that have other names now; in a signature, so that LightningCLI knows them."""

    every: int | None
    norms_every: int | None
    batches: int
    points: int
    folder: str | None


def accepts_old_names(function: Function) -> Function:
    """Return the function with every old name of an argument turned into the new one before it is called.

    A `TypeError` is raised where an argument is unknown or is given by both of its names.
    """
    own = {name: p.default for name, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD}

    @functools.wraps(function)
    def called(*args: Any, **given: Any) -> object:
        for name in given.keys() - own.keys():
            new = NEW_NAMES.get(name)
            if new is None or new not in own:
                raise TypeError(f"{function.__qualname__}() got an unexpected keyword argument {name!r}")
            if given.get(new, own[new]) != own[new]:
                raise TypeError(
                    f"{name!r} is the old name of {new!r}: give one of them, got {given[name]!r} and {given[new]!r}"
                )
            message = f"{name!r} is called {new!r} since version 0.2; {name!r} will be removed in version 0.3"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            given[new] = given.pop(name)
        return function(*args, **given)

    return cast("Function", called)
