"""Races between a bare Trainer and those with callbacks, as tables."""

from __future__ import annotations

import contextlib
import io
import logging
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
from benchmarks.overhead.turns import Fit, Race, race
from lightning_landscape import LandscapeMonitor

MakesCallbacks = Callable[[], list[L.Callback]]
MakesModule = Callable[[], L.LightningModule]


def quiet() -> None:
    """Without what Lightning and the monitors say on the way, and without memory going back and forth."""
    import ctypes

    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning_landscape").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    # Each fit runs in a thread, which glibc would give an arena of its own and whose memory it would return at every
    # step: some fits would then pay for page faults and others not. One arena (-8), no trimming (-1), no mmap (-3).
    for setting, value in ((-8, 1), (-1, 2**31 - 1), (-3, 2**25)):
        libc.mallopt(setting, value)


def fit(build: MakesModule, callbacks: list[L.Callback], **settings: Any) -> Fit:
    """Train on whatever batches come."""

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


def against(build: MakesModule, watchers: Mapping[str, MakesCallbacks], batches: Sequence[Any], **timing: Any) -> Race:
    """A race between these, without loggers."""
    return race({name: fit(build, make()) for name, make in watchers.items()}, batches, **timing)


def with_logger(build: MakesModule, callbacks: list[L.Callback]) -> Fit:
    """A fit that writes for TensorBoard."""
    return lambda batches: fit(build, callbacks, logger=TensorBoardLogger(tempfile.mkdtemp()))(batches)


def rows(model: str, size: int, found: Race) -> list[list[str]]:
    """One row for each contestant but the bare one, and one with the reason for each that failed."""
    table = []
    for name in found.seconds:
        if name != BARE:
            step, bare = f"{1e3 * found.per_step(BARE):.2f}", str(found.ratio(name, BARE))
            over = "" if name == EMPTY else str(found.ratio(name, EMPTY))
            table.append([model, f"{size}", step, f"`{name}`", over, bare, f"{found.whole(name, BARE):.3f}"])
    return table + [[model, f"{size}", "", f"`{name}`", told(why), "", ""] for name, why in found.failed.items()]


def told(why: str) -> str:
    """Why there is no figure, short enough for a cell."""
    kind, _, text = why.partition(": ")
    return "not installed" if kind == "ModuleNotFoundError" else f"does not run: {kind}: {text.splitlines()[0][:80]}"


HEADERS = ("model", "batch", "bare step, ms", "with", "over an empty callback", "over the bare Trainer", "all turns")


def steps_table(
    models: Sequence[Model],
    watchers: Mapping[str, MakesCallbacks],
    heavy: Mapping[str, MakesCallbacks],
    shorten: float,
) -> str:
    """What each costs per step, over all models and batch sizes; the heavy ones in a short race of their own."""
    table = []
    for model in models:
        for size in model.sizes:
            batches, known = model.batches(size), {"horizon": model.minute}
            turns = max(4, round(model.turns * shorten))
            table += rows(
                model.name, size, against(model.made, watchers, batches, turns=turns, turn=model.turn, **known)
            )
            if heavy:
                racing = {name: OURS[name] for name in (BARE, EMPTY)} | dict(heavy)
                found = against(model.made, racing, batches, turns=4, turn=max(4, model.turn // 5), **known)
                table += rows(model.name, size, found)[1:]
    return markdown(HEADERS, table)


def whole_runs_table(models: Sequence[Model], seconds: float) -> str:
    """What a whole run costs that learns, and one that cannot, everything included that happens once or at its ends."""
    table = []
    for model in models:
        for kind in ("learns", "cannot learn"):
            batches = model.batches(model.sizes[0])
            batches = batches if kind == "learns" else unlearnable(batches)
            steps = max(4 * model.turn, round(model.minute * seconds / 60))
            monitor = LandscapeMonitor()
            contestants: dict[str, list[L.Callback]] = {BARE: [], EMPTY: [L.Callback()], DEFAULT: [monitor]}
            fits = {name: with_logger(model.made, callbacks) for name, callbacks in contestants.items()}
            with contextlib.redirect_stdout(io.StringIO()):  # the monitor's own summary
                found = race(fits, batches, turns=steps // model.turn, turn=model.turn)
            if found.failed:
                table.append([model.name, kind, "", "; ".join(map(told, found.failed.values())), "", "", ""])
                continue
            said = ", ".join(verdict.cause.value for verdict in monitor.verdicts) or "nothing"
            length = f"{found.totals[BARE]:.0f} s"
            empty, bare = (f"{found.totals[DEFAULT] / found.totals[name]:.3f}" for name in (EMPTY, BARE))
            table.append([model.name, kind, length, empty, bare, str(found.ratio(DEFAULT, BARE)), said])
    headers = ("model", "run", "bare", "over an empty callback", "over bare", "typical turn, over bare", "what it said")
    return markdown(headers, table)


def growth_table(cases: Mapping[str, tuple[MakesModule, Sequence[Any], int]], turns: int, turn: int) -> str:
    """What watching adds to a step over an empty callback, in µs, as something grows."""
    table = []
    for name, (build, batches, horizon) in cases.items():
        watchers = {name: OURS[name] for name in (EMPTY, WATCHING)}
        found = against(build, watchers, batches, turns=turns, turn=turn, horizon=horizon)
        step = found.per_step(EMPTY)
        ratio = found.ratio(WATCHING, EMPTY)
        table.append([name, f"{1e6 * step:.0f}", f"{1e6 * step * (ratio.median - 1):.0f}", str(ratio)])
    return markdown(("case", "step with an empty callback, µs", "watching adds, µs", "ratio"), table)


def import_table(repetitions: int = 5) -> str:
    """What importing the package and its monitor adds to importing Lightning, in fresh interpreters by turns."""
    import statistics
    import subprocess
    import sys

    programs = {
        "lightning.pytorch": "import lightning.pytorch",
        "and lightning_landscape": "import lightning.pytorch, lightning_landscape",
        "and LandscapeMonitor": "import lightning.pytorch; from lightning_landscape import LandscapeMonitor",
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repetitions):
        for name, program in programs.items():
            timed = f"import time; start = time.process_time(); {program}; print(time.process_time() - start)"
            found = subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
            seconds[name].append(float(found.stdout))
    base = seconds["lightning.pytorch"]
    table = []
    for name, found in seconds.items():
        added = statistics.median(a - b for a, b in zip(found, base, strict=True))
        table.append([name, f"{statistics.median(found):.2f}", f"{added:.2f}"])
    return markdown(("import", "s", "added, s"), table)


def markdown(headers: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [headers, ["---"] * len(headers), *table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def setting() -> str:
    """On what this was measured."""
    import os
    import platform

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} cores, one thread"
    versions = f"python {platform.python_version()}, torch {torch.__version__}, lightning {L.__version__}"
    return f"{versions}, {device}, {time.strftime('%Y-%m-%d')}"
