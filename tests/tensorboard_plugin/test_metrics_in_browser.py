"""The validation loss and the declared metrics of a run, in the report in a real browser."""

import math

import pytest

pytest.importorskip("selenium", reason="needs selenium")
from selenium.webdriver import ActionChains, Keys

from benchmarks.tab.browsing import until
from lightning_landscape.reporting.page import report_page
from lightning_landscape.reporting.run_document import RunDocument
from tests.callbacks.memorising import watched_fit
from tests.tensorboard_plugin.conftest import HOSTILE
from tests.tensorboard_plugin.test_browser import Page

pytestmark = pytest.mark.browser

STEPS = [100 * (i + 1) for i in range(30)]
RISING = [0.4 + 2.0 * math.exp(-step / 200) + max(0, step - 1000) / 2e4 for step in STEPS]
VALIDATION = {
    "name": "val_loss", "mode": "min", "declared": False, "step": STEPS, "value": RISING,
    "best": {"step": 1000, "value": RISING[9]}, "since": 1000,
}  # fmt: skip
ACCURACY = {
    "name": HOSTILE, "mode": "max", "declared": True, "step": STEPS[::3], "value": [math.nan, *[0.9] * 9],
    "best": None, "since": None,
}  # fmt: skip


@pytest.fixture
def opened(browser, tmp_path):
    """Return a function that writes the report of a run with these metrics, changes its record, and opens it."""

    def open_report(*metrics, change=lambda parts: None, **options):
        document = RunDocument()
        for step in range(3000):
            document.update(step, 2.0 * math.exp(-step / 800) + 0.01, 0.1)
        document.mark(2999, "learning")
        parts = document.document(metrics=metrics, steps=3000, loss={}, notes=[])
        change(parts)
        path = tmp_path / "report.html"
        path.write_text(report_page({"run": parts}), encoding="utf-8")
        page = Page(browser, path.as_uri(), **options)
        page.part = parts.get("metrics")
        return page

    return open_report


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_curves_have_the_title_the_labels_and_the_marks_of_the_record(opened, dark):
    page = opened(VALIDATION, ACCURACY, dark=dark)
    figure = page.one("figure.metrics")
    assert page.text("figure.metrics h3") == [page.part["title"]]
    assert page.text("figure.metrics .numbers") == [" · ".join(page.part["details"])]
    assert len(page.all("figure.metrics path.curve")) == 3
    assert {"training loss", "val_loss", HOSTILE} <= set(page.text("figure.metrics text.axis-name"))
    labels = page.text("figure.metrics text.mark")
    assert "best: 0.413 at step 1,000" in labels
    assert "not clearly better since step 1,000" in labels
    assert len(page.all("figure.metrics rect.stopped")) == 1
    assert len(page.all("figure.metrics path.cross")) == 1
    assert "shaded: not clearly better" in figure.text
    assert not page.all("figure.metrics img")
    assert page.errors() == []


def test_pointer_and_arrow_keys_show_all_values_of_a_step(opened):
    page = opened(VALIDATION, ACCURACY)
    stage = page.one(".metrics .explore")
    ActionChains(page.browser).move_to_element(stage).perform()
    until(lambda: page.one(".metrics .tip").is_displayed())
    stage.send_keys(Keys.HOME)
    lines = page.one(".metrics .tip").text.splitlines()
    assert lines[0] == "step 100"
    assert f"{HOSTILE}: not finite" in lines
    assert lines[-1].startswith("training loss: 1.")
    for _ in range(9):
        stage.send_keys(Keys.ARROW_RIGHT)
    assert "val_loss: 0.4135, the best" in page.one(".metrics .tip").text


def test_a_zoom_shows_the_values_of_its_steps(opened):
    page = opened(VALIDATION)
    whole = page.text(".metrics .ticks text")
    page.one(".metrics .explore").send_keys("+")
    until(lambda: page.text(".metrics .ticks text") != whole)
    assert "Show all steps" in page.one(".metrics").text
    assert page.errors() == []


@pytest.mark.parametrize("width", [800, 1600])
def test_all_words_are_within_the_picture(opened, browser, width):
    size = {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page = opened({**VALIDATION, "name": "validation/loss_of_the_largest_of_all_patches"}, ACCURACY)
        outside = browser.execute_script(
            "const f = document.querySelector('figure.metrics').getBoundingClientRect();"
            "return [...document.querySelectorAll('figure.metrics text')].filter((t) => {"
            "const b = t.getBoundingClientRect(); return b.left < f.left || b.right > f.right; })"
            ".map((t) => t.textContent);"
        )
        assert outside == []
        assert page.errors() == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_record_without_metrics_has_no_such_picture_and_one_that_is_damaged_has_a_note(opened):
    page = opened()
    assert not page.all("figure.metrics")
    assert not page.all(".note")
    damaged = opened(VALIDATION, change=lambda parts: parts["metrics"].update(panels=[{"training": True}]))
    assert "damaged and cannot be drawn" in damaged.one(".note").text
    assert damaged.all("figure.course")


def test_the_report_of_a_real_run_shows_its_validation_loss_beside_the_training_loss(browser, tmp_path):
    monitor = watched_fit(tmp_path)
    page = Page(browser, (tmp_path / "run" / "landscape" / "landscape_report.html").as_uri())
    assert page.text("figure.metrics h3") == [monitor.report.document["metrics"]["title"]]
    assert len(page.all("figure.metrics path.curve")) == 2
    assert page.errors() == []


VERDICT = {
    "cause": "settled", "code": "LL210 memorises", "title": "the model memorises its training data", "step": 2000,
    "since": 1000, "stuck": False, "link": "", "reason": "val_loss has risen.", "tries": ["Stop."], "tried": "",
    "finding": {"name": "memorises"}, "readings": [], "metric": "val_loss",
}  # fmt: skip
ALARM = {**VERDICT, "title": "acc has not risen", "stuck": True, "metric": "acc", "cause": "undecided", "step": 1500}


def test_a_verdict_on_a_metric_leads_the_card_of_a_run_without_another(opened):
    page = opened(VALIDATION, change=lambda parts: parts["course"].update(verdicts=[VERDICT]))
    assert page.text("h2") == ["The model memorises its training data"]
    assert page.text(".verdict .mark") == ["◆ for information"]
    assert "since step 1,000" in page.one(".facts").text.lower()


def test_an_alarm_on_a_declared_metric_comes_before_other_verdicts_on_metrics(opened):
    page = opened(VALIDATION, change=lambda parts: parts["course"].update(verdicts=[ALARM, VERDICT]))
    assert page.text("h2") == ["acc has not risen", "The model memorises its training data"]
    assert page.text(".verdict .mark") == ["▲ alarm", "◆ for information"]


def test_a_verdict_on_a_metric_stands_below_an_alarm_on_the_training_loss(opened):
    stuck = {**ALARM, "title": "stuck on a flat region", "cause": "flat_region", "metric": None}

    def change(parts):
        parts["course"].update(verdicts=[stuck, VERDICT], segments=[[0, "learning"], [1200, "flat_region"]])

    page = opened(VALIDATION, change=change)
    assert page.text("h2") == ["Stuck on a flat region", "The model memorises its training data"]
    assert page.errors() == []


def test_the_table_of_runs_lists_an_alarm_on_a_metric_before_runs_without_one(browser, tmp_path):
    document = RunDocument()
    for step in range(3000):
        document.update(step, 2.0 - step / 2000, 0.1)
    document.mark(2999, "learning")
    runs = {name: document.document(steps=3000, loss={}, notes=[]) for name in ("a", "b", "c")}
    runs["b"]["course"]["verdicts"] = [ALARM]
    runs["c"]["course"]["verdicts"] = [VERDICT]
    path = tmp_path / "report.html"
    path.write_text(report_page(runs), encoding="utf-8")
    page = Page(browser, path.as_uri())
    assert page.text(".table .name button") == ["b", "a", "c"]
    assert "acc has not risen" in page.text(".table .state")[0]
    assert page.one(".picker .summary").text == "3 runs: 1 alarm, 2 without an alarm"
    assert page.errors() == []
