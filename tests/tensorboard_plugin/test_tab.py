"""The plugin cannot keep TensorBoard from starting, loads little, and runs no code from a record."""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.tab.browsing import PATIENCE, tensorboard
from lightning_landscape.reporting.javascript import modules, one_script
from lightning_landscape.tensorboard_plugin import LandscapeLoader
from tests.tensorboard_plugin.conftest import ROOT

STATIC = ROOT / "lightning_landscape/tensorboard_plugin/static"
MODULES = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.iterdir())}
ROUTE = "/data/plugin/lightning_landscape"


def listing(server):
    return server.ask("/data/plugins_listing")


@pytest.mark.slow
def test_the_tab_is_shown_only_if_a_run_has_records(server, installed, tmp_path):
    assert listing(server)["lightning_landscape"]["enabled"] is True
    assert listing(server)["lightning_landscape"]["tab_name"] == "Landscape"
    with tensorboard(installed, tmp_path) as empty:
        assert listing(empty)["lightning_landscape"]["enabled"] is False


@pytest.mark.slow
def test_the_latest_run_comes_first_and_every_run_has_its_parts(server):
    overview = server.ask(f"{ROUTE}/runs")
    assert overview["runs"][-1]["run"] == "healthy"
    stuck = next(run for run in overview["runs"] if run["run"] == "stuck")
    assert stuck["course"]["verdicts"][-1]["cause"] == "flat_region"
    assert (stuck["course"]["horizon"], stuck["course"]["status"]) == (300, "ended")
    assert 0 < overview["now"] - stuck["seen"] < 24 * 3600
    assert server.ask(f"{ROUTE}/courses?run=stuck&run=healthy&run=..").keys() == {"stuck", "healthy"}
    answer = server.ask(f"{ROUTE}/run?run=stuck")
    assert answer["skipped"] == 0
    assert set(answer["parts"]) >= {"course", "lines", "gradients"}
    assert answer["parts"]["course"]["verdicts"][0]["cause"] == "flat_region"
    assert answer["parts"]["course"]["status"] == "ended"
    assert server.ask(f"{ROUTE}/run?run=../../etc") == {"parts": {}, "skipped": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        'raise ImportError("broken on purpose")',
        "class LandscapeTab:\n    def __init__(self, context):\n        raise RuntimeError",
        "syntax error here",
        "",
    ],
    ids=["raises", "constructor raises", "no python", "empty"],
)
def test_f33_tensorboard_starts_without_the_tab_if_its_module_is_broken(installed, tmp_path, fault):
    copy = tmp_path / "site"
    subprocess.run(["cp", "-r", str(installed), str(copy)], check=True)
    (copy / "lightning_landscape/tensorboard_plugin/tab.py").write_text(fault, encoding="utf-8")
    (tmp_path / "logs").mkdir()
    with tensorboard(copy, tmp_path / "logs") as running:
        assert "scalars" in listing(running)
        assert "lightning_landscape" not in listing(running)


@pytest.mark.slow
def test_f33_the_tab_needs_no_torch(installed, logdir):
    absent = "import sys\nfor name in ('torch', 'lightning', 'matplotlib', 'torchmetrics'): sys.modules[name] = None"
    with tensorboard(installed, logdir, before=absent) as running:
        assert "lightning_landscape" in listing(running)


def test_f33_the_loader_never_raises():
    assert LandscapeLoader().load(SimpleNamespace()) is None
    assert LandscapeLoader().load(None) is None


LOADED = """
import sys, tensorboard.main
from types import SimpleNamespace
before, opened = set(sys.modules), []
sys.addaudithook(lambda event, arguments: event in ("open", "os.listdir") and opened.append(str(arguments[0])))
from lightning_landscape.tensorboard_plugin import LandscapeLoader
assert LandscapeLoader().load(SimpleNamespace(data_provider=None, logdir=sys.argv[1]))
print(*[path for path in opened if path.startswith(sys.argv[1])])
new = set(sys.modules) - before
print(*[name for name in new if name.partition(".")[0] not in {*sys.stdlib_module_names, "lightning_landscape"}])
print(sum(name.startswith("lightning_landscape") for name in sys.modules))
"""


@pytest.mark.slow
def test_loading_the_plugin_imports_a_few_modules_and_reads_no_run(tmp_path):
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"")
    done = subprocess.run([sys.executable, "-c", LOADED, str(tmp_path)], capture_output=True, text=True, check=True)
    of_the_runs, of_others, own = done.stdout.splitlines()
    assert (of_the_runs, of_others) == ("", "")
    assert 0 < int(own) <= 6


@pytest.mark.parametrize("name", MODULES)
def test_the_javascript_never_uses_text_as_markup_or_code_and_names_no_other_host(name):
    source = MODULES[name]
    forbidden = r"innerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|on\w+\s*=\s*[\"']|import\("
    assert not re.findall(forbidden, source)
    assert set(re.findall(r"https?://[\w.]+", source)) <= {"http://www.w3.org"}  # a namespace, never loaded
    assert "</script" not in source


def test_modules_become_one_script_in_which_no_name_is_defined_twice():
    assert set(modules()) == set(MODULES)
    names = [
        name
        for source in MODULES.values()
        for line in re.findall(r"^(?:export )?(?:async )?(?:function|const|let) (.*)", source, re.MULTILINE)
        for name in re.findall(r"(?:^|, )(\w+)(?= =|$)", line.partition("(")[0])
    ]
    assert "mount" in names
    assert "TALLER" in names
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert not re.findall(r"^(?:import|export) ", one_script(), re.MULTILINE)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_one_idea_in_a_line_and_at_most_280_lines(name):
    first, *rest = MODULES[name].splitlines()
    assert re.fullmatch(r"// [A-Z].*", first)
    assert len(rest) < 280


@pytest.mark.slow
def test_the_javascript_is_served_with_its_content_type(server):
    for name, source in MODULES.items():
        with urllib.request.urlopen(f"{server.url}{ROUTE}/{name}", timeout=PATIENCE) as answer:
            assert answer.headers["Content-Type"].startswith("text/javascript")
            assert answer.read().decode() == source


def test_the_wheel_contains_the_javascript_and_the_entry_point(installed):
    static = installed / "lightning_landscape/tensorboard_plugin/static"
    assert {path.name for path in static.iterdir()} == set(MODULES)
    (points,) = Path(installed).glob("*.dist-info/entry_points.txt")
    assert "lightning_landscape.tensorboard_plugin:LandscapeLoader" in points.read_text(encoding="utf-8")
