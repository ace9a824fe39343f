"""From evidence to findings, and from a finding to a verdict."""

import json
from dataclasses import replace

import pytest

from lightning_landscape.diagnosis import DETECTORS, by_finding, diagnose, found, needs_more_evidence
from lightning_landscape.diagnosis import findings as findings_module
from lightning_landscape.evidence import Cause, Divergence, Evidence, Finding, Plateau, Verdict

SQUASHED = Finding(
    "squashed-twice", Cause.FLAT_REGION, "Softmax comes before cross-entropy.", "return logits.", "certain"
)
FROZEN = Finding("frozen-midway", Cause.NOT_UPDATING, "The body is frozen.", "unfreeze it.", "evidence")
UNUSED = Finding("unused-head", Cause.NOT_UPDATING, "A head is unused.", "nothing.", "note")
PLATEAU = Evidence(Plateau(step=50, since=10))


def finders(*findings):
    return [lambda evidence, finding=finding: finding for finding in findings]


@pytest.fixture
def finds(monkeypatch):
    """Return a function that makes these the findings of every piece of evidence."""

    def set_finders(*findings):
        monkeypatch.setattr(findings_module, "FINDERS", tuple(finders(*findings)))
        monkeypatch.setattr(findings_module.found, "__defaults__", (tuple(finders(*findings)),))

    return set_finders


def test_findings_that_weigh_most_come_first():
    assert found(PLATEAU, finders(UNUSED, FROZEN, SQUASHED)) == (SQUASHED, FROZEN, UNUSED)


def test_a_finding_is_the_verdict_with_its_own_words_and_advice(finds):
    finds(UNUSED, FROZEN)
    verdict = diagnose(PLATEAU)
    assert verdict.cause is Cause.NOT_UPDATING
    assert verdict.stuck
    assert verdict.finding == FROZEN
    assert verdict.code == "LL206 frozen-midway"
    assert (verdict.reason, verdict.advice) == ("The body is frozen.", "unfreeze it.")
    assert not needs_more_evidence(PLATEAU)


def test_a_note_is_no_verdict(finds):
    finds(UNUSED)
    assert by_finding(PLATEAU) is None


def test_a_divergence_keeps_its_cause_and_takes_the_finding_that_explains_it(finds):
    evidence = PLATEAU.including(Divergence(5, finite=False, start=1.0, now=float("nan")))
    finds(FROZEN)
    assert (diagnose(evidence).cause, diagnose(evidence).finding) == (Cause.DIVERGED, None)
    finds(FROZEN, SQUASHED)
    verdict = diagnose(evidence)
    assert (verdict.cause, verdict.finding) == (Cause.DIVERGED, SQUASHED)
    assert "training loss is NaN" in verdict.reason
    assert verdict.reason.startswith(SQUASHED.sentence)


def test_findings_come_right_after_divergence():
    assert DETECTORS.index(by_finding) == 1


def test_a_finding_survives_json():
    verdict = Verdict(Cause.FLAT_REGION, 3, 1, stuck=True, reason="r", finding=SQUASHED)
    back = Verdict.from_dict(json.loads(json.dumps(verdict.to_dict())))
    assert back == verdict
    old = {name: value for name, value in verdict.to_dict().items() if name != "finding"}
    assert Verdict.from_dict(old) == replace(verdict, finding=None)


def test_a_finding_checks_its_weight_and_its_texts():
    with pytest.raises(ValueError, match="weight must be one of 'certain', 'evidence', 'note', got 'sure'"):
        replace(SQUASHED, weight="sure")
    with pytest.raises(TypeError, match="advice must be of type str, got 3"):
        Finding.from_dict({**SQUASHED.to_dict(), "advice": 3})
