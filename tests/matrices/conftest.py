"""What all matrices have in common."""

import pytest

from lightning_landscape.reporting.outlets import Outlets


@pytest.fixture
def without_pictures(monkeypatch):
    """Drawing is most of the price of such a short run; the matrix of loggers is there for it."""
    monkeypatch.setattr(Outlets, "pictures", lambda *args, **kwargs: None)
