"""Train one example, watched and not, in an environment that has its library.

``python -m benchmarks.libraries.runs EXAMPLE --package PACKAGE`` prints JSON: a `Run` for each rate.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import inspect
import io
import json
import logging
import math
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from torch import nn

from benchmarks.libraries.catalogue import EXAMPLES
from lightning_landscape import LandscapeMonitor, last_report

RATES = ("healthy", "tiny", "large")
TINY = 1e-7
"""the learning rate of a run that cannot move"""
LARGE = 1000.0
"""the learning rate of a run that is too fast, over that of the example"""
WARM_UP = 12
"""steps of a run before the timed ones, in which a library compiles and imports what it needs"""

Train = Callable[..., nn.Module]


@dataclass(frozen=True)
class Run:
    """What one example did at one learning rate, unwatched and watched."""

    rate: float
    steps: int
    identical: bool
    """whether weights and buffers are the same to the last bit with and without the monitor"""
    start: float
    """mean training loss of the first twentieth of the steps"""
    end: float
    """mean training loss of the last twentieth; infinite if it is not finite"""
    bare: float
    """processor time of the fit without the monitor, in seconds: the least of several turns"""
    watched: float
    """processor time of the fit with the monitor, in seconds: the least of several turns"""
    verdicts: tuple[tuple[str, str, bool], ...]
    """cause, finding or an empty string, and whether it is an alarm, of each verdict in order"""
    report: str
    """the whole report as text"""
    error: str = ""
    """what the run without the monitor raised; empty if it went through"""


class Losses(L.Callback):
    """Keeps every training loss and when the fit began; a library that copies it trains with this object itself."""

    def __init__(self) -> None:
        self.values: list[torch.Tensor] = []
        self.began: float | None = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Keep the processor time at which the fit begins, before the hooks of the other callbacks."""
        self.began = time.process_time() if self.began is None else self.began

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Append the loss of this batch."""
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            self.values.append(loss.detach().mean())

    def __deepcopy__(self, memo: dict[int, Any]) -> Losses:
        return self

    def level(self, part: slice) -> float:
        """Return the mean loss of this part of the run; infinite if it is not finite."""
        mean = torch.stack(self.values[part]).double().mean().item() if self.values[part] else math.inf
        return mean if math.isfinite(mean) else math.inf


def loaded(example: str) -> Train:
    """Return the function `train` of an example."""
    spec = importlib.util.spec_from_file_location(example, EXAMPLES / f"{example}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[example] = module  # for what pickles the classes of the example
    spec.loader.exec_module(module)
    train: Train = module.train
    return train


def digest(model: nn.Module) -> str:
    """Return a hash of all weights and buffers."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, torch.Tensor):
            sha.update(name.encode() + value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


class Turn(NamedTuple):
    """One call of `train`: the processor time of its fit, its losses, and a hash of the weights or what it raised."""

    seconds: float
    losses: Losses
    outcome: str


def turn(train: Train, rate: float, steps: int, *callbacks: L.Callback) -> Turn:
    """Train once from the same random state, in a new directory, without output."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    losses, home = Losses(), Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            outcome = digest(train([losses, *callbacks], rate=rate, steps=steps))
        except Exception as error:  # a library may refuse a loss that is not finite
            outcome = f"{type(error).__name__}: {error}"
        finally:
            os.chdir(home)
    end = time.process_time()
    return Turn(end - (end if losses.began is None else losses.began), losses, outcome)


def run(train: Train, rate: float, steps: int, turns: int) -> Run:
    """Train at this rate, unwatched and watched in turn, and return what came of it."""
    bare, watched = [], []
    for _ in range(turns):
        bare.append(turn(train, rate, steps))
        watched.append(turn(train, rate, steps, LandscapeMonitor()))
    losses = bare[0].losses
    report = last_report() if watched[-1].losses.values else None  # else that of an earlier fit
    verdicts = report.to_dict()["verdicts"] if report else []
    part = max(1, len(losses.values) // 20)
    return Run(
        rate,
        len(losses.values),
        len({each.outcome for each in bare + watched}) == 1,
        losses.level(slice(part)),
        losses.level(slice(-part, None)),
        min(each.seconds for each in bare),
        min(each.seconds for each in watched),
        tuple((v["cause"], (v["finding"] or {}).get("name", ""), v["stuck"]) for v in verdicts),
        str(report),
        bare[0].outcome if ": " in bare[0].outcome else "",
    )


def main() -> None:
    """Train one example at one or more rates and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("example")
    parser.add_argument("--rates", nargs="+", choices=RATES, default=RATES)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--package", required=True, help="the package whose version is told")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    train = loaded(options.example)
    usual = inspect.signature(train).parameters["rate"].default
    rates = {"healthy": usual, "tiny": TINY, "large": LARGE * usual}
    turn(train, usual, WARM_UP)
    turn(train, usual, WARM_UP, LandscapeMonitor())
    results: dict[str, Any] = {
        name: asdict(run(train, rates[name], options.steps, 1 if name == "large" else options.turns))
        for name in options.rates
    }
    for name in ("healthy", "tiny"):  # only steps that are too large are a reason for a library to raise
        if name in results and results[name]["error"]:
            sys.exit(f"{options.example} at the rate {results[name]['rate']:g}: {results[name]['error']}")
    results["versions"] = {name: version(name) for name in ("torch", "lightning", options.package)}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
