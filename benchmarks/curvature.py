"""Compare eigenvalues and traces of one Hessian from this library and from other tools: error, time and memory.

Run it by ``python -m benchmarks.curvature`` in an environment with ``benchmarks/requirements.txt``. Times are CPU
seconds of one thread, medians over rounds in which all tools run in turn. Errors are relative to a Lanczos method in
float64 with enough steps that its residuals vanish.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import curvlinops
import torch
from torch import nn

from benchmarks import curvature_peers as peers
from benchmarks.curvature_peers import BOTH, LARGEST, SMALLEST, Answer
from benchmarks.networks import Data, conv_net, tiny_conv_net, transformer
from lightning_landscape.functional import hessian_extremes
from lightning_landscape.functional.hessian.extremes import Extremes, both_ends, largest, sign_of_lambda_min, smallest

ROUNDS = 3


def never(extremes: Extremes) -> bool:
    """Return False: a stopping rule for `hessian_extremes` that always takes all iterations."""
    return False


@dataclass
class Row:
    """How one tool does a task, with the CPU seconds of each round and the last answer."""

    tool: str
    run: Callable[[], Answer]
    seconds: list[float] = field(default_factory=list)
    answer: Answer | None = None


@dataclass(frozen=True)
class Task:
    """Eigenvalues that several tools compute, with the exact ones."""

    name: str
    truth: Sequence[float]
    """exact eigenvalues, ascending"""
    ends: Callable[[Sequence[float]], list[float]]
    """picks the eigenvalues that are compared from ascending ones"""
    rows: list[Row]


def truth_of(model: nn.Module, data: Data, steps: int) -> tuple[float, ...]:
    """Return the Ritz values of a Lanczos method in float64 with this many steps, and print how exact they are."""
    exact = copy.deepcopy(model).double()
    batches = [(x.double() if x.is_floating_point() else x, y) for x, y in data]
    extremes = hessian_extremes(
        peers.losses(exact, batches), dict(exact.named_parameters()), iterations=steps, stop=never, memory=8 * 2**30
    )
    print(
        f"truth by {extremes.products} float64 products: loss {extremes.loss:.4f}, "
        f"λ_min {extremes.lambda_min:.6g} (residual {extremes.residual_min:.1e}), "
        f"λ_max {extremes.lambda_max:.6g} (residual {extremes.residual_max:.1e})"
    )
    return extremes.ritz_values


def spectrum_tasks(model: nn.Module, data: Data, truth: Sequence[float], second: Task, most: int) -> list[Task]:
    """Return the tasks of both networks, with `second` as the second one; `most` limits the iterations for λ_min."""
    low, top, five = (lambda v: [v[0]]), (lambda v: [v[-1]]), (lambda v: list(v[-5:]))
    return [
        Task(
            "40 products, whatever they give",
            truth,
            top,
            [
                Row("ours", lambda: peers.ours(model, data, never, 40)),
                Row("PyHessian, batches", lambda: peers.with_pyhessian(model, data, 1, 0.0, 40)),
                Row("PyHessian, one batch", lambda: peers.with_pyhessian_in_one_batch(model, data, 1, 0.0, 40)),
                Row("curvlinops, operator only", lambda: peers.products_of_curvlinops(model, data, 40)),
                Row("hessian-eigenthings(40)", lambda: peers.with_eigenthings(model, data, LARGEST, 1, 40)),
            ],
        ),
        second,
        Task(
            "λ_max to 1e-3",
            truth,
            top,
            [
                Row("ours", lambda: peers.ours(model, data, largest(1, 1e-3), 60)),
                Row("PyHessian, batches", lambda: peers.with_pyhessian(model, data, 1, 1e-3)),
                Row("PyHessian, one batch", lambda: peers.with_pyhessian_in_one_batch(model, data, 1, 1e-3)),
                Row("curvlinops + eigsh(1e-3)", lambda: peers.with_curvlinops(model, data, LARGEST, 1, 1e-3)),
                Row("hessian-eigenthings(40)", lambda: peers.with_eigenthings(model, data, LARGEST, 1, 40)),
            ],
        ),
        Task(
            "top 5 to 1e-3",
            truth,
            five,
            [
                Row("ours", lambda: peers.ours(model, data, largest(5, 1e-3), 60)),
                Row("PyHessian, batches", lambda: peers.with_pyhessian(model, data, 5, 1e-3)),
                Row("PyHessian, one batch", lambda: peers.with_pyhessian_in_one_batch(model, data, 5, 1e-3)),
                Row("curvlinops + eigsh(1e-3)", lambda: peers.with_curvlinops(model, data, LARGEST, 5, 1e-3)),
                Row("curvlinops + eigsh(3e-2)", lambda: peers.with_curvlinops(model, data, LARGEST, 5, 3e-2)),
                Row("hessian-eigenthings(40)", lambda: peers.with_eigenthings(model, data, LARGEST, 5, 40)),
            ],
        ),
        Task(
            "λ_min to 1e-3",
            truth,
            low,
            [
                Row("ours", lambda: peers.ours(model, data, smallest(1, 1e-3), most)),
                Row("curvlinops + eigsh(1e-3)", lambda: peers.with_curvlinops(model, data, SMALLEST, 1, 1e-3)),
                Row("curvlinops + eigsh(3e-2)", lambda: peers.with_curvlinops(model, data, SMALLEST, 1, 3e-2)),
                Row("hessian-eigenthings(40)", lambda: peers.with_eigenthings(model, data, SMALLEST, 1, 40)),
            ],
        ),
    ]


def conv_tasks(model: nn.Module, data: Data) -> list[Task]:
    """Return the tasks of the convolutional network: both ends of the spectrum, and those of `spectrum_tasks`."""
    truth = truth_of(model, data, 110)
    both = Task(
        "both ends to 1e-2",
        truth,
        lambda v: [v[0], v[-1]],
        [
            Row("ours", lambda: peers.ours(model, data, both_ends(1e-2), 30)),
            Row("curvlinops + eigsh(1e-2)", lambda: peers.with_curvlinops(model, data, BOTH, 2, 1e-2)),
            Row("hessian-eigenthings(40), LM+SA", lambda: both_by_eigenthings(model, data)),
        ],
    )
    return spectrum_tasks(model, data, truth, both, 60)


def transformer_tasks(model: nn.Module, data: Data) -> list[Task]:
    """Return the tasks of the transformer: λ_max with the sign of λ_min, λ_min, and those of `spectrum_tasks`."""
    truth = truth_of(model, data, 180)
    sign = Task(
        "λ_max to 1e-2 and the sign of λ_min",
        truth,
        lambda v: [v[-1]],
        [
            Row("ours", lambda: peers.ours(model, data, sign_of_lambda_min(1e-2), 30)),
            Row("curvlinops + eigsh(1e-2)", lambda: peers.with_curvlinops(model, data, BOTH, 2, 1e-2)),
            Row("hessian-eigenthings(40), LM+SA", lambda: both_by_eigenthings(model, data)),
        ],
    )
    lower = Task(
        "λ_min to 1e-2",
        truth,
        lambda v: [v[0]],
        [
            Row("ours", lambda: peers.ours(model, data, smallest(1, 1e-2), 120)),
            Row("curvlinops + eigsh(1e-2)", lambda: peers.with_curvlinops(model, data, SMALLEST, 1, 1e-2)),
            Row("curvlinops + eigsh(0.1)", lambda: peers.with_curvlinops(model, data, SMALLEST, 1, 0.1)),
        ],
    )
    products, second, *others = spectrum_tasks(model, data, truth, sign, 150)
    return [products, second, lower, *others]


def both_by_eigenthings(model: nn.Module, data: Data) -> Answer:
    """Return both ends from hessian-eigenthings, whose Lanczos method computes one end at a time."""
    low = peers.with_eigenthings(model, data, SMALLEST, 1, 40)
    high = peers.with_eigenthings(model, data, LARGEST, 1, 40)
    return Answer([*low.values, *high.values], low.products + high.products)


def trace_tasks(model: nn.Module, data: Data) -> list[Task]:
    """Return the task of the trace, whose exact value is the sum of all eigenvalues."""
    truth = truth_of(model, data, 1790)
    methods = {"Hutch++": curvlinops.hutchpp_trace, "XTrace": curvlinops.xtrace}
    rows = [Row("ours (Hutchinson)", lambda: peers.our_trace(model, data, 98))]
    rows += [
        Row(f"curvlinops {name}", lambda m=method, n=count: peers.trace_with_curvlinops(model, data, n, m))
        for (name, method), count in zip(methods.items(), (99, 98), strict=True)
    ]
    rows.append(Row("hessian-eigenthings Hutch++", lambda: peers.trace_with_eigenthings(model, data, 99)))
    rows.append(Row("PyHessian Hutchinson", lambda: peers.trace_with_pyhessian(model, data, 99)))
    return [Task("trace, about 99 products", [sum(truth)], list, rows)]


def measure(tasks: Sequence[Task]) -> None:
    """Time all tools in turn, for several rounds, so that other load on the machine affects all of them."""
    for task in tasks:
        for _ in range(ROUNDS):
            for row in task.rows:
                begin = time.process_time()
                row.answer = row.run()
                row.seconds.append(time.process_time() - begin)


def report(name: str, tasks: Sequence[Task]) -> None:
    """Print the table of one network."""
    print(f"\n{name}")
    print(f"| {'task':36} | {'tool':30} |  CPU s | ratio | products | ms each | worst error | note |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    for task in tasks:
        base = statistics.median(task.rows[0].seconds)
        for row in task.rows:
            seconds, answer = statistics.median(row.seconds), row.answer
            exact, computed = task.ends(task.truth), task.ends(answer.values)
            error = max(abs(a - b) / abs(b) for a, b in zip(computed, exact, strict=True))
            print(
                f"| {task.name:36} | {row.tool:30} | {seconds:6.2f} | {seconds / base:5.2f} | {answer.products:8.0f} "
                f"| {1e3 * seconds / answer.products:7.1f} | {error:11.1e} | {answer.note} |"
            )


def memory_of_process(field: str) -> float:
    """Return a field of Linux's ``/proc/self/status``, such as VmRSS, in MiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak_rise(make: Callable[[], tuple[nn.Module, Data]], memory: float, results: multiprocessing.Queue) -> None:
    """Put the method, the counted memory and the rise of peak resident memory of 20 products, in MiB, into `results`.

    It runs in its own process, whose resident memory before the products is subtracted.
    """
    torch.set_num_threads(1)
    model, data = make()
    # The first products allocate memory that torch keeps for the life of the process, so they are not measured.
    run = functools.partial(hessian_extremes, peers.losses(model, data), dict(model.named_parameters()), stop=never)
    run(iterations=4, memory=memory)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM, the peak
    before = memory_of_process("VmRSS")
    extremes = run(iterations=20, memory=memory)
    results.put((str(extremes.method), extremes.memory / 2**20, memory_of_process("VmHWM") - before))


def report_memory() -> None:
    """Print the memory of retained graphs, of recomputed graphs and of finite differences, under falling budgets."""
    print("\nMemory of 20 products (MiB): budget, what the probe counts, and the rise of the process's peak")
    print("| network | budget | counted | peak rise | method |")
    print("|---|---:|---:|---:|---|")
    context = multiprocessing.get_context("spawn")
    for name, make, budgets in (("conv", conv_net, (2048, 90, 80)), ("transformer", transformer, (2048, 175, 150))):
        for budget in budgets:
            results = context.Queue()
            child = context.Process(target=peak_rise, args=(make, budget * 2**20, results))
            child.start()
            method, counted, rise = results.get()
            child.join()
            print(f"| {name} | {budget} | {counted:.0f} | {rise:.0f} | {method} |")


def main() -> None:
    """Run all tasks and print their tables."""
    torch.set_num_threads(1)
    print(f"python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, 1 thread")
    for name, make, tasks_of in (
        ("conv net, 105,866 parameters, 2 x 64 images", conv_net, conv_tasks),
        ("transformer, 813,888 parameters, 2 x 8 x 32 tokens", transformer, transformer_tasks),
        ("tiny conv net, 1,790 parameters, 2 x 64 images", tiny_conv_net, trace_tasks),
    ):
        tasks = tasks_of(*make())
        measure(tasks)
        report(name, tasks)
    report_memory()


if __name__ == "__main__":
    main()
