"""F39-F42: very short runs, runs of Lightning's tuner, second fits, and copies of monitors."""

from __future__ import annotations

import copy
import functools
import pickle

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner

from lightning_landscape import GradientNormMonitor, LandscapeMonitor
from tests.faults.runs import MONITORS, Flat, Net, bits, fit, fit_monitored, loader, trainer, warnings_of

every_monitor = pytest.mark.parametrize("name", MONITORS)


@every_monitor
@pytest.mark.filterwarnings("ignore:`Trainer.fit` stopped")
@pytest.mark.parametrize(
    "settings",
    [
        {"fast_dev_run": 3},
        {"overfit_batches": 2},
        {"limit_train_batches": 1, "max_epochs": 2, "steps": -1},
        {"limit_train_batches": 0, "max_epochs": 2, "steps": -1},
        {"steps": 0},
        {"max_epochs": 0, "steps": -1},
    ],
    ids=lambda settings: "-".join(f"{key}={value}" for key, value in settings.items()),
)
def test_f39_very_short_runs_give_no_warning_and_write_no_file(name, settings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monitor = MONITORS[name]()
    assert fit_monitored(monitor, **settings) == []
    assert list(tmp_path.iterdir()) == []
    assert "Loss landscape" not in capsys.readouterr().out
    assert not monitor._guard.failures
    assert "watched." in monitor.report


@every_monitor
def test_f39_steps_of_the_sanity_check_are_not_counted(name):
    class Validates(Net):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.loss(batch))

        def val_dataloader(self):
            return loader(4)

    monitor = MONITORS[name]()
    assert fit_monitored(monitor, Validates, steps=32, num_sanity_val_steps=2) == []
    assert monitor._state.steps == 32


@every_monitor
@pytest.mark.parametrize("method", ["lr_find", "scale_batch_size"])
@pytest.mark.filterwarnings("ignore")
def test_f40_runs_of_the_tuner_before_the_fit_do_not_change_what_the_monitor_observes(name, method, tmp_path):
    class Tuned(Net):
        def __init__(self):
            super().__init__()
            self.batch_size = 8

        def train_dataloader(self):
            return loader(16, self.batch_size)

    def run(*monitors):
        tuned_run, module = trainer(*monitors, steps=40, default_root_dir=tmp_path), Tuned()
        torch.manual_seed(3)
        if method == "lr_find":
            Tuner(tuned_run).lr_find(module, num_training=20, update_attr=False)
        else:
            Tuner(tuned_run).scale_batch_size(module, max_trials=2, init_val=4, steps_per_trial=2)
            module.batch_size = 8
        for layer in module.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        torch.manual_seed(5)
        tuned_run.fit(module)
        return tuned_run

    monitor, runs = MONITORS[name](), []
    assert warnings_of(lambda: runs.append(run(monitor))) == []
    without = run()
    assert bits(runs[0].lightning_module.state_dict()) == bits(without.lightning_module.state_dict())
    assert monitor._state.steps == 40
    assert monitor._state.step == 39
    assert monitor._intervals.horizon == 40


@every_monitor
def test_f41_a_second_fit_starts_with_a_new_state_and_ends_like_a_first_fit(name):
    used, new = MONITORS[name](), MONITORS[name]()
    fit(Net(), used, steps=27)
    warnings_of(lambda: fit(Flat(), used, steps=60))
    warnings_of(lambda: fit(Flat(), new, steps=60))
    assert used._state.state_dict() == new._state.state_dict()
    assert used._recorder.state_dict() == new._recorder.state_dict()
    assert used._state.readings.lines() == new._state.readings.lines()


@every_monitor
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_f41_a_fit_after_a_validation_with_ckpt_path_does_not_continue_from_that_checkpoint(name, tmp_path):
    class Validates(Net):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.loss(batch))

    path = tmp_path / "some.ckpt"
    fit(Net(), MONITORS[name](), steps=30).save_checkpoint(path)
    monitor, module = MONITORS[name](), Validates()
    run = trainer(monitor, steps=20)
    run.validate(module, loader(2), ckpt_path=path, verbose=False, weights_only=True)
    run.fit(module, loader())
    assert monitor._state.steps == 20


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_f41_two_instances_with_different_settings_have_separate_states_in_a_checkpoint(tmp_path):
    def pair():
        return GradientNormMonitor(every_n_steps=1), GradientNormMonitor(every_n_steps=3)

    first, second = pair()
    assert first.state_key != second.state_key
    run = fit(Net(), first, second, steps=20)
    run.save_checkpoint(tmp_path / "both.ckpt")
    states = torch.load(tmp_path / "both.ckpt", weights_only=True)["callbacks"]
    assert {first.state_key, second.state_key} <= states.keys()
    again = pair()
    fit(Net(), *again, steps=21, ckpt_path=tmp_path / "both.ckpt")
    assert [len(monitor._state.gradients.history) for monitor in again] == [21, 21 // 3 + 20 // 5 - 20 // 15]


@functools.cache
def state_of_a_new_monitor(name):
    monitor = MONITORS[name]()
    warnings_of(lambda: fit(Flat(), monitor, steps=60))
    return monitor._state.state_dict()


@pytest.mark.usefixtures("without_pictures")
@every_monitor
@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("when", ["before", "after"])
def test_f42_a_monitor_can_be_copied_and_pickled_before_and_after_a_fit(name, make_copy, when, tmp_path):
    monitor = MONITORS[name]()
    if when == "after":
        warnings_of(lambda: fit(Flat(), monitor, steps=60, logger=CSVLogger(tmp_path)))
    duplicate = make_copy(monitor)
    assert duplicate.state_key == monitor.state_key
    assert duplicate.verdicts == monitor.verdicts
    assert duplicate.report == monitor.report
    warnings_of(lambda: fit(Flat(), duplicate, steps=60))
    assert duplicate._state.state_dict() == state_of_a_new_monitor(name)


def test_f41_two_instances_with_equal_settings_are_refused_by_lightning():
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `LandscapeMonitor`"):
        trainer(LandscapeMonitor(), LandscapeMonitor())
