"""F34-F35: runs that are stopped from outside or by an error of their own."""

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
from tests.faults.runs import MONITORS, PROBING, Flat, Net, fit, loader, said_by, trace, trainer

every_monitor = pytest.mark.parametrize("name", MONITORS)


class Mine(Exception):
    """An error of the user's own, with more than a message."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class Stops(Flat):
    """Does something at its 50th step, when an alarm has been given already."""

    what = staticmethod(lambda: None)

    def training_step(self, batch, batch_idx):
        if self.global_step == 50:
            type(self).what()
        return super().training_step(batch, batch_idx)


def stopped(what, *callbacks, base=Stops, **settings):
    """The error that ends a run in which this happens, and the warnings of this library until then."""

    class Once(base):
        pass

    Once.what = staticmethod(what)
    caught = []

    def work():
        try:
            fit(Once(), *callbacks, steps=80, **settings)
        except BaseException as error:
            caught.append(error)

    said = said_by(work)
    return (caught or [None])[0], said


def let_go(monitor):
    """Requires that nothing of the run is held any more: no hook, no batch, no timer that would still do something."""
    assert not monitor._watching
    assert not monitor._recorder._handles
    assert len(monitor._examination.probe_set) == 0
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert not [timer for timer in timers if not timer.finished.is_set()]


@every_monitor
def test_f34_the_users_own_error_is_the_very_object_that_was_raised_and_nobody_is_spoken_to(name, monkeypatch):
    error = Mine("mine", code=7)

    def forbidden(*args, **kwargs):
        raise AssertionError("a collective on the way out")

    for collective in ("all_reduce", "all_gather", "all_gather_object", "broadcast", "barrier"):
        monkeypatch.setattr(torch.distributed, collective, forbidden)

    def fails():
        raise error

    monitor = MONITORS[name]()
    caught, _ = stopped(fails, monitor)
    assert caught is error
    assert (caught.code, caught.__cause__, caught.__context__) == (7, None, None)
    assert monitor._state.steps == 50
    let_go(monitor)


def interrupted():
    raise KeyboardInterrupt


def terminated():
    os.kill(os.getpid(), signal.SIGTERM)


@every_monitor
@pytest.mark.parametrize(("what", "kind"), [(interrupted, SystemExit), (terminated, SIGTERMException)])
def test_f34_ctrl_c_and_sigterm_end_the_run_as_they_do_without_a_monitor(name, what, kind):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        without, _ = stopped(what)
        monitor = MONITORS[name]()
        caught, _ = stopped(what, monitor)
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert type(caught) is type(without) is kind
    assert caught.args == without.args
    assert monitor._state.steps in (50, 51)
    let_go(monitor)


def test_f34_what_was_seen_is_on_disk_and_in_the_terminal_by_then(tmp_path, capsys):
    monitor = LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, dirpath=str(tmp_path))

    def fails():
        raise Mine("mine", code=7)

    stopped(fails, monitor)
    events = read_events(tmp_path)
    assert events[-1]["event"] == "end"
    assert events[-1]["status"] == "stopped by Mine"
    assert "stopped by Mine" in (tmp_path / "landscape_report.html").read_text(encoding="utf-8")
    assert "stopped by Mine" in capsys.readouterr().out


@pytest.mark.parametrize("name", PROBING)
@pytest.mark.parametrize(("what", "kind"), [(interrupted, SystemExit), (terminated, SIGTERMException)])
def test_f34_a_signal_in_mid_probe_ends_the_run_with_every_weight_in_its_place(name, what, kind):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    modules = []

    class Struck(Net):
        def training_step(self, batch, batch_idx):
            if not modules and "log" in vars(self) and self.global_step >= 20:  # it is being evaluated again
                modules.append(self)
                what()
            return super().training_step(batch, batch_idx)

    monitor = MONITORS[name]()
    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - the next line says which
            fit(Struck(), monitor)
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert type(caught.value) is kind
    expected = trace(fit(Net(), steps=20))
    (module,) = modules
    assert trace(module.trainer)["weights"] == expected["weights"]
    assert "log" not in vars(module)
    let_go(monitor)


@every_monitor
@pytest.mark.parametrize("where", ["report", "drain", "notes"])
def test_f35_an_error_on_the_way_out_does_not_take_the_place_of_the_users_own(name, where, monkeypatch):
    error, monitor = Mine("mine", code=7), MONITORS[name]()

    def broken(*args, **kwargs):
        raise RuntimeError("ours")

    def fails():
        target = {"report": monitor._reporter, "drain": monitor._recorder, "notes": monitor._examination}[where]
        monkeypatch.setattr(target, {"report": "end", "drain": "drain", "notes": "notes"}[where], broken)
        raise error

    caught, _ = stopped(fails, monitor, base=NotYet)
    assert caught is error
    assert (caught.__cause__, caught.__context__) == (None, None)


class NotYet(Stops):
    """Nothing has been said by the time it stops."""

    def loss(self, batch):
        return Net.loss(self, batch)


@every_monitor
def test_f35_where_warnings_are_errors_the_one_at_the_end_does_not_take_the_place_of_the_users_own(name):
    error, monitor = Mine("mine", code=7), MONITORS[name]()

    class Diverges(Net):
        def training_step(self, batch, batch_idx):
            if self.global_step == 35:  # the last losses are not numbers, and nobody has looked at them yet
                raise error
            loss = super().training_step(batch, batch_idx)
            return loss * float("nan") if self.global_step >= 31 else loss

    caught = None
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandscapeWarning)
        try:
            fit(Diverges(), monitor)
        except Mine as one:
            caught = one
    assert caught is error
    let_go(monitor)


@every_monitor
def test_f35_an_error_before_training_begins_leaves_nothing_behind(name):
    class Refuses(Net):
        def on_train_start(self):
            raise Mine("mine", code=7)

    monitor, module = MONITORS[name](), Refuses()
    with pytest.raises(Mine):
        fit(module, monitor)
    let_go(monitor)
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in module.trainer.optimizers)


@every_monitor
def test_f35_a_monitor_that_cannot_start_holds_no_hook_and_is_told_once(name, monkeypatch):
    monitor, module = MONITORS[name](), Net()

    def broken(*args):
        raise RuntimeError("ours")

    monkeypatch.setattr(monitor._examination, "begin", broken)
    said = said_by(lambda: fit(module, monitor, steps=20))
    assert len(said) == 1
    assert "starting failed" in said[0]
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in module.trainer.optimizers)


@pytest.mark.parametrize("output", [None, "closed", "ascii"])
def test_f35_a_terminal_that_cannot_be_written_to_is_no_reason_to_fail(output, tmp_path, monkeypatch):
    path = tmp_path / "out.txt"
    stream = None if output is None else path.open("w", encoding="ascii")
    if output == "closed":
        stream.close()
    monitor = LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2)
    run = trainer(monitor, steps=60)
    monkeypatch.setattr(sys, "stdout", stream)
    said = said_by(lambda: run.fit(Flat(), loader()))
    assert len(said) == 1
    assert run.global_step == 60
    assert not monitor._guard.failures
    if output == "ascii":
        stream.close()
        assert "Loss landscape" in path.read_text(encoding="ascii")


@pytest.mark.filterwarnings("ignore:.*was called without a model")
@pytest.mark.filterwarnings("ignore:.*there is no last checkpoint available")
def test_f34_a_checkpoint_on_exception_holds_what_was_seen(tmp_path):
    def fails():
        raise Mine("mine", code=7)

    caught, _ = stopped(fails, MONITORS["landscape"](), OnExceptionCheckpoint(tmp_path))
    assert isinstance(caught, Mine), caught
    (path,) = tmp_path.glob("*.ckpt")
    (state,) = torch.load(path, weights_only=True)["callbacks"].values()
    assert state["run"]["steps"] == 50
