"""`landscape ask`: a question to a running fit, and its answer."""

import subprocess
import sys
import warnings

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from lightning_landscape import LandscapeMonitor
from lightning_landscape.command_line.answer import CannotLookError
from lightning_landscape.command_line.ask import waited_for
from lightning_landscape.reporting.events import read_events
from lightning_landscape.reporting.questions import FILE, IN_ANY_CASE, UNLESS_IT_FALLS, Asked, put_question
from tests.clocks import ManualClock
from tests.command_line import shop
from tests.command_line.shell import ROOT, document, refusal


class Ask(L.Callback):
    """Puts a question into the directory of the run at a step."""

    def __init__(self, folder, number, step=45, name="abc"):
        self.folder, self.number, self.step, self.name = folder, number, step, name

    @property
    def state_key(self):
        return f"Ask {self.name}"

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            (events,) = self.folder.rglob("events.jsonl")
            put_question(events.parent, Asked(self.name, self.number))


def weights_after(folder, *callbacks, module=shop.Classifier, steps=200):
    L.seed_everything(0, verbose=False)
    net = module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accelerator="cpu",
            logger=CSVLogger(folder),
            callbacks=[*callbacks],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(net, datamodule=shop.Data())
    return [weight.detach().clone() for weight in net.parameters()]


def answers(folder):
    (events,) = folder.rglob("events.jsonl")
    return [event for event in read_events(events) if event["event"] in {"asked", "answer", "verdict"}]


def test_a_diagnosis_that_was_asked_for_is_made_at_the_next_check_and_leaves_the_weights_bit_identical(tmp_path):
    asked = weights_after(tmp_path / "a", LandscapeMonitor(), Ask(tmp_path / "a", IN_ANY_CASE))
    alone = weights_after(tmp_path / "b")
    assert all(torch.equal(one, other) for one, other in zip(asked, alone, strict=True))
    heard, answer = answers(tmp_path / "a")
    assert (heard["event"], heard["id"], heard["step"]) == ("asked", "abc", 49)
    assert (answer["event"], answer["id"], answer["step"]) == ("answer", "abc", 59)
    assert answer["verdict"]["stuck"] is False
    assert not list(tmp_path.rglob(FILE))


def test_a_run_whose_loss_falls_is_not_examined_unless_that_is_asked_for(tmp_path):
    monitor = LandscapeMonitor()
    weights_after(tmp_path, monitor, Ask(tmp_path, UNLESS_IT_FALLS, step=85))
    heard, answer = answers(tmp_path)
    assert heard["step"] == answer["step"]
    assert answer["verdict"] is None
    assert "still falls" in answer["why"]


def test_a_stuck_run_answers_with_its_cause(tmp_path):
    weights_after(tmp_path, LandscapeMonitor(), Ask(tmp_path, IN_ANY_CASE, step=5), module=shop.Dead, steps=60)
    answer = next(event for event in answers(tmp_path) if event["event"] == "answer")
    assert answer["verdict"]["cause"] == "flat_region"
    assert answer["verdict"]["stuck"] is True


def test_a_question_that_comes_while_another_one_is_open_is_answered_after_it(tmp_path):
    asks = Ask(tmp_path, IN_ANY_CASE), Ask(tmp_path, IN_ANY_CASE, step=55, name="def")
    weights_after(tmp_path, LandscapeMonitor(), *asks)
    heard = [(event["event"], event["id"]) for event in answers(tmp_path) if event["event"] != "verdict"]
    assert heard == [("asked", "abc"), ("answer", "abc"), ("asked", "def"), ("answer", "def")]


def test_a_damaged_question_is_a_question(tmp_path):
    class Damaged(Ask):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == self.step:
                (events,) = self.folder.rglob("events.jsonl")
                (events.parent / FILE).write_bytes(b"\xff{")

    weights_after(tmp_path, LandscapeMonitor(), Damaged(tmp_path, IN_ANY_CASE))
    assert [event["event"] for event in answers(tmp_path)][:2] == ["asked", "answer"]


RUNNING = """
import sys, time
from pathlib import Path
from lightning_landscape import LandscapeMonitor
import lightning as L
from tests.command_line.test_ask import weights_after
from tests.command_line import shop

class Slowly(L.Callback):
    def on_train_batch_end(self, trainer, *args):
        time.sleep(0.02)
        if any(Path(sys.argv[1]).rglob("answered")):
            trainer.should_stop = True

weights_after(Path(sys.argv[1]), LandscapeMonitor(), Slowly(), module=shop.Dead, steps=20000)
"""


def test_ask_waits_for_the_answer_of_a_running_fit(tmp_path):
    run = subprocess.Popen([sys.executable, "-c", RUNNING, str(tmp_path)], cwd=ROOT)
    try:
        while run.poll() is None and not list(tmp_path.rglob("events.jsonl")):
            pass
        (events,) = tmp_path.rglob("events.jsonl")
        found = document("ask", events.parent.parent, "--now", "--timeout=240", status=1)
        assert found["verdict"]["cause"] == "flat_region"
        assert found["code"] == "LL202"
    finally:
        (tmp_path / "answered").touch()
        run.wait(60)
    assert "is over" in refusal("ask", events.parent.parent)


def test_a_folder_without_a_watched_run_is_refused(tmp_path):
    assert "no events.jsonl in" in refusal("ask", tmp_path)


def test_a_question_that_is_never_heard_is_withdrawn(tmp_path):
    (tmp_path / "events.jsonl").write_text("")
    put_question(tmp_path, Asked("abc"))
    clock = ManualClock()
    with pytest.raises(CannotLookError, match="no answer within 3 seconds: it never looked at the question"):
        waited_for(tmp_path, "abc", 3, clock=clock, sleep=lambda seconds: clock.move(seconds))
    assert not (tmp_path / FILE).exists()
