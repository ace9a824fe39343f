"""What Lightning and torch say about the unusual runs of these tests, and is no fault."""

import pytest

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
