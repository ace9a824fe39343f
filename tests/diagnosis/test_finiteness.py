"""The finding on a loss that is not finite, from hand-made readings: its name, its words and its advice."""

from dataclasses import replace

import pytest

from lightning_landscape.diagnosis.findings.finiteness import not_finite
from lightning_landscape.evidence import Cause, Divergence, Evidence, LossLevel, NotFinite

ROOT = NotFinite("backward", "sqrt", "net.norm", "net.py, line 7", "x.sqrt()", dtype="float32", inputs=(0.0,), step=410)
LOG = NotFinite("forward", "log", "training_step", dtype="float32", outcome="-inf", inputs=(0.0,), step=0)


def finding(reading):
    return not_finite(Evidence(reading))


def test_without_the_reading_there_is_no_finding():
    assert not_finite(Evidence(Divergence(3, finite=False, start=1.0, now=1.0))) is None


def test_a_finding_names_the_operation_its_place_its_input_and_the_weights():
    found = finding(replace(ROOT, outcome="inf"))
    assert (found.name, found.cause, found.weight) == ("not-finite", Cause.DIVERGED, "evidence")
    assert found.sentence == (
        "`sqrt` in `net.norm` (net.py, line 7: `x.sqrt()`) got 0, where its gradient is infinite although the loss is "
        "finite with the weights of step 410."
    )
    assert "`torch.sqrt(x + 1e-8)`" in found.advice


def test_where_the_loss_ran_down_before_the_weights_overflowed_its_sign_is_to_be_checked():
    grown, level = replace(ROOT, growth=1e7), LossLevel(-2.3, -6e5, -6e5, floor_measured=False)
    assert not_finite(Evidence(grown, level)).advice.startswith("Lower the learning rate")
    assert not_finite(Evidence(grown, replace(level, runs_down=True))).advice.startswith("check the sign of the loss")


def test_repeated_steps_and_initial_weights_are_named():
    goes_on = "when a copy of the model goes on from the initial weights for"
    assert f" {goes_on} 1 optimizer step." in finding(replace(LOG, repeated=1)).sentence
    assert f" {goes_on} 7 optimizer steps." in finding(replace(LOG, repeated=7)).sentence
    assert "with the present weights." in finding(replace(LOG, step=None)).sentence


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({}, "torch.log(x.clamp_min(1e-8))"),
        ({"dtype": "float16"}, "torch.log(x.clamp_min(1e-4))"),
        ({"after": "softmax"}, "F.log_softmax(x, -1)"),
        ({"operation": "log1p", "inputs": (-1.0,), "after": "softmax"}, "torch.log1p(x.clamp_min(-1 + 1e-6))"),
        ({"operation": "logit", "inputs": (1.0,), "after": "sigmoid"}, "torch.logit(x, eps=1e-6)"),
        ({"operation": "xlogy", "inputs": (1.0, 0.0)}, "torch.xlogy(x, y.clamp_min(1e-8))"),
        ({"operation": "acos", "inputs": (1.0,), "dtype": "float16"}, "clamp(-1 + 1e-3, 1 - 1e-3)"),
        ({"after": "sigmoid"}, "F.binary_cross_entropy_with_logits"),
        ({"operation": "div", "inputs": (1.0, 0.0)}, "x / (d + 1e-8)"),
        ({"operation": "reciprocal"}, "1 / (x + 1e-8)"),
        ({"operation": "exp", "inputs": (100.0,)}, "torch.exp(x.clamp(max=20))"),
        ({"operation": "acos", "inputs": (1.1,)}, "clamp(-1 + 1e-6, 1 - 1e-6)"),
        ({"operation": "pow", "inputs": (0.0, -0.5)}, "x.clamp_min(1e-8) ** p"),
        ({"operation": "pow", "inputs": (1e20, 2.0)}, "a lower learning rate"),
        ({"operation": "softmax", "inputs": (), "outcome": "nan"}, "unmasked"),
        ({"operation": "mean", "inputs": (), "outcome": "nan"}, "count.clamp_min(1)"),
        ({"operation": "masked_fill", "inputs": (), "written": True}, "torch.finfo(x.dtype).min"),
        ({"operation": "linear", "inputs": (), "largest": 9e4, "dtype": "float16"}, "bf16-mixed"),
        ({"operation": "linear", "inputs": (), "largest": 1e30}, "a lower learning rate"),
    ],
)
def test_the_advice_belongs_to_the_operation(change, advice):
    assert advice in finding(replace(LOG, **change)).advice


def test_an_entry_of_the_batch_is_named():
    found = finding(NotFinite("batch", "batch['x']", outcome="nan"))
    assert found.name == "not-finite-batch"
    assert found.sentence == "`batch['x']` contains NaN, which reach the loss."


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"growth": 1e5}, "not-finite"),  # a logarithm of 0 is one at any weights
        ({"growth": 1e7}, "not-finite-weights"),
        ({"growth": 1e5, "operation": "linear"}, "not-finite-weights"),
        ({"growth": 100.0, "operation": "linear"}, "not-finite"),
        ({"growth": None, "operation": "linear"}, "not-finite"),
        ({"where": "weights", "operation": "", "growth": None}, "not-finite-weights"),
        ({"where": "weights", "operation": "", "growth": 2.0}, "not-finite-weights"),
    ],
)
def test_weights_that_have_grown_far_are_the_reason_for_an_overflow(change, name):
    assert finding(replace(LOG, **change)).name == name
