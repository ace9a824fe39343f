"""The floor that is assumed where the lowest possible loss is not known."""

import pytest

from lightning_landscape.functional.loss_floor import SCATTERS, assumed_floor


def test_it_lies_as_far_below_the_lowest_loss_as_that_is_below_the_start():
    assert assumed_floor(lowest=-3.0, gained=4.0, scatter=0.1) == -7.0


def test_a_loss_that_has_not_fallen_is_compared_with_its_scatter():
    assert assumed_floor(lowest=2.0, gained=0.0, scatter=0.1) == pytest.approx(2.0 - 0.1 * SCATTERS)


def test_a_loss_that_neither_falls_nor_scatters_has_no_floor():
    assert assumed_floor(lowest=2.0, gained=0.0, scatter=0.0) is None
