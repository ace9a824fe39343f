"""Tables that compare the time of a Trainer without callbacks with that of Trainers with callbacks."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from benchmarks.overhead.models import Model, unlearnable
from benchmarks.overhead.peers import BARE, DEFAULT, EMPTY, OURS, WATCHING
from benchmarks.overhead.turns import Fit, Timings, time_in_turns
from lightning_landscape import LandscapeMonitor

MakesCallbacks = Callable[[], list[L.Callback]]
MakesModule = Callable[[], L.LightningModule]


def silence() -> None:
    """Turn off warnings and messages, use one thread, and keep memory that is freed within the process."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning_landscape").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    # glibc would give each thread, and so each fit, an arena of its own and return its memory to the system after
    # every step: some fits would then have page faults and others not. These settings ask for one arena (-8), and for
    # no trimming (-1) and no mmap (-3) of freed memory.
    for setting, value in ((-8, 1), (-1, 2**31 - 1), (-3, 2**25)):
        libc.mallopt(setting, value)


def fit(build: MakesModule, callbacks: list[L.Callback], **settings: Any) -> Fit:
    """Return a function that trains a new module with these callbacks on an iterable of batches."""

    def run(batches: Any) -> None:
        defaults = {
            "accelerator": "gpu" if torch.cuda.is_available() else "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        L.Trainer(max_epochs=1, callbacks=callbacks, **{**defaults, **settings}).fit(build(), batches)

    return run


def compare(
    build: MakesModule, callbacks: Mapping[str, MakesCallbacks], batches: Sequence[Any], **timing: Any
) -> Timings:
    """Return the times of fits with these callbacks, without a logger."""
    return time_in_turns({name: fit(build, make()) for name, make in callbacks.items()}, batches, **timing)


def fit_with_logger(build: MakesModule, callbacks: list[L.Callback]) -> Fit:
    """Return a function that trains a new module with these callbacks and TensorBoard's logger."""
    return lambda batches: fit(build, callbacks, logger=TensorBoardLogger(tempfile.mkdtemp()))(batches)


def rows(model: str, size: int, timings: Timings) -> list[list[str]]:
    """Return a row for each fit except the bare one, and a row with the reason for each fit that failed."""
    table = []
    for name in timings.seconds:
        if name != BARE:
            step, bare = f"{1e3 * timings.per_step(BARE):.2f}", str(timings.ratio(name, BARE))
            empty = "" if name == EMPTY else str(timings.ratio(name, EMPTY))
            table.append([model, f"{size}", step, f"`{name}`", empty, bare, f"{timings.ratio_of_sums(name, BARE):.3f}"])
    return table + [[model, f"{size}", "", f"`{name}`", short(error), "", ""] for name, error in timings.errors.items()]


def short(error: str) -> str:
    """Return why a fit has no times, in a text that is short enough for a cell."""
    kind, _, text = error.partition(": ")
    return "not installed" if kind == "ModuleNotFoundError" else f"does not run: {kind}: {text.splitlines()[0][:80]}"


HEADERS = ("model", "batch", "bare step, ms", "with", "over an empty callback", "over the bare Trainer", "all turns")


def steps_table(
    models: Sequence[Model],
    callbacks: Mapping[str, MakesCallbacks],
    heavy: Mapping[str, MakesCallbacks],
    shorten: float,
) -> str:
    """Return the table of times per step, for all models and batch sizes.

    Args:
        models: that are trained.
        callbacks: that are compared.
        heavy: callbacks that take several times the step itself and are compared in a shorter run of their own.
        shorten: share of the turns to take, in (0, 1].
    """
    table = []
    for model in models:
        for size in model.sizes:
            batches, horizon = model.batches(size), {"horizon": model.steps_per_minute}
            turns = max(4, round(model.turns * shorten))
            table += rows(
                model.name,
                size,
                compare(model.build_seeded, callbacks, batches, turns=turns, turn=model.turn, **horizon),
            )
            if heavy:
                compared = {name: OURS[name] for name in (BARE, EMPTY)} | dict(heavy)
                turn = max(4, model.turn // 5)
                timings = compare(model.build_seeded, compared, batches, turns=4, turn=turn, **horizon)
                table += rows(model.name, size, timings)[1:]
    return markdown(HEADERS, table)


def whole_runs_table(models: Sequence[Model], seconds: float) -> str:
    """Return the table of times of whole fits, on data that can be learned and on data that cannot be learned."""
    table = []
    for model in models:
        for kind in ("learns", "cannot learn"):
            batches = model.batches(model.sizes[0])
            batches = batches if kind == "learns" else unlearnable(batches)
            steps = max(4 * model.turn, round(model.steps_per_minute * seconds / 60))
            monitor = LandscapeMonitor()
            callbacks: dict[str, list[L.Callback]] = {BARE: [], EMPTY: [L.Callback()], DEFAULT: [monitor]}
            fits = {name: fit_with_logger(model.build_seeded, added) for name, added in callbacks.items()}
            with contextlib.redirect_stdout(io.StringIO()):  # the monitor prints a summary
                timings = time_in_turns(fits, batches, turns=steps // model.turn, turn=model.turn)
            if timings.errors:
                table.append([model.name, kind, "", "; ".join(map(short, timings.errors.values())), "", "", ""])
                continue
            verdicts = ", ".join(verdict.cause.value for verdict in monitor.verdicts) or "none"
            length = f"{timings.totals[BARE]:.0f} s"
            empty, bare = (f"{timings.totals[DEFAULT] / timings.totals[name]:.3f}" for name in (EMPTY, BARE))
            table.append([model.name, kind, length, empty, bare, str(timings.ratio(DEFAULT, BARE)), verdicts])
    headers = ("model", "run", "bare", "over an empty callback", "over bare", "typical turn, over bare", "verdicts")
    return markdown(headers, table)


def growth_table(cases: Mapping[str, tuple[MakesModule, Sequence[Any], int]], turns: int, turn: int) -> str:
    """Return the table of what a monitor adds to a step with an empty callback, in µs, one row for each case.

    Args:
        cases: by name, a function that makes the module, the batches, and the length of the run that is announced.
        turns: of each fit.
        turn: steps in a turn.
    """
    table = []
    for name, (build, batches, horizon) in cases.items():
        callbacks = {name: OURS[name] for name in (EMPTY, WATCHING)}
        timings = compare(build, callbacks, batches, turns=turns, turn=turn, horizon=horizon)
        step = timings.per_step(EMPTY)
        ratio = timings.ratio(WATCHING, EMPTY)
        table.append([name, f"{1e6 * step:.0f}", f"{1e6 * step * (ratio.median - 1):.0f}", str(ratio)])
    return markdown(("case", "step with an empty callback, µs", "the monitor adds, µs", "ratio"), table)


def import_table(repetitions: int = 5) -> str:
    """Return the table of processor time that the imports take, in new interpreters that run in turn."""
    programs = {
        "lightning.pytorch": "import lightning.pytorch",
        "and lightning_landscape": "import lightning.pytorch, lightning_landscape",
        "and LandscapeMonitor": "import lightning.pytorch; from lightning_landscape import LandscapeMonitor",
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repetitions):
        for name, program in programs.items():
            timed = f"import time; start = time.process_time(); {program}; print(time.process_time() - start)"
            process = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
            seconds[name].append(float(process.stdout))
    base = seconds["lightning.pytorch"]
    table = []
    for name, times in seconds.items():
        added = statistics.median(a - b for a, b in zip(times, base, strict=True))
        table.append([name, f"{statistics.median(times):.2f}", f"{added:.2f}"])
    return markdown(("import", "s", "added, s"), table)


def markdown(headers: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headers, ["---"] * len(headers), *table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def environment() -> str:
    """Return the versions, the device and the date of a measurement."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores, one thread"
    versions = f"python {platform.python_version()}, torch {torch.__version__}, lightning {L.__version__}"
    return f"{versions}, {device}, {time.strftime('%Y-%m-%d')}"
