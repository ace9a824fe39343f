"""The tab and the report in a real browser."""

import json
from urllib.parse import urlsplit

import pytest

pytest.importorskip("selenium", reason="needs selenium")
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from benchmarks.tab.browsing import open_tab, set_colours, tensorboard, until
from tests.tensorboard_plugin.conftest import HOSTILE

pytestmark = pytest.mark.browser


class Page:
    """One page in the browser, and its requests."""

    def __init__(self, browser, url, *, dark=False, frame=False):
        self.browser = browser
        browser.get_log("browser"), browser.get_log("performance")
        set_colours(browser, dark=dark)
        if frame:
            open_tab(browser, url)
        else:
            browser.get("about:blank")
            browser.get(url)
        until(lambda: self.all(".verdict"))
        until(lambda: self.all("figure.course svg path.line"))

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return [found.text for found in self.all(selector)]

    def show_only(self, run):
        def shown():  # the page may be redrawn before a click, which then has no effect
            name = self.name_of(run)
            self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", name)
            name.click()
            return [panel.get_attribute("aria-label") for panel in self.all("article")] == [run]

        until(shown)
        until(lambda: self.all("figure.course svg path.line"))

    def name_of(self, run):
        return next(name for name in self.all(".table .name button") if name.text == run)

    def box_of(self, run):
        return next(box for box in self.all(".table input") if box.get_attribute("value") == run)

    def choose(self, *runs):
        def chosen():  # without a pointer, below which the page may move the box
            for box in map(self.box_of, runs):
                if not box.is_selected():
                    self.browser.execute_script("arguments[0].click()", box)
            return all(self.box_of(run).is_selected() for run in runs)

        until(chosen)

    def run(self, name):
        return next(panel for panel in self.all("article") if panel.get_attribute("aria-label") == name)

    def hosts(self):
        """Return every host that the page has sent a request to."""
        messages = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).hostname for url in urls if urlsplit(url).scheme in {"http", "https", "ws", "wss"}}

    def errors(self):
        severe = [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]
        # TensorBoard does not find its own font if a path prefix is set.
        return [message for message in severe if "/font-roboto/" not in message]

    def colour(self, selector, name):
        return self.one(selector).value_of_css_property(name)


@pytest.fixture
def tab(browser, server):
    return Page(browser, f"{server.url}/#lightning_landscape", frame=True)


def test_the_tab_shows_why_the_stuck_run_is_stuck_and_no_alarm_for_the_healthy_run(tab):
    tab.show_only("stuck")
    assert tab.text("h2") == ["Stuck on a flat region"]
    assert "The training loss" in tab.one(".why").text
    assert tab.one(".try").text.startswith("Try")
    steps = tab.text(".try ol li")
    assert len(steps) >= 2
    assert any("x = x + layer(x)" in code for code in tab.text(".try li code"))
    assert "LL202" in tab.one(".facts").text
    tab.show_only("healthy")
    assert "alarm" not in tab.one(".verdict").get_attribute("class")
    assert not tab.all(".segment.alarm")


def test_every_figure_with_data_is_drawn_under_the_caption_of_its_record_in_the_order_of_the_cause(tab, server):
    tab.show_only("stuck")
    parts = server.ask("/data/plugin/lightning_landscape/run?run=stuck")["parts"]
    records = {
        "Training loss and verdicts": parts["course"],
        "Gradient norm by part of the model": parts["gradients"],
        "Loss on straight lines from earlier weights": parts["lines"]["initial"][-1],
        "Loss on a plane through the weights": parts["planes"]["planes"][-1],
    }
    names = [figure.get_attribute("aria-label") for figure in tab.all("figure")]
    assert [name for name in names if name in records] == list(records)  # as `order_for` has it for a flat region
    for name, title, numbers in zip(names, tab.text("h3"), tab.text("figure .numbers"), strict=True):
        if name in records:
            assert title == records[name]["title"]
            assert numbers.endswith(" · ".join(records[name]["details"]))
    assert len(tab.all(".gradients canvas")) == 1
    assert not tab.all(".note")


def test_the_plane_of_a_stuck_run_shows_the_path_and_the_loss_under_the_pointer(tab):
    tab.show_only("stuck")
    names = tab.text(".plane text.place")
    assert names[0].startswith("step ")
    assert any(name.startswith("initial") for name in names)
    assert len(tab.all(".plane circle.spot")) >= 2
    colours = tab.browser.execute_script(
        "const c = document.querySelector('.plane canvas');"
        "const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set();"
        "for (let i = 0; i < p.length; i += 4) seen.add(`${p[i]} ${p[i + 1]} ${p[i + 2]} ${p[i + 3]}`);"
        "return seen.size;"
    )
    assert 3 <= colours <= 20
    ActionChains(tab.browser).move_to_element(tab.one(".plane .explore")).perform()
    tip = until(lambda: [found.text for found in tab.all(".plane .tip") if found.is_displayed()])[0].splitlines()
    assert tip[0].startswith("loss ")
    stage = tab.one(".plane .explore")
    stage.send_keys(Keys.ARROW_UP)
    assert tab.one(".plane .tip").text.splitlines() != tip
    tab.show_only("healthy")
    assert not tab.all(".plane")


def test_several_runs_are_shown_side_by_side_and_can_share_their_axes(tab):
    tab.choose("healthy", "stuck", HOSTILE)
    until(lambda: len(tab.all("article")) == 3)
    tops = {panel.find_element(By.CSS_SELECTOR, "figure.course").rect["y"] for panel in tab.all("article")}
    assert len(tops) == 1

    def ticks():
        return [
            [label.text for label in panel.find_elements(By.CSS_SELECTOR, ".course .ticks text")]
            for panel in tab.all("article")
        ]

    assert len({str(found) for found in ticks()}) > 1
    tab.one("nav button[aria-pressed]").click()
    until(lambda: len({str(found) for found in ticks()}) == 1)


def test_the_slider_selects_the_curve_of_a_step(tab):
    tab.show_only("healthy")
    slider, output = tab.one(".lines input[type=range]"), tab.one(".lines output")
    newest, drawn = output.text, tab.one(".lines path.line").get_attribute("d")
    assert len(tab.all(".lines path.ghost")) >= 5
    assert tab.one(".lines .ticks text.name:last-of-type").text == "change of the loss from α = 0"
    slider.send_keys(Keys.HOME)
    until(lambda: tab.one(".lines output").text.startswith("step 29 · 1 of"))
    assert tab.one(".lines path.line").get_attribute("d") != drawn
    slider.send_keys(Keys.END)
    until(lambda: tab.one(".lines output").text == newest)
    assert tab.one(".lines path.line").get_attribute("d") == drawn


def test_another_anchor_can_be_chosen_by_keyboard_and_keeps_the_focus(tab):
    tab.show_only("healthy")

    def pressed():  # the page may be redrawn at any time, so each call looks up the button
        button = next(found for found in tab.all(".lines .choice button") if found.text == "previous weights")
        if button.get_attribute("aria-pressed") != "true":
            button.send_keys(Keys.ENTER)
        return button.get_attribute("aria-pressed") == "true"

    until(pressed)
    until(lambda: tab.browser.switch_to.active_element.text == "previous weights")
    tab.browser.switch_to.active_element.send_keys(Keys.TAB, Keys.TAB)
    assert "(0: step " in " ".join(tab.text(".lines .ticks .name"))


def test_pointer_and_arrow_keys_on_the_loss_curve_show_the_reason(tab):
    tab.show_only("stuck")
    bar = tab.one(".course .segment.alarm rect")
    ActionChains(tab.browser).move_to_element(bar).perform()
    tip = until(lambda: [found.text for found in tab.all(".course .tip") if found.is_displayed()])[0]
    assert tip.startswith("step ")
    assert "flat region since step" in tip
    assert "The training loss" in tip
    ActionChains(tab.browser).move_to_element(tab.one("h1")).perform()
    stage = tab.one(".course .explore")
    stage.send_keys(Keys.HOME)
    first = tab.one(".course .tip").text
    stage.send_keys(Keys.ARROW_RIGHT)
    assert tab.one(".course .tip").text != first
    stage.send_keys(Keys.ESCAPE)
    assert not tab.one(".course .tip").is_displayed()


def test_the_heat_map_shows_group_step_and_norm(tab):
    tab.show_only("stuck")
    stage = tab.one(".gradients .explore")
    stage.send_keys(Keys.HOME)
    first = tab.one(".gradients .tip").text.splitlines()
    assert first[0].startswith("net.")
    assert first[2].startswith("gradient norm")
    stage.send_keys(Keys.ARROW_DOWN)
    assert tab.one(".gradients .tip").text.splitlines()[0] != first[0]


def test_dark_mode_follows_the_system_the_button_and_tensorboard(browser, server):
    light = Page(browser, f"{server.url}/#lightning_landscape", frame=True)
    ground = light.colour(".landscape", "background-color")
    dark = Page(browser, f"{server.url}/#lightning_landscape", dark=True, frame=True)
    night = dark.colour(".landscape", "background-color")
    assert ground == "rgba(246, 247, 248, 1)"
    assert night == "rgba(22, 25, 28, 1)"
    switch = next(found for found in dark.all("nav button") if found.text == "Colours: auto")
    switch.click()
    assert dark.colour(".landscape", "background-color") == ground
    switch.click()
    assert dark.colour(".landscape", "background-color") == night
    light = Page(browser, f"{server.url}/#lightning_landscape", frame=True)
    browser.switch_to.default_content()
    browser.execute_script("document.body.classList.add('dark-mode')")
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe"))
    until(lambda: light.colour(".landscape", "background-color") == night)


def test_the_tab_sends_no_request_elsewhere_and_logs_no_error(tab):
    for run in ("stuck", "healthy", HOSTILE):
        tab.show_only(run)
    assert tab.errors() == []
    assert tab.hosts() == {"127.0.0.1"}


def test_a_hostile_name_is_shown_as_text(tab):
    tab.show_only(HOSTILE)
    assert tab.text(".run") == [HOSTILE]
    assert not tab.all("article img")


@pytest.mark.parametrize(
    ("arguments", "prefix"),
    [(("--path_prefix", "/tb/x"), "/tb/x"), (("--load_fast=false",), "")],
    ids=["prefix", "slow loader"],
)
def test_the_tab_works_with_a_path_prefix_and_with_the_slow_loader(browser, installed, logdir, arguments, prefix):
    with tensorboard(installed, logdir, *arguments, prefix=prefix) as running:
        until(lambda: len(running.ask("/data/plugin/lightning_landscape/runs")["runs"]) == 3)
        page = Page(browser, f"{running.url}/#lightning_landscape", frame=True)
        page.show_only("stuck")
        assert page.text("h2") == ["Stuck on a flat region"]
        assert page.errors() == []


def test_the_report_opens_from_a_file_and_sends_no_request(browser, logdir):
    path = logdir / "stuck" / "landscape" / "landscape_report.html"
    page = Page(browser, path.as_uri())
    assert page.text("h2") == ["Stuck on a flat region"]
    assert len(page.all("figure")) >= 3
    assert path.stat().st_size <= 200_000
    assert "Reload" not in page.text("nav button")
    assert page.errors() == []
    assert page.hosts() == set()


def test_a_run_that_is_not_judged_is_not_shown_as_a_run_without_alarm(browser, tmp_path):
    from lightning_landscape._text import capitalised
    from lightning_landscape.reporting.messages import NOT_JUDGED
    from lightning_landscape.reporting.page import report_page
    from lightning_landscape.reporting.run_document import RunDocument

    document = RunDocument()
    for step in range(50):
        document.update(step, 2.0, 0.1)
    document.mark(49, "not_judged")
    path = tmp_path / "report.html"
    path.write_text(report_page({"run": document.document([], steps=50, notes=[NOT_JUDGED])}), encoding="utf-8")
    page = Page(browser, path.as_uri())
    assert page.text("h2") == ["Not judged"]
    assert page.text(".verdict .mark") == ["◆ for information"]
    assert page.text(".notes li") == [capitalised(NOT_JUDGED)]
    assert page.errors() == []


def test_the_card_of_a_healthy_run_says_what_was_checked_how_it_goes_and_what_that_cost(tab):
    tab.show_only("healthy")
    facts = dict(zip(tab.text(".about dt"), tab.text(".about dd"), strict=True))
    assert facts["Checked"].startswith("The loss of 300 steps, the gradients of 3 parts, ")
    assert facts["Price"].startswith("Watching and diagnosing took ")
    assert "ended" in tab.one(".facts.progress").text
    tab.show_only("stuck")
    assert tab.one(".about").get_attribute("open") is None


def test_in_a_notebook_the_report_is_drawn_in_an_iframe(browser, tmp_path):
    from lightning_landscape.evidence import LossLevel
    from lightning_landscape.reporting.report import Report
    from lightning_landscape.reporting.run_document import RunDocument

    document = RunDocument()
    for step in range(50):
        document.update(step, 2.0 - 0.01 * step, 0.1)
    document.mark(49, "learning")
    report = Report(50, LossLevel(2.0, 1.5, 1.5), [], document=document.document([], steps=50, loss={}, notes=[]))
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><body>{report._repr_html_()}</body>", encoding="utf-8")
    page = Page(browser, notebook.as_uri(), frame=True)
    assert page.text("h2") == ["No plateau so far"]
    assert page.errors() == []


def test_f32_unreadable_records_are_counted_and_new_records_are_shown_on_reload(browser, installed, tmp_path):
    from lightning.pytorch.loggers import TensorBoardLogger

    from lightning_landscape.reporting import loggers
    from lightning_landscape.reporting.run_document import RunDocument

    logger = TensorBoardLogger(tmp_path, name="", version="run")
    document = RunDocument()
    for step in range(20):
        document.update(step, 1.0, None)
    document.mark(19, "learning")
    parts = document.document([], steps=20, loss={}, notes=[])
    loggers.send_record(logger, "lines", '{"schema": 1, "initial": [{"strange": true}]}', 0)
    loggers.send_record(logger, "course", "\udc00 no JSON".encode("utf-8", "replace").decode(), 0)
    loggers.send_record(logger, "course", "[1, 2]", 1)
    loggers.send_record(logger, "course", json.dumps(parts["course"]), 2)
    logger.experiment.flush()
    with tensorboard(installed, tmp_path, "--reload_interval", "1") as running:
        until(lambda: running.ask("/data/plugin/lightning_landscape/runs")["runs"])
        page = Page(browser, f"{running.url}/#lightning_landscape", frame=True)
        assert page.text(".notes li") == ["2 records could not be read"]
        assert "damaged and cannot be drawn" in page.one(".note").text
        document.mark(20, "diverged")
        loggers.send_record(
            logger, "course", json.dumps(document.document([], steps=21, loss={}, notes=[])["course"]), 3
        )
        logger.experiment.flush()
        reload = next(found for found in page.all("nav button") if found.text == "Reload")

        def renewed():
            reload.click()
            return page.text("h2") == ["Diverged"]

        until(renewed)
