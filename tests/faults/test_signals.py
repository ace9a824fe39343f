"""F34-F35: runs that are ended by a signal or by an error of the user's code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings

import pytest
import torch.distributed
from lightning.pytorch.callbacks import OnExceptionCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lightning_landscape import LandscapeMonitor, LandscapeWarning, read_events
from tests.faults.runs import MONITORS, PROBING, Flat, Net, fit, loader, trace, trainer, warnings_of

every_monitor = pytest.mark.parametrize("name", MONITORS)


class UserError(Exception):
    """A user's error with an attribute in addition to its message."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class ActsAtStep50(Flat):
    """Calls `action` at step 50, after the alarm."""

    action = staticmethod(lambda: None)

    def training_step(self, batch, batch_idx):
        if self.global_step == 50:
            type(self).action()
        return super().training_step(batch, batch_idx)


def error_and_messages(action, *callbacks, base=ActsAtStep50, **settings):
    """Return the error that ends a run which calls `action` at step 50, and this library's warnings until then."""

    class Acts(base):
        pass

    Acts.action = staticmethod(action)
    caught = []

    def work():
        try:
            fit(Acts(), *callbacks, steps=80, **settings)
        except BaseException as error:
            caught.append(error)

    messages = warnings_of(work)
    return (caught or [None])[0], messages


def assert_nothing_is_left(monitor):
    """Require that the monitor has no hook, no batch and no running timer after the run."""
    assert not monitor._watching
    assert not monitor._recorder._handles
    assert len(monitor._examination.probe_set) == 0
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert not [timer for timer in timers if not timer.finished.is_set()]


@every_monitor
def test_f34_a_users_error_passes_through_unchanged_and_without_a_collective(name, monkeypatch):
    error = UserError("mine", code=7)

    def forbidden(*args, **kwargs):
        raise AssertionError("a collective while the error passes")

    for collective in ("all_reduce", "all_gather", "all_gather_object", "broadcast", "barrier"):
        monkeypatch.setattr(torch.distributed, collective, forbidden)

    def fails():
        raise error

    monitor = MONITORS[name]()
    caught, _ = error_and_messages(fails, monitor)
    assert caught is error
    assert (caught.code, caught.__cause__, caught.__context__) == (7, None, None)
    assert monitor._state.steps == 50
    assert_nothing_is_left(monitor)


def interrupted():
    raise KeyboardInterrupt


def terminated():
    os.kill(os.getpid(), signal.SIGTERM)


@every_monitor
@pytest.mark.parametrize(("action", "kind"), [(interrupted, SystemExit), (terminated, SIGTERMException)])
def test_f34_ctrl_c_and_sigterm_end_the_run_as_they_do_without_a_monitor(name, action, kind):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        without, _ = error_and_messages(action)
        monitor = MONITORS[name]()
        caught, _ = error_and_messages(action, monitor)
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert type(caught) is type(without) is kind
    assert caught.args == without.args
    assert monitor._state.steps in (50, 51)
    assert_nothing_is_left(monitor)


def test_f34_after_an_error_the_report_is_complete_on_disk_and_in_the_terminal(tmp_path, capsys):
    monitor = LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, dirpath=str(tmp_path))

    def fails():
        raise UserError("mine", code=7)

    error_and_messages(fails, monitor)
    events = read_events(tmp_path)
    assert events[-1]["event"] == "end"
    assert events[-1]["status"] == "stopped by UserError"
    assert "stopped by UserError" in (tmp_path / "landscape_report.html").read_text(encoding="utf-8")
    assert "stopped by UserError" in capsys.readouterr().out


@pytest.mark.parametrize("name", PROBING)
@pytest.mark.parametrize(("action", "kind"), [(interrupted, SystemExit), (terminated, SIGTERMException)])
def test_f34_a_signal_during_a_probe_ends_the_run_with_the_weights_restored(name, action, kind):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    modules = []

    class SignalInAProbe(Net):
        def training_step(self, batch, batch_idx):
            if not modules and "log" in vars(self) and self.global_step >= 20:  # a probe is evaluating the step
                modules.append(self)
                action()
            return super().training_step(batch, batch_idx)

    monitor = MONITORS[name]()
    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - its type is checked below
            fit(SignalInAProbe(), monitor)
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert type(caught.value) is kind
    expected = trace(fit(Net(), steps=20))
    (module,) = modules
    assert trace(module.trainer)["weights"] == expected["weights"]
    assert "log" not in vars(module)
    assert_nothing_is_left(monitor)


@every_monitor
@pytest.mark.parametrize("where", ["report", "drain", "notes"])
def test_f35_an_error_of_this_library_after_the_users_error_does_not_replace_it(name, where, monkeypatch):
    error, monitor = UserError("mine", code=7), MONITORS[name]()

    def broken(*args, **kwargs):
        raise RuntimeError("ours")

    def fails():
        target = {"report": monitor._reporter, "drain": monitor._recorder, "notes": monitor._examination}[where]
        monkeypatch.setattr(target, {"report": "end", "drain": "drain", "notes": "notes"}[where], broken)
        raise error

    caught, _ = error_and_messages(fails, monitor, base=WithoutAlarm)
    assert caught is error
    assert (caught.__cause__, caught.__context__) == (None, None)


class WithoutAlarm(ActsAtStep50):
    """Gets no alarm before step 50."""

    def loss(self, batch):
        return Net.loss(self, batch)


@every_monitor
def test_f35_a_warning_that_is_raised_as_an_error_at_the_end_does_not_replace_the_users_error(name):
    error, monitor = UserError("mine", code=7), MONITORS[name]()

    class Diverges(Net):
        def training_step(self, batch, batch_idx):
            if self.global_step == 35:  # the last losses are NaN, and no check has read them yet
                raise error
            loss = super().training_step(batch, batch_idx)
            return loss * float("nan") if self.global_step >= 31 else loss

    caught = None
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandscapeWarning)
        try:
            fit(Diverges(), monitor)
        except UserError as raised:
            caught = raised
    assert caught is error
    assert_nothing_is_left(monitor)


@every_monitor
def test_f35_after_an_error_before_training_begins_no_hook_and_no_batch_is_left(name):
    class Refuses(Net):
        def on_train_start(self):
            raise UserError("mine", code=7)

    monitor, module = MONITORS[name](), Refuses()
    with pytest.raises(UserError):
        fit(module, monitor)
    assert_nothing_is_left(monitor)
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in module.trainer.optimizers)


@every_monitor
def test_f35_a_monitor_that_cannot_start_warns_once_and_leaves_no_hook(name, monkeypatch):
    monitor, module = MONITORS[name](), Net()

    def broken(*args):
        raise RuntimeError("ours")

    monkeypatch.setattr(monitor._examination, "begin", broken)
    messages = warnings_of(lambda: fit(module, monitor, steps=20))
    assert len(messages) == 1
    assert "starting failed" in messages[0]
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in module.trainer.optimizers)


@pytest.mark.parametrize("output", [None, "closed", "ascii"])
def test_f35_a_terminal_that_cannot_be_written_to_causes_no_failure(output, tmp_path, monkeypatch):
    path = tmp_path / "out.txt"
    stream = None if output is None else path.open("w", encoding="ascii")
    if output == "closed":
        stream.close()
    monitor = LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2)
    run = trainer(monitor, steps=60)
    monkeypatch.setattr(sys, "stdout", stream)
    messages = warnings_of(lambda: run.fit(Flat(), loader()))
    assert len(messages) == 1
    assert run.global_step == 60
    assert not monitor._guard.failures
    if output == "ascii":
        stream.close()
        assert "Loss landscape" in path.read_text(encoding="ascii")


@pytest.mark.filterwarnings("ignore:.*was called without a model")
@pytest.mark.filterwarnings("ignore:.*there is no last checkpoint available")
def test_f34_a_checkpoint_on_exception_contains_the_state_of_the_monitor(tmp_path):
    def fails():
        raise UserError("mine", code=7)

    caught, _ = error_and_messages(fails, MONITORS["landscape"](), OnExceptionCheckpoint(tmp_path))
    assert isinstance(caught, UserError), caught
    (path,) = tmp_path.glob("*.ckpt")
    (state,) = torch.load(path, weights_only=True)["callbacks"].values()
    assert state["run"]["steps"] == 50
