"""Warnings of torch about a training step are shown with the user's line, and not again for evaluations."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from torch.nn import functional as F

from lightning_landscape import LandscapeMonitor
from lightning_landscape.module_surface import operation_recorder
from lightning_landscape.module_surface.repeated_warnings import repeated_warnings_dropped
from tests.faults.runs import Net, fit


class Broadcasts(Net):
    """Its prediction and its target have other shapes, about which torch warns."""

    def loss(self, batch: Any) -> Any:
        return F.mse_loss(self.net(batch[0])[:, :1], batch[1].float())


def test_a_warning_of_torch_names_the_users_line_only():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit(Broadcasts(), LandscapeMonitor(), steps=3)
    places = {warning.filename for warning in said if "target size" in str(warning.message)}
    assert places == {__file__}


def test_warnings_that_name_another_file_pass_and_the_function_that_shows_them_is_put_back():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        shown = warnings.showwarning
        with repeated_warnings_dropped():
            warnings.warn_explicit("ours", UserWarning, operation_recorder.__file__, 1)
            warnings.warn_explicit("mine", UserWarning, str(Path(__file__)), 1)
        assert warnings.showwarning is shown
    assert [str(warning.message) for warning in said] == ["mine"]
