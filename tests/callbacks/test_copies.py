"""Copies of a monitor: the original reports what its copies observed, and no copy contains the run."""

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
each_way_to_copy = pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])


def train(*arguments, **settings):
    """Call `fit` without showing this library's warnings, and return the trainer."""
    trainers = []
    warnings_of(lambda: trainers.append(fit(*arguments, **settings)))
    return trainers[0]


@every_monitor
@each_way_to_copy
def test_a_monitor_without_a_run_of_its_own_reports_the_run_of_its_copy_and_says_so(name, make_copy):
    original = MONITORS[name]()
    duplicate = make_copy(original)
    assert OF_A_COPY not in original.report
    train(Flat(), duplicate, steps=60)
    assert original.report.splitlines() == [*duplicate.report.splitlines(), OF_A_COPY]
    assert original.report.to_dict()["notes"][-1] == OF_A_COPY
    assert original.report.document["course"]["notes"][-1] == OF_A_COPY
    assert original.verdicts == duplicate.verdicts
    assert original.verdict == duplicate.verdict
    for attribute in ("planes", "remedy_outcomes"):
        assert getattr(original, attribute, None) == getattr(duplicate, attribute, None)
    assert OF_A_COPY not in duplicate.report


@each_way_to_copy
def test_a_monitor_reports_the_latest_fit_of_a_copy_of_its_copy_even_after_these_are_deleted(make_copy):
    original = PlateauMonitor()
    for steps in (20, 40, 60):  # a copy of a copy for each fit
        train(Net(), make_copy(make_copy(original)), steps=steps)
        gc.collect()
        assert original.report.steps == steps


@each_way_to_copy
def test_a_chain_of_copies_reports_to_the_original_and_refers_to_no_deleted_copy_but_one(make_copy):
    original = monitor = PlateauMonitor()
    for _ in range(5):
        monitor = make_copy(monitor)  # as if each fit copied the monitor of the fit before
        train(Net(), monitor, steps=20)
        gc.collect()
    assert original.report.steps == 20
    assert len(monitor._lineage._ancestors) == 2  # the original, and the one that this monitor was copied from
    assert sum(ref() is not None for ref in monitor._lineage._ancestors) == 1


@each_way_to_copy
def test_a_monitor_with_a_run_of_its_own_reports_that_run_and_not_its_copys(make_copy):
    original = PlateauMonitor()
    train(Net(), original, steps=20)
    duplicate = make_copy(original)
    assert duplicate.report == original.report
    train(Net(), duplicate, steps=40)
    assert (original.report.steps, duplicate.report.steps) == (20, 40)
    assert OF_A_COPY not in original.report


@each_way_to_copy
def test_a_copy_without_a_run_of_its_own_reports_what_its_original_reports(make_copy):
    original = PlateauMonitor()
    train(Net(), make_copy(original), steps=20)
    assert make_copy(original).report == original.report


def test_two_copies_of_a_monitor_do_not_report_each_others_runs():
    original = PlateauMonitor()
    one, other = copy.deepcopy(original), copy.deepcopy(original)
    train(Net(), one, steps=20)
    assert other.report == "No optimizer step was watched."


class CallAtStep30(Callback):
    """Calls `work` once, after the 30th step."""

    def __init__(self, work):
        self.work, self.results = work, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 30:
            self.results.append(self.work())


@each_way_to_copy
@every_monitor
def test_a_copy_made_during_a_fit_is_independent_of_the_original(name, make_copy):
    monitor, alone, new = MONITORS[name](), MONITORS[name](), MONITORS[name]()
    train(Flat(), alone, steps=60)
    callback = CallAtStep30(lambda: make_copy(monitor))
    train(Flat(), monitor, callback, steps=60)
    (duplicate,) = callback.results
    assert monitor._state.state_dict() == alone._state.state_dict()
    assert duplicate._state.steps < monitor._state.steps == 60
    assert not duplicate._watching
    train(Flat(), new, steps=60)
    train(Flat(), duplicate, steps=60)
    assert duplicate._state.state_dict() == new._state.state_dict()


def test_two_copies_in_two_fits_at_the_same_time_observe_one_fit_each():
    original = PlateauMonitor()
    both_at_step_30 = threading.Barrier(2, timeout=300)
    copies = [copy.copy(original), copy.copy(original)]

    def work(monitor, steps):
        trainer = L.Trainer(
            accelerator="cpu", max_steps=steps, callbacks=[monitor, CallAtStep30(both_at_step_30.wait)],
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


def test_the_original_reports_the_run_of_its_copy_while_the_run_goes_on():
    original = LandscapeMonitor()
    callback = CallAtStep30(lambda: original.report.steps)
    train(Flat(), copy.deepcopy(original), callback, steps=60)
    assert 0 < callback.results[0] < 60
    assert original.report.steps == 60


@each_way_to_copy
def test_neither_the_original_nor_the_last_report_keeps_objects_of_the_run_alive(make_copy, tmp_path):
    original = LandscapeMonitor()
    module = Flat()
    trainer = train(module, make_copy(original), steps=60, logger=CSVLogger(tmp_path))
    references = [weakref.ref(value) for value in (module, trainer, trainer.optimizers[0], trainer.logger)]
    del module, trainer
    gc.collect()
    assert [reference() for reference in references] == [None] * 4
    assert original.report.steps == lightning_landscape.last_report().steps == 60


@each_way_to_copy
def test_the_users_probes_and_functions_are_shared_only_by_a_shallow_copy(make_copy):
    class Probe:
        def __call__(self, surface):
            return None

    class Loss:
        def __call__(self, module, batch):
            return module.loss(batch)

    monitor = LandscapeMonitor(probes=(Probe(),), loss_fn=Loss())
    duplicate = make_copy(monitor)
    shared = make_copy is copy.copy
    assert (duplicate._examination._probes[0] is monitor._examination._probes[0]) is shared
    assert (duplicate._examination._loss_fn is monitor._examination._loss_fn) is shared
    assert duplicate._examination is not monitor._examination


def test_the_last_report_is_that_of_the_latest_fit_even_if_its_monitor_was_deleted():
    for steps in (20, 40):
        train(Net(), copy.deepcopy(PlateauMonitor()), steps=steps)
        gc.collect()
        assert lightning_landscape.last_report().steps == steps


@pytest.mark.parametrize("first", [True, False])
def test_of_several_monitors_of_a_fit_the_last_report_is_that_of_the_landscape_monitor(first):
    landscape, other = LandscapeMonitor(), GradientNormMonitor()
    train(Flat(), *((landscape, other) if first else (other, landscape)), steps=60)
    assert lightning_landscape.last_report() == landscape.report != other.report
    train(Net(), GradientNormMonitor(), steps=20)
    assert lightning_landscape.last_report().steps == 20


def test_before_any_fit_has_ended_there_is_no_last_report(monkeypatch):
    monkeypatch.setattr("lightning_landscape.callbacks.latest._ended", [])
    assert lightning_landscape.last_report() is None


def test_after_a_fit_that_failed_there_is_a_last_report():
    def fail():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(Net(), PlateauMonitor(), CallAtStep30(fail), steps=60)
    assert lightning_landscape.last_report().steps == 30


class Large(Flat):
    """Four megabytes of weights and ten of a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.zeros(10 * 2**18))
        self.wide = nn.Linear(1024, 1024)


def serialized(value):
    """Return the value as bytes, by pickle and by cloudpickle."""
    return pickle.dumps(value), cloudpickle.dumps(value)


@pytest.mark.slow
@every_monitor
@pytest.mark.parametrize("logs", [True, False])
def test_a_pickled_monitor_is_small_at_any_time_and_can_be_fit_again(name, logs, tmp_path):
    monitor, new = MONITORS[name](), MONITORS[name]()
    before = serialized(monitor)
    callback = CallAtStep30(lambda: serialized(monitor))
    train(Large(), monitor, callback, steps=60, logger=CSVLogger(tmp_path) if logs else False)
    after = serialized(monitor)
    train(Flat(), new, steps=60)
    for pickled in (*before, *callback.results[0], *after):
        assert len(pickled) < 2**20
        loaded = pickle.loads(pickled)
        assert not hasattr(loaded, "log")
        if pickled in after:
            assert loaded.report == monitor.report
            assert loaded.verdicts == monitor.verdicts
        train(Flat(), loaded, steps=60)
        assert loaded._state.state_dict() == new._state.state_dict()


@every_monitor
def test_a_monitor_pickled_during_a_fit_reports_the_run_so_far_at_any_later_time(name, monkeypatch):
    monitor = MONITORS[name]()
    callback = CallAtStep30(lambda: (pickle.dumps(monitor), monitor.report.splitlines()[0]))
    train(Flat(), monitor, callback, steps=60)
    ((pickled, summary),) = callback.results
    monkeypatch.setattr("time.perf_counter", lambda: 1e9)  # as in another process
    report = pickle.loads(pickled).report
    assert report.splitlines()[0] == summary
    assert report == pickle.loads(pickled).report


def test_an_original_that_is_pickled_still_reports_the_run_of_its_copy():
    original = PlateauMonitor()
    train(Flat(), copy.deepcopy(original), steps=60)
    loaded = pickle.loads(pickle.dumps(original))
    assert loaded.report == original.report
    train(Net(), copy.deepcopy(loaded), steps=20)
    assert (loaded.report.steps, original.report.steps) == (20, 60)


@each_way_to_copy
def test_a_copy_has_neither_the_weights_nor_the_module(make_copy):
    monitor = LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2)
    callback = CallAtStep30(lambda: make_copy(monitor))
    train(Large(), monitor, callback, steps=60)
    for duplicate in (*callback.results, make_copy(monitor)):
        assert len(pickle.dumps(vars(duplicate))) < 2**20
        assert not {"log", "log_dict"} & vars(duplicate).keys()


LIST_GLOBALS = "get_unsafe_globals_in_checkpoint"


@pytest.mark.skipif(not hasattr(torch.serialization, LIST_GLOBALS), reason="torch lists a file's globals from 2.6 on")
@pytest.mark.parametrize("used", [True, False])
@every_monitor
def test_a_saved_monitor_can_be_loaded_with_weights_only_if_this_librarys_classes_are_allowed(name, used, tmp_path):
    monitor, path = MONITORS[name](), tmp_path / "module.ckpt"
    if used:
        train(Flat(), monitor, steps=60, logger=CSVLogger(tmp_path))
    torch.save({"hyper_parameters": {"callbacks": [monitor]}}, path)
    names = getattr(torch.serialization, LIST_GLOBALS)(path)
    assert all(name.startswith("lightning_landscape.") for name in names)
    with torch.serialization.safe_globals([resolve_name(name) for name in names]):
        (loaded,) = torch.load(path, weights_only=True)["hyper_parameters"]["callbacks"]
    assert loaded.report == monitor.report
    assert loaded._state.state_dict() == monitor._state.state_dict()
