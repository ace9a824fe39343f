"""Settings of all tests: the warnings that are expected, the tests that are slow, a last line about skipped tests."""

import os
from collections import Counter
from pathlib import Path

import pytest

from lightning_landscape.reporting.reporter import Reporter

# Otherwise MLflow fetches the settings of its telemetry over the network, and draws from `random` in another thread.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

EXPECTED_WARNINGS = (
    "ignore:.*the loss surface is skipped:lightning_landscape.errors.ProbeSkippedWarning",
    "ignore:Found `dataloader_iter` argument in the `training_step`",
    "ignore:You are using the `dataloader_iter` step flavor",
    "ignore:`LightningModule.configure_optimizers` returned `None`",
    "ignore:`training_step` returned `None`",
)

FOLDERS_THAT_TRAIN = ("callbacks", "examination", "module_surface", "recording", "trainer")
"""folders whose tests train unusual modules, about which Lightning and this package warn"""

TESTS = Path(__file__).parent
SLOW_FOLDERS = (TESTS / "faults", TESTS / "matrices")
"""Every test in these folders is marked `slow`, because each goes through whole training runs. Elsewhere, a test is
marked `slow` if it was measured to take more than a second; `make check` prints each slow test that lacks the mark."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in SLOW_FOLDERS):
            item.add_marker(pytest.mark.slow)
        if item.path.parent.name in FOLDERS_THAT_TRAIN:
            for filter_ in EXPECTED_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(filter_))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session):
    """Print in the last line how many tests were skipped for which reason; the reasons say how to run them."""
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = [] if reporter is None else reporter.stats.get("skipped", [])
    counts = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if counts:
        text = "; ".join(f"{n} {'test' if n == 1 else 'tests'}: {reason}" for reason, n in counts.most_common())
        reporter.write_line(f"Left out: {text}.")
    return result


@pytest.fixture
def without_pictures(monkeypatch):
    """Draw no figures, which would take most of the time of a short run; tests/matrices/test_loggers.py draws them."""
    monkeypatch.setattr(Reporter, "pictures", lambda *args, **kwargs: None)


@pytest.fixture
def only_the_last_pictures(monkeypatch):
    """Draw each figure once, at the end of the run, and not at every check."""
    draw = Reporter.pictures

    def pictures(reporter, figures, step, *, last=False):
        if last:
            draw(reporter, figures, step, last=last)

    monkeypatch.setattr(Reporter, "pictures", pictures)
