"""The look at the wiring: after the first optimizer step, again after new parameter groups, and once each."""

import warnings
from dataclasses import replace

import pytest
import torch

from lightning_landscape import LandscapeMonitor, LandscapeWarning
from lightning_landscape.evidence import Cause, Finding, Measurements
from lightning_landscape.examination.first_look import FirstLook
from lightning_landscape.examination.known_findings import KnownFindings
from lightning_landscape.examination.limits import Limits
from tests.faults.runs import Net, fit

CERTAIN = Finding("mistake", Cause.FLAT_REGION, "The head is wrong.", "mend the head.", "certain")


def looked(surface):
    return float(surface.loss(surface.here))


@pytest.fixture
def mistaken(monkeypatch):
    """Let every look measure the loss and find a mistake that is certain; return the steps of all looks."""
    looks = []

    def finder(evidence):
        looks.append(evidence)
        return CERTAIN if evidence.get(Measurements) is not None else None

    monkeypatch.setattr("lightning_landscape.callbacks.landscape.FIRST_LOOK", (looked,))
    monkeypatch.setattr("lightning_landscape.examination.examination.FINDERS", (finder,))
    return looks


def test_the_warning_comes_after_the_first_step_and_once(mistaken, tmp_path):
    monitor = LandscapeMonitor(dirpath=str(tmp_path))
    with pytest.warns(LandscapeWarning, match=r"\[LL202 mistake\] step 0: The head is wrong"):
        fit(Net(), monitor, steps=30)
    assert len(mistaken) == 1
    assert monitor.findings == (CERTAIN,)
    assert "[LL202 mistake] The head is wrong. Try: Mend the head." in monitor.report
    assert monitor.report.to_dict()["verdicts"] == []
    assert '"event": "finding"' in (tmp_path / "events.jsonl").read_text()


def test_a_look_costs_at_most_three_gradients(mistaken):
    monitor = LandscapeMonitor(effort="standard")
    with pytest.warns(LandscapeWarning, match="mistake"):
        fit(Net(), monitor, steps=3)
    assert 0 < monitor._examination.limits.account.spent <= 3


def test_with_accumulated_batches_it_waits_for_the_first_step(mistaken):
    class Counting(LandscapeMonitor):
        batches = 0

        def on_train_batch_end(self, *args):
            super().on_train_batch_end(*args)
            Counting.batches += 1
            assert len(mistaken) == (1 if Counting.batches >= 4 else 0)

    with pytest.warns(LandscapeWarning, match="mistake"):
        fit(Net(), Counting(), steps=3, accumulate_grad_batches=4)


class WithoutFirstLoss(Net):
    """A net whose step skips the first batch."""

    def training_step(self, batch, batch_idx):
        return None if batch_idx == 0 else super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore:.*training_step. returned .None.")
def test_a_batch_without_a_loss_is_followed_by_another_look(mistaken):
    monitor = LandscapeMonitor()
    with pytest.warns(LandscapeWarning, match="mistake"):
        fit(WithoutFirstLoss(), monitor, steps=10)
    assert "could not be checked" not in monitor.report


class Growing(Net):
    """A net whose optimizer gets another parameter group after 20 steps."""

    def __init__(self):
        super().__init__()
        self.late = torch.nn.Parameter(torch.zeros(3))

    def configure_optimizers(self):
        return torch.optim.SGD([p for name, p in self.named_parameters() if name != "late"], 0.01)

    def on_train_batch_start(self, batch, batch_idx):
        if self.global_step == 20:
            self.optimizers().add_param_group({"params": [self.late]})


def test_it_looks_again_after_a_new_parameter_group(mistaken):
    with pytest.warns(LandscapeWarning, match="mistake"):
        fit(Growing(), LandscapeMonitor(), steps=60)
    assert len(mistaken) == 2


def test_a_resumed_run_is_not_looked_at_twice(mistaken, tmp_path):
    path = tmp_path / "run.ckpt"
    with pytest.warns(LandscapeWarning, match="mistake"):
        fit(Net(), LandscapeMonitor(), steps=16).save_checkpoint(path)
    again = LandscapeMonitor()
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandscapeWarning)
        fit(Net(), again, steps=24, ckpt_path=path)
    assert len(mistaken) == 1
    assert "[LL202 mistake]" in again.report


@pytest.mark.parametrize("settings", [{"effort": "light"}, {"probes": ()}, {"detectors": ()}])
def test_without_probes_or_without_our_detectors_nothing_is_found(mistaken, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error", LandscapeWarning)
        fit(Net(), LandscapeMonitor(**settings), steps=10)
    assert not mistaken


def test_the_report_says_why_the_wiring_could_not_be_checked():
    findings = KnownFindings()
    findings.unseen = "[LL312] sharded."
    assert findings.notes([]) == ["the wiring could not be checked: [LL312] sharded."]


def test_known_findings_survive_a_checkpoint_and_warn_once():
    findings = KnownFindings()
    assert findings.enter([CERTAIN]) == [CERTAIN]
    restored = KnownFindings()
    restored.load_state_dict(findings.state_dict())
    assert restored.enter([CERTAIN]) == []
    assert restored.latest == (CERTAIN,)
    assert restored.notes(["mistake"]) == []


def test_findings_on_several_optimizers_are_entered_beside_those_of_the_wiring():
    findings = KnownFindings()
    findings.enter_wiring([CERTAIN])
    still = replace(CERTAIN, name="optimizer-stands-still", weight="evidence")
    assert findings.enter_beside_wiring([still]) == []
    assert findings.latest == (still, CERTAIN)
    findings.enter_beside_wiring([CERTAIN])
    assert findings.latest == (CERTAIN,)


def test_a_first_look_without_probes_is_never_due():
    assert not FirstLook((), (), Limits("auto", None, limits_schedule=True), None).due(1)


def test_what_was_found_on_a_plateau_is_forgotten_when_the_loss_falls_again():
    findings = KnownFindings()
    findings.enter_wiring([CERTAIN])
    on_plateau = replace(CERTAIN, name="dead", weight="note")
    findings.enter([CERTAIN, on_plateau])
    restored = KnownFindings()
    restored.load_state_dict(findings.state_dict())
    for known in (findings, restored):
        assert known.latest == (CERTAIN, on_plateau)
        known.end_plateau()
        assert known.latest == (CERTAIN,)
