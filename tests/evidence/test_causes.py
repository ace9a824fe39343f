"""The one table of causes: complete, without doubles, and with numbers that never change."""

import pytest

from lightning_landscape.evidence import CAUSES, TONES, Cause

NUMBERS = {
    "saddle_point": 1,
    "flat_region": 2,
    "poor_minimum": 3,
    "learning_rate_too_small": 4,
    "learning_rate_too_large": 5,
    "not_updating": 6,
    "nothing_to_learn": 7,
    "diverged": 8,
    "settled": 9,
    "scheduled_end": 10,
    "slow": 11,
    "undecided": 12,
}
"""as version 0.1 logged them: people compare `landscape/verdict` with these"""


def test_every_cause_has_a_row():
    assert list(CAUSES) == list(Cause)


@pytest.mark.parametrize("what", ["code", "number", "title", "advice"])
def test_no_two_causes_share_it(what):
    assert len({getattr(facts, what) for facts in CAUSES.values()}) == len(Cause)


def test_the_logged_numbers_are_those_of_version_0_1():
    assert {cause.value: facts.number for cause, facts in CAUSES.items()} == NUMBERS


def test_codes_and_advice_have_their_form():
    assert all(facts.code.startswith("LL2") and len(facts.code) == 5 for facts in CAUSES.values())
    assert all(facts.advice == facts.advice.strip() and facts.advice.endswith((".", "?")) for facts in CAUSES.values())


def test_eight_causes_alarm():
    assert [cause.value for cause, facts in CAUSES.items() if facts.alarms] == list(NUMBERS)[:8]


def test_every_state_of_a_run_has_a_tone():
    assert set(TONES) == {"learning", "stalled", "not_judged", *NUMBERS}
    assert set(TONES.values()) == {"alarm", "unsure", "quiet", "good"}
