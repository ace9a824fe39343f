"""The hooks of a monitor do not wait for the device in a step that is not measured.

On a CPU, the calls that would wait are counted: those that bring a value from the device to Python, or that need it to
know the shape of their result. A plain `.cpu()` does nothing to a tensor on the CPU, so it is not counted. The
tests that are marked `gpu` let CUDA itself look for all of them.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from tests.faults.runs import bits

STEPS, MEASURED_EVERY = 40, 10
HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
WAITING = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "allclose"}
"""operations that bring a value to Python, or whose result has a shape that depends on values"""
pytestmark = pytest.mark.filterwarnings("ignore::lightning_landscape.errors.LandscapeWarning")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Waits(TorchDispatchMode):
    """Counts the operations that would wait for the device, while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        to_host = name == "_to_copy" and str((kwargs or {}).get("device")) == "cpu"
        if name in WAITING or to_host:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class Classifier(L.LightningModule):
    def __init__(self, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
        self.optimizer = optimizer

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return self.optimizer(self.parameters(), lr=1e-3)


def batches(steps: int = STEPS) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8 * steps, 8, generator=generator)
    return DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), batch_size=8)


def monitored(**settings: Any) -> LandscapeMonitor:
    return LandscapeMonitor(norm_every_n_steps=MEASURED_EVERY, probes=(), every_n_steps=10**6, **settings)


def fit(module: L.LightningModule, *callbacks: L.Callback, **settings: Any) -> L.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    where = {"accelerator": "cpu", "devices": 1, "log_every_n_steps": MEASURED_EVERY, "max_epochs": 1}
    trainer = L.Trainer(callbacks=list(callbacks), **quiet, **{**where, **settings})
    trainer.fit(module, batches())
    return trainer


def watched(monitor: LandscapeMonitor, around: Any) -> LandscapeMonitor:
    """Return the monitor, each of whose hooks runs in the context that `around` returns for the step."""

    def within(hook: Any) -> Any:
        def run(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            with around(trainer.fit_loop.epoch_loop._batches_that_stepped):
                return hook(trainer, *args, **kwargs)

        return run

    for name in HOOKS:
        setattr(monitor, name, within(getattr(monitor, name)))
    after = monitor._recorder._after_step

    def after_step(*args: Any) -> None:
        with around(monitor._recorder._host.step):
            after(*args)

    monitor._recorder._after_step = after_step  # type: ignore[method-assign]
    return monitor


def is_measured(step: int) -> bool:
    """Return whether something is measured at this step: norms, a check, or the wiring after the first step."""
    return step == 0 or (step + 1) % MEASURED_EVERY == 0


def waits_by_step(monitor: LandscapeMonitor) -> dict[int, Counter[str]]:
    """Train with the monitor on the CPU, and return the operations of its hooks that would wait, by the step."""
    by_step: dict[int, Counter[str]] = {}

    @contextlib.contextmanager
    def counting(step: int) -> Iterator[None]:
        with Waits() as waits:
            yield
        by_step.setdefault(step, Counter()).update(waits.counts)

    fit(Classifier(), watched(monitor, counting))
    return by_step


@pytest.mark.parametrize("make", [monitored, lambda: LandscapeMonitor(norm_every_n_steps=MEASURED_EVERY)])
def test_hooks_have_no_call_that_waits_for_the_device_in_steps_that_are_not_measured(make):
    by_step = waits_by_step(make())
    assert set(by_step) >= set(range(STEPS))
    waiting = {step for step, counts in by_step.items() if counts}
    assert waiting
    assert waiting <= {step for step in by_step if is_measured(step)}


def test_a_call_that_waits_for_the_device_is_counted():
    with Waits() as waits:
        tensor = torch.ones(3)
        float(tensor.sum())
        tensor.tolist()
        tensor.nonzero()
        bool(tensor.any())
        tensor.double().to("cpu", torch.float32)
    assert waits.counts["_local_scalar_dense"] >= 2
    assert waits.counts["nonzero"] == 1


@pytest.mark.gpu
@on_a_gpu
def test_on_cuda_no_hook_waits_for_the_device_in_steps_that_are_not_measured():
    @contextlib.contextmanager
    def strict(step: int) -> Iterator[None]:
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode(mode if is_measured(step) else "error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    monitor = watched(monitored(), strict)
    trainer = fit(Classifier(), monitor, accelerator="gpu")
    assert trainer.global_step == STEPS
    assert not monitor._guard.failures


@pytest.mark.gpu
@on_a_gpu
def test_on_cuda_training_is_bit_identical_with_and_without_the_monitor():
    def weights(*callbacks: L.Callback) -> Any:
        L.seed_everything(7, verbose=False)
        trainer = fit(Classifier(torch.optim.Adam), *callbacks, accelerator="gpu", deterministic=True)
        state = {name: value.cpu() for name, value in trainer.lightning_module.state_dict().items()}
        return bits(state), bits(torch.cuda.get_rng_state())

    assert weights(LandscapeMonitor(every_n_steps=10, num_points=3)) == weights()


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize(("optimizer", "most"), [(torch.optim.SGD, 2.2), (torch.optim.Adam, 4.2)])
def test_on_cuda_a_diagnosis_takes_no_more_memory_than_a_copy_of_weights_optimizer_and_gradient(optimizer, most):
    def peak(*callbacks: L.Callback) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        fit(Stuck(optimizer), *callbacks, accelerator="gpu")
        return torch.cuda.max_memory_allocated()

    class Stuck(Classifier):
        """Has enough weights for them to be most of the memory, and a rate with which nothing changes."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.net = nn.Sequential(
                nn.Linear(8, 4096), nn.Tanh(), *(nn.Linear(4096, 4096) for _ in range(6)), nn.Linear(4096, 3)
            )

        def configure_optimizers(self) -> Any:
            return self.optimizer(self.parameters(), lr=1e-9)

    weights = sum(p.numel() * p.element_size() for p in Stuck(optimizer).parameters())
    alone, monitor = peak(), LandscapeMonitor(effort="standard")
    beyond = peak(monitor) - alone
    assert monitor.verdicts
    assert beyond <= most * weights
