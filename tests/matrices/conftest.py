"""What all matrices have in common."""

import pytest

from lightning_landscape.reporting.outlets import Outlets


@pytest.fixture
def without_pictures(monkeypatch):
    """Drawing is most of the price of such a short run; the matrix of loggers is there for it."""
    monkeypatch.setattr(Outlets, "pictures", lambda *args, **kwargs: None)


@pytest.fixture
def only_the_last_pictures(monkeypatch):
    """Every picture is drawn once, and not again at every look."""
    draw = Outlets.pictures

    def pictures(outlets, figures, step, *, last=False):
        if last:
            draw(outlets, figures, step, last=last)

    monkeypatch.setattr(Outlets, "pictures", pictures)
