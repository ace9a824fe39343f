"""A logged validation loss reaches the report, the Landscape tab and the logger's pictures."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_landscape.plots import render
from tests.callbacks.memorising import watched_fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of the logs of a run that memorises, and its monitor."""
    folder = tmp_path_factory.mktemp("logs")
    return folder, watched_fit(folder)


def test_the_report_holds_the_curve_of_the_validation_loss_with_its_best_step(run):
    part = run[1].report.document["metrics"]
    (drawn,) = [metric for panel in part["panels"] for metric in panel["metrics"]]
    assert (drawn["name"], drawn["mode"], drawn["declared"]) == ("val_loss", "min", False)
    assert drawn["steps"] == [4 * (epoch + 1) - 1 for epoch in range(40)]
    assert drawn["best"][1] == pytest.approx(min(drawn["values"]), rel=1e-5)
    assert part["title"].startswith(f"val_loss was best at step {drawn['best'][0]}; ")
    assert part["title"].endswith(" since, while training falls")


def test_logger_and_tab_get_the_same_picture(run):
    folder, monitor = run
    assert render(monitor.figures()["metrics"]).shape[1] == 640
    events = EventAccumulator(str(folder / "run"), size_guidance={"images": 0, "tensors": 0}).Reload()
    assert "landscape/metrics" in events.Tags()["images"]
    record = events.Tensors("lightning_landscape/metrics")[-1].tensor_proto.string_val[0]
    assert json.loads(record) == monitor.report.document["metrics"]


def test_the_first_panel_holds_both_losses(run):
    figure = run[1].figures()["metrics"]
    names = {text.get_text() for axes in figure.axes for text in axes.texts}
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert {"training loss", "val_loss"} <= names | titles


def test_a_declared_metric_is_drawn_as_such(tmp_path):
    part = watched_fit(tmp_path, monitor="val_loss").report.document["metrics"]
    (drawn,) = [metric for panel in part["panels"] for metric in panel["metrics"]]
    assert drawn["declared"] is True
