"""The register of the programs: what each one is, and how it is built."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

PROGRAMS: dict[str, Program] = {}

SPLITS = {
    "unread": (
        "wiring",
        "rates",
        "regularisation",
        "shapes",
        "data_mistakes",
        "losses",
        "healthy_structures",
        "healthy_settings",
        "healthy_pairs",
        "healthy_generators",
    ),
    "reports": ("reports.outputs", "reports.rates", "reports.wiring", "reports.batches", "reports.objectives"),
}
"""the modules of this package that hold the programs of each split"""


@dataclass(frozen=True)
class Program:
    """One program: a network, its data and its trainer's settings, with a mistake if `kind` is ``"failing"``."""

    name: str
    function: Callable[[int, bool], tuple[Any, Any, dict[str, Any]]]
    steps: int
    """how many optimizer steps a run takes; those of both optimizers are counted in manual optimization"""
    kind: str
    """``"failing"``, ``"healthy"``, or ``"passing"``: it stands still for a while, and then goes on by itself"""
    mistake: str
    """the mistake in one sentence; for another program, what looks suspicious"""
    fix: str
    """what mends the mistake; for another program, why nothing has to be mended"""
    causes: tuple[str, ...]
    """the causes that are true of a failing program, or of the standstill of a passing one"""
    words: tuple[str, ...]
    """lower-case strings, any of which would lead a reader to the fix"""
    source: str
    """addresses of the threads in which the mistake, or the suspicion, is reported"""

    def build(self, seed, *, cured=False):
        """Return the module, its loader and the trainer's settings, from a random state that `seed` determines."""
        torch.manual_seed(zlib.crc32(self.name.encode()) % 10**6 + seed)
        module, loader, settings = self.function(seed, cured)
        return module, loader, {"max_steps": self.steps, **settings}


def failing(steps, *, mistake, fix, causes, words, source):
    """Return a decorator that registers a program with a mistake; `cured` asks for the program without it."""
    return _register(steps, "failing", mistake, fix, causes, words, source)


def healthy(steps, *, suspicious, fine, source):
    """Return a decorator that registers a program without a mistake; it does not look at `cured`."""
    return _register(steps, "healthy", suspicious, fine, (), (), source)


def passing(steps, *, suspicious, fine, causes, source):
    """Return a decorator that registers a program that needs no alarm, but of which an alarm may name these causes."""
    return _register(steps, "passing", suspicious, fine, causes, (), source)


def _register(steps, kind, mistake, fix, causes, words, source):
    def register(function):
        name = function.__name__
        if name in PROGRAMS:
            raise ValueError(f"two programs are called {name!r}")
        PROGRAMS[name] = Program(name, function, steps, kind, mistake, fix, tuple(causes), tuple(words), source)
        return function

    return register


def load_programs(*splits):
    """Import the modules of these splits, or of all, and return their programs by name."""
    modules = [f"{__package__}.{name}" for split in splits or SPLITS for name in SPLITS[split]]
    for module in modules:
        importlib.import_module(module)
    return {name: program for name, program in PROGRAMS.items() if program.function.__module__ in modules}
