"""Many runs in the tab, and in one report, in a real browser."""

import csv
import json
import math
import time

import pytest

pytest.importorskip("selenium", reason="needs selenium")
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from benchmarks.tab.browsing import open_tab, tensorboard, until
from benchmarks.tab.logs import write_logs
from lightning_landscape.evidence import Cause, Evidence, Trials, Verdict
from lightning_landscape.reporting.page import report_page
from lightning_landscape.reporting.run_document import RunDocument
from tests.tensorboard_plugin.test_browser import Page

pytestmark = pytest.mark.browser

RUNS = 12
ROUTE = "/data/plugin/lightning_landscape"


@pytest.fixture(scope="module")
def many(installed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    names = write_logs(folder, RUNS, 600, picture_bytes=0)
    with tensorboard(installed, folder) as server:
        until(lambda: len(server.ask(f"{ROUTE}/runs")["runs"]) == len(names))
        yield server


@pytest.fixture
def tab(browser, many):
    return Page(browser, f"{many.url}/#lightning_landscape", frame=True)


def rows(page):
    return {
        row.find_element(By.CSS_SELECTOR, "th").text: [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in page.all(".table tbody tr")
        if row.is_displayed()
    }


def test_the_table_lists_alarms_first_with_cause_finding_since_progress_and_age(tab):
    table = rows(tab)
    assert len(table) == RUNS
    tones = [cell.get_attribute("class").split()[-1] for cell in tab.all(".table td.state")]
    assert tones == sorted(tones, key=["alarm", "unsure", "quiet", "good"].index)
    assert tab.one(".summary").text.startswith("12 runs: 5 alarms, 1 uncertain, ")
    state, since, steps, loss, news = table["softmax-twice/seed_0"]
    assert state.splitlines() == ["▲ Stuck on a flat region", "Squashed twice"]
    assert (since, steps, news) == ("step 100", "600 of 600", "Ended")
    assert float(loss) == pytest.approx(1.96, abs=0.05)
    assert table["sigmoid/seed_1"][2] == "378 of 600 (63%)"
    assert table["sigmoid/seed_1"][4].startswith("No news for ")


def test_the_most_urgent_run_is_shown_at_first_with_what_is_known_of_a_run_that_was_killed(tab):
    first = next(iter(rows(tab)))
    assert [panel.get_attribute("aria-label") for panel in tab.all("article")] == [first]
    tab.show_only("sigmoid/seed_1")
    facts = tab.one(".verdict .progress").text
    assert "378 of 600 steps (63%) · no news for " in facts
    assert "running" not in facts


def test_the_filter_looks_at_names_states_and_findings(tab):
    search = tab.one(".picker input[type=search]")
    for text, found in {"squashed": 1, "seed_1": 2, "LL202": 3, "uncertain": 1, "no such run": 0}.items():
        search.clear()
        search.send_keys(text)
        assert len(rows(tab)) == found


def test_the_choice_is_kept_in_the_address_and_read_from_it(tab, browser, many):
    tab.show_only("small-lr/seed_0")
    tab.choose("spiky/seed_0")
    until(lambda: len(tab.all("article")) == 2)
    browser.switch_to.default_content()
    address = browser.current_url
    assert "p.lightning_landscape.runs=" in address
    again = Page(browser, address, frame=True)
    shown = {panel.get_attribute("aria-label") for panel in again.all("article")}
    assert shown == {"small-lr/seed_0", "spiky/seed_0"}
    browser.switch_to.default_content()
    assert browser.current_url == address


def test_several_runs_share_one_chart_with_their_names_in_which_a_peak_squashes_nothing(tab):
    tab.show_only("spiky/seed_0")

    def three():
        tab.choose("wide/seed_0", "sigmoid/seed_0")
        return len(tab.all("article")) == 3 and len(tab.all(".overlay .tag")) == 3

    until(three)
    ticks = until(lambda: [float(tick.text) for tick in tab.all(".overlay .ticks text[text-anchor=end]")][:6])
    assert max(ticks) <= 4  # the peak is at 300
    names = {label.text.split(" ", 1)[1] for label in tab.all(".overlay .tag text")}
    assert names == {"spiky/seed_0", "wide/seed_0", "sigmoid/seed_0"}
    stage = tab.one(".overlay .explore")
    stage.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    lines = tab.one(".overlay .tip").text.splitlines()
    assert lines[0].startswith("step ")
    assert {line.split(" ", 1)[1] for line in lines[1:]} == names

    def alone():
        names = tab.all(".overlay .tag text")
        if len(tab.all("article")) > 1 and names:
            ActionChains(tab.browser).move_to_element(names[0]).click().perform()
        return len(tab.all("article")) == 1

    until(alone)


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(tab):
    tab.show_only("spiky/seed_0")
    tab.browser.execute_script("""
        const fetched = window.fetch, delays = { "./courses": [1000, 0], "./run": [400] };  // milliseconds
        window.asked = [];
        window.fetch = async (address) => {
          const answer = await fetched(address), waits = delays[address.split("?")[0]] || [0];
          window.asked.push(address);
          await new Promise((done) => setTimeout(done, waits.length > 1 ? waits.shift() : waits[0]));
          return answer;
        };
    """)
    tab.choose("wide/seed_0")
    until(lambda: tab.browser.execute_script("return window.asked.some((one) => one.startsWith('./courses'))"))
    tab.choose("sigmoid/seed_0")
    until(lambda: len(tab.all("article")) == 3)
    tab.browser.execute_async_script("setTimeout(arguments[0], 3000)")  # every answer has come
    assert len(tab.all(".overlay .tag")) == 3


def test_more_than_three_runs_are_small_pictures_and_a_click_opens_one(tab):
    tab.show_only("wide/seed_0")
    tab.choose("sigmoid/seed_0", "spiky/seed_0", "small-lr/seed_0", "narrow/seed_0")
    until(lambda: len(tab.all(".multiple")) == 5)
    assert not tab.all("article")

    def opened():  # the page may be redrawn at any time, so each call looks up the picture
        small = next(one for one in tab.all(".multiple") if "small-lr/seed_0" in one.text)
        assert "Stuck because the learning rate is too small" in small.text
        small.click()
        return True

    until(opened)
    until(lambda: [panel.get_attribute("aria-label") for panel in tab.all("article")] == ["small-lr/seed_0"])
    assert tab.errors() == []
    assert tab.hosts() == {"127.0.0.1"}


def test_without_runs_the_page_shows_what_to_write_and_the_folder_that_is_read(browser, installed, tmp_path):
    with tensorboard(installed, tmp_path) as server:
        open_tab(browser, f"{server.url}/#lightning_landscape")
        text = until(lambda: [found.text for found in browser.find_elements(By.CSS_SELECTOR, ".message") if found.text])
        assert "No run has been watched yet" in text[0]
        assert "Trainer(callbacks=[LandscapeMonitor()])" in text[0]
        assert str(tmp_path) in text[0]


def document(causes=(), steps=400, status="ended", peak=None):
    """Return the document of a run that reaches these verdicts; after each of several, it learns again."""
    made, verdicts, length = RunDocument(), [], steps // (len(causes) + 1)
    for step in range(steps):
        made.update(step, peak if step == 200 and peak else 2.0 - step / steps, 0.1)
        if step == 5:
            made.mark(step, "learning")
        if step and step % length == 0 and len(verdicts) < len(causes):
            cause, reason = causes[len(verdicts)], f"This is the reason of verdict {len(verdicts) + 1}."
            verdicts.append(Verdict(cause, step, step - 20, stuck=True, reason=reason, advice="another rate."))
            made.mark(step, cause.value)
        elif step % length == length // 2 and len(causes) > 1:
            made.mark(step, "learning")
    return made.document(verdicts, steps=steps, horizon=1000, status=status, loss={}, notes=[])


def tried(gains):
    """Return the document of a stuck run, on a copy of which these trials were made."""
    document = RunDocument()
    for step in range(50):
        document.update(step, 2.0, 0.1)
    document.mark(49, Cause.FLAT_REGION.value)
    evidence = Evidence(Trials(gains, 40, 1.0, 0.0, 8))
    verdict = Verdict(Cause.FLAT_REGION, 49, 9, stuck=True, reason="Why.", advice="one.\n`two()`.", evidence=evidence)
    return document.document([verdict], steps=50, status="ended", loss={}, notes=[])


def opened(browser, tmp_path, **runs):
    path = tmp_path / "report.html"
    path.write_text(report_page(runs), encoding="utf-8")
    return Page(browser, path.as_uri())


def test_a_click_on_a_state_shows_its_verdict_and_a_button_leads_back(browser, tmp_path):
    page = opened(browser, tmp_path, run=document([Cause.SADDLE_POINT, Cause.FLAT_REGION]))
    over = "No plateau any more; alarm at step 266"
    assert page.text("h2") == [over]
    first = page.all(".course .segment.alarm rect")[0]
    ActionChains(browser).move_to_element(first).click().perform()
    assert page.text("h2") == ["Stuck at a saddle point"]
    assert "reason of verdict 1" in page.one(".why").text
    page.one(".back").click()
    assert page.text("h2") == [over]
    page.one(".course .explore").send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 38, Keys.ENTER)
    assert page.text("h2") == ["Stuck at a saddle point"]


def steps_on_axis(page):
    ticks = page.all(".course .ticks text[text-anchor=middle], .course .ticks text[text-anchor=start]")
    return [int(tick.text.replace(",", "")) for tick in ticks if tick.text.replace(",", "").isdigit()]


def test_dragging_and_the_plus_key_zoom_into_steps_and_a_button_shows_all_again(browser, tmp_path):
    page = opened(browser, tmp_path, run=document())
    whole = steps_on_axis(page)
    stage = page.one(".course .explore")
    ActionChains(browser).move_to_element_with_offset(stage, -40, -30).click_and_hold().move_by_offset(
        90, 0
    ).release().perform()
    until(lambda: page.all(".course .whole"))
    zoomed = steps_on_axis(page)
    assert max(zoomed) < max(whole)
    assert min(zoomed) > min(whole)
    page.one(".course .whole").click()
    assert steps_on_axis(page) == whole
    page.one(".course .explore").send_keys("+")
    assert max(steps_on_axis(page)) < max(whole)


def test_one_peak_does_not_squash_the_loss_of_a_run_and_is_said_to_be_cut_off(browser, tmp_path):
    page = opened(browser, tmp_path, run=document(peak=1e5))
    ticks = [tick.text for tick in page.all(".course .ticks text[text-anchor=end]")]
    assert max(float(tick) for tick in ticks) <= 3
    assert "cut off" in page.one(".course .remarks").text


def test_pictures_and_their_numbers_can_be_saved(browser, tmp_path):
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page = opened(browser, tmp_path, run=document([Cause.SADDLE_POINT]))
    for button in page.all(".course .save button"):
        button.click()
    table = tmp_path / "training-loss-and-verdicts.csv"
    picture = tmp_path / "training-loss-and-verdicts.png"
    until(lambda: table.is_file() and picture.is_file())
    with table.open(newline="") as file:
        head, *numbers = csv.reader(file)
    assert head[:2] == ["step", "mean loss"]
    assert len(numbers) >= 100
    assert {row[-1] for row in numbers} == {"learning", "saddle_point"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    from matplotlib.image import imread

    pixels = imread(picture)
    assert pixels.shape[0] > 400
    assert len({tuple(pixel) for pixel in pixels.reshape(-1, pixels.shape[2])[::97]}) > 5
    assert page.errors() == []


def test_trials_are_bars_with_their_results_beside_what_going_on_does(browser, tmp_path):
    run = tried({"adam": 0.4, "this optimizer": 0.1, "learning rate x10": -3.0, "learning rate x100": -math.inf})
    page = opened(browser, tmp_path, run=run)
    assert page.text(".trials h3") == [run["course"]["trials"]["title"]]
    assert page.text(".trials text.result") == ["40% lower", "10% lower", "4.0 times as high", "not finite"]
    kinds = [bar.get_attribute("class") for bar in page.all(".trials rect.bar")]
    assert kinds == ["bar lower", "bar going-on", "bar higher", "bar higher"]
    assert len(page.all(".trials line.baseline")) == 1
    page.one(".trials .explore").send_keys(Keys.ARROW_UP)
    lines = page.one(".trials .tip").text.splitlines()
    assert lines == ["Adam at a learning rate of 0.01", "loss 40% lower", "40 steps each"]
    assert page.text(".try li") == ["One.", "two()."]
    assert page.text(".try li code") == ["two()"]
    assert page.errors() == []


def test_one_report_holds_several_runs_with_alarms_first_and_says_which_has_no_news(browser, tmp_path):
    now = time.time()
    path = tmp_path / "report.html"
    runs = {"healthy": document(), "stuck": document([Cause.FLAT_REGION], steps=350, status="running")}
    path.write_text(report_page(runs, written=now, seen={"stuck": now - 86_400}), encoding="utf-8")
    page = Page(browser, path.as_uri())
    assert list(rows(page)) == ["stuck", "healthy"]
    assert rows(page)["stuck"][2] == "350 of 1,000 (35%)"
    assert rows(page)["stuck"][4].startswith("No news since ")
    assert rows(page)["healthy"][4] == "Ended"
    assert page.hosts() == set()
    assert page.errors() == []
    assert len(json.dumps(runs)) > 1000
