"""Flat regions to which the steps of the run itself have led, although the loss has never blown up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_landscape.diagnosis import diagnose
from lightning_landscape.evidence import Cause, LossLevel, Parts
from tests.diagnosis.test_diagnosis import ACTIVE, BASE, BODY, FADING, NOTHING_GAINED, UNUSED

SATURATED = replace(ACTIVE, saturated=0.95)


def weights(norm):
    return Parts((replace(BODY, norm=norm),), (), step=300)


@pytest.mark.parametrize("flat", [FADING, SATURATED], ids=["vanishing gradient", "saturated"])
@pytest.mark.parametrize(
    ("norm", "found"), [(101.0, Cause.LEARNING_RATE_TOO_LARGE), (99.0, Cause.FLAT_REGION)], ids=["grown", "as before"]
)
def test_weights_that_have_grown_tenfold_were_driven_to_the_flat_region(flat, norm, found):
    verdict = diagnose(BASE.including(UNUSED, flat, NOTHING_GAINED, weights(norm)))
    assert (verdict.cause, verdict.stuck) == (found, True)
    if found is Cause.LEARNING_RATE_TOO_LARGE:
        assert verdict.finding.code == "LL205 weights-blown-up"


def test_they_were_also_where_the_loss_has_come_down_without_the_inputs():
    level = LossLevel(start=3.0, best=2.3, now=2.3)
    verdict = diagnose(BASE.including(UNUSED, FADING, NOTHING_GAINED, level, weights(200.0)))
    assert (verdict.cause, verdict.finding, verdict.stuck) == (Cause.LEARNING_RATE_TOO_LARGE, None, True)
    assert "have grown, to up to 20 times their initial norm (threshold 10)" in verdict.reason


def test_a_small_part_of_the_model_that_has_grown_led_nowhere():
    small, large = replace(BODY, share=0.4, norm=200.0), replace(BODY, name="rest", share=0.6)
    verdict = diagnose(BASE.including(UNUSED, FADING, NOTHING_GAINED, Parts((small, large), (), step=300)))
    assert verdict.cause is Cause.FLAT_REGION
