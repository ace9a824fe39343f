"""What a user reads of a part of a monitor that failed."""

import pytest

from lightning_landscape.errors import ProbeFailedWarning
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.naming import name_of
from lightning_landscape.probes import HessianExtremes


def test_a_probe_that_failed_is_named_by_what_it_measures_and_one_of_the_user_by_its_name():
    guard = Guard()
    with pytest.warns(ProbeFailedWarning, match=r"\[LL302\] the curvature failed and training goes on: OSError: no"):
        guard.failed(name_of(HessianExtremes()), OSError("no"))
    with pytest.warns(ProbeFailedWarning, match=r"\[LL302\] my_probe failed"):
        guard.failed("my_probe", OSError("no"))
    assert guard.notes() == ["the curvature failed 1 time", "my_probe failed 1 time"]
