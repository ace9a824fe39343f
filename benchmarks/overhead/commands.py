"""The command line: everything, some of it, or a module of your own."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from benchmarks.overhead import peers, timing
from benchmarks.overhead.floors import HEADERS, floors_row
from benchmarks.overhead.models import MODELS, Module, chain, clusters, residual
from benchmarks.overhead.tutorial import HEADERS as TUTORIAL
from benchmarks.overhead.tutorial import tutorial_rows

SECTIONS = ("steps", "runs", "tutorial", "growth", "floors", "import")


def parser() -> ArgumentParser:
    """Every option."""
    options = ArgumentParser(prog="python -m benchmarks.overhead")
    options.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all of them")
    options.add_argument("--models", nargs="+", choices=[model.name for model in MODELS], help="default: all of them")
    options.add_argument("--only-ours", action="store_true", help="without the other tools")
    options.add_argument("--shorten", type=float, default=1.0, help="share of the turns to take")
    options.add_argument("--seconds", type=float, default=90.0, help="length of the whole runs, about")
    options.add_argument("--module", help="path.to:a_class (or function) that makes your LightningModule")
    options.add_argument("--data", help="path.to:a_class (or function) that makes your data module or data loader")
    options.add_argument("--steps", type=int, default=1000, help="of your own module, in total")
    return options


def steps(options: Namespace) -> str:
    """What a step costs."""
    watchers, heavy = {**peers.OURS, **peers.PEERS}, peers.HEAVY
    if options.only_ours:
        watchers, heavy = peers.OURS, {}
    return timing.steps_table(chosen(options), watchers, heavy, options.shorten)


def runs(options: Namespace) -> str:
    """What a whole run costs."""
    models = [model for model in chosen(options) if model.name in {"tiny MLP", "conv net"}]
    return timing.whole_runs_table(models, options.seconds)


def tutorial(options: Namespace) -> str:
    """What a run of a few hundred steps costs."""
    with tempfile.TemporaryDirectory() as folder:
        return timing.markdown(TUTORIAL, tutorial_rows(folder))


def growth(options: Namespace) -> str:
    """How the cost grows with parameters, tensors, steps and ranks."""
    cases: dict[str, tuple[Any, Sequence[Any], int]] = {}
    data = clusters(16)(64)
    for width in (32, 320, 1000, 3200):
        count = sum(p.numel() for p in chain(width).parameters())
        cases[f"{count:,} parameters in 6 tensors"] = (lambda w=width: Module(chain(w)), data, 20_000)
    for layers in (8, 32, 128):
        cases[f"{2 * layers} tensors of 64 numbers or 64x64"] = (
            lambda n=layers: Module(residual(n)),
            clusters(64)(64),
            20_000,
        )
    for horizon in (1000, 10_000, 100_000):
        cases[f"tiny MLP in a run of {horizon:,} steps"] = (lambda: Module(chain(32)), data, horizon)
    table = timing.growth_table(cases, max(4, round(9 * options.shorten)), 50)
    two = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead.ranks"], capture_output=True, text=True, check=False
    )
    ranks = [line for line in two.stdout.splitlines() if line.startswith("| 2 ranks")]
    return "\n".join([table, *(ranks or ["| 2 ranks | | did not run | |"])])


def floors(options: Namespace) -> str:
    """How far a measured step is from its floor."""
    return timing.markdown(HEADERS, [floors_row(model) for model in chosen(options)])


def imports(options: Namespace) -> str:
    """What the import adds."""
    return timing.import_table()


def own(options: Namespace) -> str:
    """The same for a module of the user's own."""
    make, data = named(options.module), named(options.data)()
    if hasattr(data, "train_dataloader"):
        data.prepare_data()
        data.setup("fit")
        data = data.train_dataloader()
    batches = list(islice(data, 32))
    found = timing.against(make, peers.OURS, batches, turns=11, turn=max(1, options.steps // 11), horizon=options.steps)
    return timing.markdown(timing.HEADERS, timing.rows(options.module, len(batches), found))


def named(path: str) -> Any:
    """What stands at ``package.module:name``.

    Raises:
        ValueError: if there is no colon.
    """
    module, colon, name = path.partition(":")
    if not colon:
        raise ValueError(f"expected path.to.module:Name, got {path!r}")
    return getattr(importlib.import_module(module), name)


def chosen(options: Namespace) -> list[Any]:
    """The models that were asked for."""
    return [model for model in MODELS if model.name in (options.models or [model.name])]


PARTS: Mapping[str, tuple[str, str, Callable[[Namespace], str]]] = {
    "steps": (
        "A step",
        "Median over the turns of the ratio within a round, and its quartiles; in the last column all turns together. "
        "The Trainers believe that their runs take about a minute. Times are processor time of the process, "
        "on a GPU time on the wall. Without a logger.",
        steps,
    ),
    "runs": (
        "A whole run",
        "`LandscapeMonitor()` with TensorBoard's logger, from the beginning of the fit to its end: scheduled lines, "
        "records, pictures and the report included, and of the run that cannot learn the verdict with its trials.",
        runs,
    ),
    "tutorial": (
        "A run as long as a tutorial's",
        "300 steps, `LandscapeMonitor()` with TensorBoard's logger, times on the wall. The unit of work is one "
        "gradient of one batch; the cap is twice the first diagnosis and 2% of the steps. A probe that repeats a step "
        "takes as long as the step.",
        tutorial,
    ),
    "growth": ("Growth", "`LandscapeMonitor(probes=())` over an empty callback.", growth),
    "floors": (
        "A measured step and its floor",
        "Norms: of every gradient, over one norm of as many numbers in a row. Update: a copy of the weights (of "
        "large tensors, of a sample), and after the step their length, that of the change and its product with the "
        "gradient, over one copy and one inner product of all of them.",
        floors,
    ),
    "import": ("Import", "Processor time in a fresh interpreter, medians.", imports),
}


def report(options: Namespace) -> Iterable[str]:
    """The parts of the report, as they are done.

    Yields:
        Markdown.
    """
    yield f"Measured with {timing.setting()}."
    if options.module:
        yield own(options)
        return
    for section in options.sections or SECTIONS:
        title, note, make = PARTS[section]
        yield f"### {title}\n\n{note}\n\n{make(options)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    timing.quiet()
    for part in report(options):
        print(part, end="\n\n", flush=True)
