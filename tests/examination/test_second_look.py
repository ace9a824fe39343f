"""An alarm is corrected once, where a mistake that shows only later explains the same plateau."""

from dataclasses import replace

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.diagnosis.corrections import correction
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    LossLevel,
    OptimizerGroup,
    Part,
    Parts,
    Plateau,
    Trend,
    Verdict,
)
from lightning_landscape.reporting.events import event_line
from lightning_landscape.reporting.watched import watched_runs
from tests.faults.runs import fit, warnings_of
from tests.saving import SaveAt

STEPS, STOP = 600, 200
STALLED = Trend(window=40, level=0.69, progress=0.0, margin=0.001, tolerance=0.012)


class Decaying(L.LightningModule):
    """Weight decay pulls all weights to zero at one rate, which takes some hundred steps."""

    def __init__(self, decay=0.5, signal=1.0, samples=1280):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        self.decay, self.signal, self.samples = decay, signal, samples

    def training_step(self, batch, batch_idx):
        inputs, labels = batch
        return F.binary_cross_entropy_with_logits(self.net(inputs)[:, 0], labels)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3, weight_decay=self.decay)

    def batches(self):
        generator = torch.Generator().manual_seed(0)
        inputs, noise = (torch.randn(self.samples, n, generator=generator) for n in (8, 1))
        signal = self.signal * inputs[:, 0] * inputs[:, 1]  # no linear regression shows it
        labels = (noise[:, 0] + signal > 0).float()
        # In the same order in each epoch, so that a run that is resumed after an epoch gets the same batches.
        return DataLoader(TensorDataset(inputs, labels), batch_size=64)


def run(module, *others, ckpt_path=None):
    """Fit with a monitor; return the monitor and the warnings that it gave."""
    monitor = LandscapeMonitor(effort="standard")
    printed = warnings_of(lambda: fit(module, monitor, *others, ckpt_path=ckpt_path, steps=STEPS))
    return monitor, printed


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    """Return the monitor and the warnings of a run whose weights shrink, and a checkpoint from before it shows."""
    path = tmp_path_factory.mktemp("corrected") / "stop.ckpt"
    return *run(Decaying(), SaveAt(STOP, path)), path


def test_an_alarm_is_replaced_once_by_the_finding_that_shows_later(corrected):
    monitor, printed, _ = corrected
    first, second = printed
    assert "[LL207]" in first
    assert "in place of the verdict of step" in second
    (verdict,) = monitor.verdicts
    assert (verdict.finding.name, verdict.stuck) == ("weights-shrunk", True)
    assert f"step {verdict.replaces}:" in first
    assert verdict.replaces < STOP < verdict.step
    assert f"At step {verdict.replaces} the run was said to be stuck because the inputs do not help" in verdict.reason


def test_a_corrected_verdict_survives_storing_and_says_in_the_events_what_it_replaces(corrected):
    (verdict,) = corrected[0].verdicts
    stored = verdict.to_dict()
    assert stored["replaces"] == verdict.replaces is not None
    assert Verdict.from_dict(stored) == verdict


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_a_run_that_is_resumed_before_the_correction_gets_the_same_one(corrected):
    monitor, _, path = corrected
    resumed, printed = run(Decaying(), ckpt_path=path)
    assert resumed.verdicts == monitor.verdicts
    assert resumed._state.state_dict() == monitor._state.state_dict()
    assert len(printed) == 1


def test_an_alarm_that_stays_right_is_looked_at_again_and_kept():
    monitor, printed = run(Decaying(decay=0.0, signal=0.0, samples=64 * STEPS))
    (verdict,) = monitor.verdicts
    assert (verdict.cause, verdict.replaces, len(printed)) == (Cause.NOTHING_TO_LEARN, None, 1)
    assert monitor._state.judged_at > STEPS / 2  # at the last look


TOLD = Verdict(Cause.NOTHING_TO_LEARN, 100, 50, stuck=True, reason="", evidence=Evidence(Plateau(100, 50), STALLED))
GROUP = OptimizerGroup(0, 0, learning_rate=1e-3, base_rate=None, weight_decay=0.5, parts=("body",))
BODY = Part(
    "body",
    share=1.0,
    trainable=True,
    frozen_since=None,
    group=0,
    learning_rate=1e-3,
    reached=True,
    grad_norm=0.1,
    norm=0.001,
    initial_norm=1.0,
    distance=0.999,
)
LATER = Evidence(Plateau(300, 50), Parts((BODY,), (GROUP,), 300), LossLevel(0.693, 0.69, 0.693))


def test_only_alarms_that_name_no_mistake_are_corrected_and_none_twice():
    assert correction(TOLD, LATER).finding.name == "weights-shrunk"
    finding = correction(TOLD, LATER).finding
    for other in (
        replace(TOLD, stuck=False),
        replace(TOLD, cause=Cause.DIVERGED),
        replace(TOLD, replaces=20),
        replace(TOLD, finding=replace(finding, name="squashed-twice")),
    ):
        assert correction(other, LATER) is None
    assert correction(replace(TOLD, finding=replace(finding, name="collapsed")), LATER) is not None


def test_a_run_that_is_read_from_its_events_has_the_verdict_in_place_of_the_one_that_it_replaces(tmp_path):
    verdicts = (TOLD, correction(TOLD, LATER))
    lines = [
        event_line("start", 0, {}),
        *(event_line("verdict", verdict.step, verdict.to_dict()) for verdict in verdicts),
    ]
    (tmp_path / "events.jsonl").write_text("".join(lines))
    (run,) = watched_runs(tmp_path).values()
    assert [verdict.finding for verdict in run.verdicts] == ["weights shrunk"]
    assert run.state == verdicts[1].cause.value


def test_a_note_corrects_nothing():
    moving = replace(BODY, norm=0.05)  # shrunk, but not to nothing, and nothing else shows that this is the reason
    assert correction(TOLD, LATER.including(Parts((moving,), (GROUP,), 300))) is None
