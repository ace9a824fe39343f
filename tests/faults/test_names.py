"""F46: names from users' code are only data in tags, files, figures and the report, and their number is limited."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from lightning_landscape import LandscapeMonitor, LossInterpolationMonitor
from tests.faults.runs import MONITORS, Flat, fit, warnings_of
from tests.faults.test_loggers import Memory

every_monitor = pytest.mark.parametrize("name", MONITORS)
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "${alert(1)}",
    "../../outside",
    "line\nbreak\r\0",
    "$\\frac{1}{0}$ %s {0}",
    "日本語 🧠 \u202e",
    "'\"`;--",
    "x" * 3000,
]


LAYERS = [name for name in HOSTILE if "." not in name]
"""the names that torch accepts for a layer"""


class Named(Flat):
    """Its layers have hostile names."""

    def __init__(self):
        super().__init__()
        for hostile in LAYERS:
            self.add_module(hostile, nn.Linear(4, 4))

    def loss(self, batch):
        inputs, labels = batch
        for hostile in LAYERS:
            inputs = inputs + self.get_submodule(hostile)(inputs)
        return super().loss((inputs, labels))

    def get_submodule(self, target):
        return self._modules[target]


class Elements(HTMLParser):
    """The tags of a page in order, and its event handlers: the attributes that begin with "on"."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.event_handlers = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.event_handlers += [name for name, _ in attributes if name.startswith("on")]


PAGE = ["html", "head", "meta", "meta", "meta", "title", "body", "noscript", "p", "script"]


@pytest.mark.usefixtures("only_the_last_pictures")
@every_monitor
def test_f46_no_name_of_a_layer_adds_a_tag_a_file_or_an_element_of_a_page(name, tmp_path):
    monitor, other_monitor = MONITORS[name](), MONITORS[name]()
    logger = TensorBoardLogger(tmp_path / "hostile", name="", version="run")
    warnings_of(lambda: fit(Named(), monitor, steps=60, logger=logger))
    other_logger = TensorBoardLogger(tmp_path / "plain", name="", version="run")
    warnings_of(lambda: fit(Flat(), other_monitor, steps=60, logger=other_logger))
    assert not monitor._guard.failures
    assert monitor._reporter.failures == [0]

    def tags(folder):
        by_kind = EventAccumulator(str(folder / "run")).Reload().Tags()
        return {kind: sorted(by_kind[kind]) for kind in ("scalars", "images", "tensors")}

    assert tags(tmp_path / "hostile") == tags(tmp_path / "plain")
    files = {path.relative_to(tmp_path / "hostile").as_posix() for path in (tmp_path / "hostile").rglob("*")}
    expected = {path.relative_to(tmp_path / "plain").as_posix() for path in (tmp_path / "plain").rglob("*")}
    assert {file for file in files if "tfevents" not in file} == {file for file in expected if "tfevents" not in file}
    for page in (tmp_path / "hostile").rglob("*.html"):
        elements = Elements(page.read_text(encoding="utf-8"))
        assert elements.tags == PAGE
        assert elements.event_handlers == []
    notebook = Elements(monitor.report._repr_html_())
    assert set(notebook.tags) <= {"iframe", "pre"}
    assert notebook.event_handlers == []


@pytest.mark.parametrize("make", [LandscapeMonitor, LossInterpolationMonitor])
@pytest.mark.parametrize("anchor", HOSTILE, ids=range(len(HOSTILE)))
def test_f46_an_anchor_with_a_hostile_name_is_refused_or_skipped_with_a_reason_and_writes_no_file(
    make, anchor, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    settings = {"anchors": ["initial", anchor], "every_n_steps": 10, "num_points": 3, "max_batches": 2}
    if "/" not in anchor and "." not in anchor:  # neither a name that is known nor a path
        with pytest.raises(ValueError, match="or be paths of checkpoint files, got "):
            make(**settings)
        return
    monitor, logger = make(**settings), Memory()
    messages = warnings_of(lambda: fit(Flat(), monitor, steps=20, logger=[logger], default_root_dir=tmp_path))
    assert len([text for text in messages if "is skipped" in text]) == 1
    assert list(monitor._state.readings.lines()) == ["initial"]
    assert list(tmp_path.iterdir()) == []


class Many(Flat):
    """Ten thousand parameters in 5,000 layers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({f"layer{i}": nn.Linear(1, 1) for i in range(5000)})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, foreach=True)


@pytest.mark.slow
def test_f46_ten_thousand_parameters_make_no_more_tags_than_a_few_and_no_large_report():
    def tags(module, monitors):
        logger = Memory()
        warnings_of(lambda: fit(module, *monitors, steps=10, logger=[logger]))
        return {key for _, metrics in logger.rows for key in metrics if key.startswith("landscape/")}

    names = ("landscape", "curvature")  # together, these two do everything that the other monitors do
    monitors = [MONITORS[name]() for name in names]
    tags_of_many = tags(Many(), monitors)
    assert tags_of_many == tags(Flat(), [MONITORS[name]() for name in names])
    assert all(re.fullmatch(r"landscape/\w+", tag) for tag in tags_of_many)
    for monitor in monitors:
        assert not monitor._guard.failures
        assert len(str(monitor.report.document)) < 200_000
