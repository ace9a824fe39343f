"""What is so for all tests: what Lightning may say about unusual runs, which tests are slow, what was left out."""

import os
from collections import Counter
from pathlib import Path

import pytest

from lightning_landscape.reporting.reporter import Reporter

# MLflow would ask the network how much to tell, and draw from `random` in a thread of its own.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

EXPECTED = (
    "ignore:.*the loss surface is skipped:lightning_landscape.errors.ProbeSkippedWarning",
    "ignore:Found `dataloader_iter` argument in the `training_step`",
    "ignore:You are using the `dataloader_iter` step flavor",
    "ignore:`LightningModule.configure_optimizers` returned `None`",
    "ignore:`training_step` returned `None`",
)

ROOMS_OF_LIGHTNING = ("callbacks", "examination", "module_surface", "recording", "trainer")
"""folders whose tests train modules of every kind, about which Lightning has something to say"""

TESTS = Path(__file__).parent
WHOLE_RUNS = (TESTS / "faults", TESTS / "matrices")
"""Slow by what they are: whole runs, one for each fault, hook, setting or logger. Elsewhere a test is marked `slow` by
what was measured, and `make check` prints each that takes more than a second and has no mark."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in WHOLE_RUNS):
            item.add_marker(pytest.mark.slow)
        if item.path.parent.name in ROOMS_OF_LIGHTNING:
            for filter_ in EXPECTED:
                item.add_marker(pytest.mark.filterwarnings(filter_))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session):
    """The last line says which tests were left out, and why; the reasons say how to get them."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [] if reporter is None else reporter.stats.get("skipped", [])
    reasons = Counter(left_out.longrepr[2].removeprefix("Skipped: ") for left_out in skipped)
    if reasons:
        told = "; ".join(f"{count} {'test' if count == 1 else 'tests'}: {why}" for why, count in reasons.most_common())
        reporter.write_line(f"Left out: {told}.")
    return result


@pytest.fixture
def without_pictures(monkeypatch):
    """Drawing is most of the price of such a short run; the matrix of loggers is there for it."""
    monkeypatch.setattr(Reporter, "pictures", lambda *args, **kwargs: None)


@pytest.fixture
def only_the_last_pictures(monkeypatch):
    """Every picture is drawn once, and not again at every look."""
    draw = Reporter.pictures

    def pictures(reporter, figures, step, *, last=False):
        if last:
            draw(reporter, figures, step, last=last)

    monkeypatch.setattr(Reporter, "pictures", pictures)
