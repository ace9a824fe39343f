"""What Lightning and torch say about the unusual runs of these tests, and is no fault."""

import os

import pytest

from lightning_landscape.reporting.outlets import Outlets

# MLflow would ask the network how much to tell, and draw from `random` in a thread of its own.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

EXPECTED = (
    "ignore:.*the loss surface is skipped:lightning_landscape.errors.ProbeSkippedWarning",
    "ignore:Found `dataloader_iter` argument in the `training_step`",
    "ignore:You are using the `dataloader_iter` step flavor",
    "ignore:`LightningModule.configure_optimizers` returned `None`",
    "ignore:`training_step` returned `None`",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/callbacks/" in item.nodeid:
            for filter_ in EXPECTED:
                item.add_marker(pytest.mark.filterwarnings(filter_))


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
