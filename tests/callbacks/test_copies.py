"""A monitor reports on the fits that its copies watched, and no copy contains objects of the run."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from pkgutil import resolve_name

import cloudpickle
import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch import nn

import lightning_landscape
from lightning_landscape import GradientNormMonitor, LandscapeMonitor, PlateauMonitor
from lightning_landscape.reporting.messages import OF_A_COPY
from tests.faults.runs import MONITORS, Flat, Net, fit, warnings_of

every_monitor = pytest.mark.parametrize("name", MONITORS)
ways = pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])


def quietly(*arguments, **settings):
    found = []
    warnings_of(lambda: found.append(fit(*arguments, **settings)))
    return found[0]


@every_monitor
@ways
def test_a_monitor_that_watched_no_fit_reports_on_that_of_its_copy_and_says_so(name, copied):
    original = MONITORS[name]()
    twin = copied(original)
    assert OF_A_COPY not in original.report
    quietly(Flat(), twin, steps=60)
    assert original.report.splitlines() == [*twin.report.splitlines(), OF_A_COPY]
    assert original.report.to_dict()["notes"][-1] == OF_A_COPY
    assert original.report.document["course"]["notes"][-1] == OF_A_COPY
    assert original.verdicts == twin.verdicts
    assert original.verdict == twin.verdict
    for attribute in ("planes", "remedy_outcomes"):
        assert getattr(original, attribute, None) == getattr(twin, attribute, None)
    assert OF_A_COPY not in twin.report


@ways
def test_a_monitor_reports_on_the_latest_fit_of_a_copy_of_a_copy_even_if_no_copy_is_left(copied):
    original = PlateauMonitor()
    for steps in (20, 40, 60):  # two copies for every fit
        quietly(Net(), copied(copied(original)), steps=steps)
        gc.collect()
        assert original.report.steps == steps


@ways
def test_in_a_chain_of_copies_every_monitor_reports_on_the_latest_fit_and_the_chain_does_not_grow(copied):
    original = monitor = PlateauMonitor()
    for _ in range(5):
        monitor = copied(monitor)  # as in a library that copies the copy again for each fit
        quietly(Net(), monitor, steps=20)
        gc.collect()
    assert original.report.steps == 20
    assert len(monitor._lineage._ancestors) == 2  # the original, and the one that this was copied from
    assert sum(ref() is not None for ref in monitor._lineage._ancestors) == 1


@ways
def test_a_monitor_that_watched_a_fit_itself_reports_on_that(copied):
    original = PlateauMonitor()
    quietly(Net(), original, steps=20)
    twin = copied(original)
    assert twin.report == original.report
    quietly(Net(), twin, steps=40)
    assert (original.report.steps, twin.report.steps) == (20, 40)
    assert OF_A_COPY not in original.report


@ways
def test_a_copy_that_has_watched_no_fit_reports_on_that_of_its_original(copied):
    original = PlateauMonitor()
    quietly(Net(), copied(original), steps=20)
    assert copied(original).report == original.report


def test_a_copy_does_not_report_on_the_fit_of_another_copy():
    original = PlateauMonitor()
    one, other = copy.deepcopy(original), copy.deepcopy(original)
    quietly(Net(), one, steps=20)
    assert other.report == "No optimizer step was watched."


class At(Callback):
    """Calls something once, after the 30th step."""

    def __init__(self, work):
        self.work, self.done = work, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 30:
            self.done.append(self.work())


@ways
@every_monitor
def test_a_copy_that_is_made_during_a_fit_is_independent_of_the_original(name, copied):
    monitor, alone, new = MONITORS[name](), MONITORS[name](), MONITORS[name]()
    quietly(Flat(), alone, steps=60)
    middle = At(lambda: copied(monitor))
    quietly(Flat(), monitor, middle, steps=60)
    (twin,) = middle.done
    assert monitor._state.state_dict() == alone._state.state_dict()
    assert twin._state.steps < monitor._state.steps == 60
    assert not twin._watching
    quietly(Flat(), new, steps=60)
    quietly(Flat(), twin, steps=60)
    assert twin._state.state_dict() == new._state.state_dict()


def test_two_copies_can_watch_two_fits_at_the_same_time():
    original = PlateauMonitor()
    turns = threading.Barrier(2, timeout=300)
    copies = [copy.copy(original), copy.copy(original)]

    def work(monitor, steps):
        trainer = L.Trainer(
            accelerator="cpu", max_steps=steps, callbacks=[monitor, At(turns.wait)],
            **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        )  # fmt: skip
        trainer.fit(Net(), torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=8))

    threads = [threading.Thread(target=work, args=pair) for pair in zip(copies, (40, 50), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [monitor.report.steps for monitor in copies] == [40, 50]
    assert original.report.steps in (40, 50)


def data():
    inputs = torch.randn(128, 4)
    return inputs, inputs[:, :3].argmax(1)


def test_the_original_reports_during_the_fit_that_its_copy_watches():
    original = LandscapeMonitor()
    middle = At(lambda: original.report.steps)
    quietly(Flat(), copy.deepcopy(original), middle, steps=60)
    assert 0 < middle.done[0] < 60
    assert original.report.steps == 60


@ways
def test_the_original_and_the_last_report_keep_no_object_of_the_run_alive(copied, tmp_path):
    original = LandscapeMonitor()
    module = Flat()
    trainer = quietly(module, copied(original), steps=60, logger=CSVLogger(tmp_path))
    references = [weakref.ref(part) for part in (module, trainer, trainer.optimizers[0], trainer.logger)]
    del module, trainer
    gc.collect()
    assert [reference() for reference in references] == [None] * 4
    assert original.report.steps == lightning_landscape.last_report().steps == 60


@ways
def test_only_a_shallow_copy_shares_the_users_probes_and_functions(copied):
    class Probe:
        def __call__(self, surface):
            return None

    class Loss:
        def __call__(self, module, batch):
            return module.loss(batch)

    monitor = LandscapeMonitor(probes=(Probe(),), loss_fn=Loss())
    twin = copied(monitor)
    shared = copied is copy.copy
    assert (twin._examination._probes[0] is monitor._examination._probes[0]) is shared
    assert (twin._examination._loss_fn is monitor._examination._loss_fn) is shared
    assert twin._examination is not monitor._examination


def test_the_last_report_is_that_of_the_latest_fit_of_any_monitor():
    for steps in (20, 40):
        quietly(Net(), copy.deepcopy(PlateauMonitor()), steps=steps)
        gc.collect()
        assert lightning_landscape.last_report().steps == steps


@pytest.mark.parametrize("first", [True, False])
def test_beside_other_monitors_the_last_report_is_that_of_the_landscape_monitor(first):
    landscape, other = LandscapeMonitor(), GradientNormMonitor()
    quietly(Flat(), *((landscape, other) if first else (other, landscape)), steps=60)
    assert lightning_landscape.last_report() == landscape.report != other.report
    quietly(Net(), GradientNormMonitor(), steps=20)
    assert lightning_landscape.last_report().steps == 20


def test_before_any_fit_has_ended_there_is_no_last_report(monkeypatch):
    monkeypatch.setattr("lightning_landscape.callbacks.latest._ended", [])
    assert lightning_landscape.last_report() is None


def test_there_is_a_last_report_after_a_fit_that_failed():
    def fail():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(Net(), PlateauMonitor(), At(fail), steps=60)
    assert lightning_landscape.last_report().steps == 30


class Large(Flat):
    """Four megabytes of weights and ten of a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.zeros(10 * 2**18))
        self.wide = nn.Linear(1024, 1024)


def serialized(value):
    return pickle.dumps(value), cloudpickle.dumps(value)


@pytest.mark.slow
@every_monitor
@pytest.mark.parametrize("logs", [True, False])
def test_a_pickled_monitor_is_small_at_any_time_and_can_watch_a_fit(name, logs, tmp_path):
    monitor, new = MONITORS[name](), MONITORS[name]()
    before = serialized(monitor)
    during = At(lambda: serialized(monitor))
    quietly(Large(), monitor, during, steps=60, logger=CSVLogger(tmp_path) if logs else False)
    after = serialized(monitor)
    quietly(Flat(), new, steps=60)
    for written in (*before, *during.done[0], *after):
        assert len(written) < 2**20
        loaded = pickle.loads(written)
        assert not hasattr(loaded, "log")
        if written in after:
            assert loaded.report == monitor.report
            assert loaded.verdicts == monitor.verdicts
        quietly(Flat(), loaded, steps=60)
        assert loaded._state.state_dict() == new._state.state_dict()


@every_monitor
def test_a_monitor_that_is_pickled_during_a_fit_reports_on_the_steps_so_far_at_any_later_time(name, monkeypatch):
    monitor = MONITORS[name]()
    middle = At(lambda: (pickle.dumps(monitor), monitor.report.splitlines()[0]))
    quietly(Flat(), monitor, middle, steps=60)
    ((written, said),) = middle.done
    monkeypatch.setattr("time.perf_counter", lambda: 1e9)  # another process, or another day
    report = pickle.loads(written).report
    assert report.splitlines()[0] == said
    assert report == pickle.loads(written).report


def test_a_pickled_monitor_reports_on_the_fit_of_a_copy():
    original = PlateauMonitor()
    quietly(Flat(), copy.deepcopy(original), steps=60)
    loaded = pickle.loads(pickle.dumps(original))
    assert loaded.report == original.report
    quietly(Net(), copy.deepcopy(loaded), steps=20)
    assert (loaded.report.steps, original.report.steps) == (20, 60)


@ways
def test_a_copy_has_neither_the_weights_nor_the_module(copied):
    monitor = LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2)
    middle = At(lambda: copied(monitor))
    quietly(Large(), monitor, middle, steps=60)
    for twin in (*middle.done, copied(monitor)):
        assert len(pickle.dumps(vars(twin))) < 2**20
        assert not {"log", "log_dict"} & vars(twin).keys()


LIST_CLASSES = "get_unsafe_globals_in_checkpoint"


@pytest.mark.skipif(not hasattr(torch.serialization, LIST_CLASSES), reason="needs torch 2.6")
@pytest.mark.parametrize("watched", [True, False])
@every_monitor
def test_a_saved_monitor_can_be_loaded_with_weights_only_if_the_librarys_classes_are_allowed(name, watched, tmp_path):
    monitor, path = MONITORS[name](), tmp_path / "module.ckpt"
    if watched:
        quietly(Flat(), monitor, steps=60, logger=CSVLogger(tmp_path))
    torch.save({"hyper_parameters": {"callbacks": [monitor]}}, path)
    names = getattr(torch.serialization, LIST_CLASSES)(path)
    assert all(name.startswith("lightning_landscape.") for name in names)
    with torch.serialization.safe_globals([resolve_name(name) for name in names]):
        (loaded,) = torch.load(path, weights_only=True)["hyper_parameters"]["callbacks"]
    assert loaded.report == monitor.report
    assert loaded._state.state_dict() == monitor._state.state_dict()
