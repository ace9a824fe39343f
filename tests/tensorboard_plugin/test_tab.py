"""The plugin cannot keep TensorBoard from starting, loads little, and runs no code from a record."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_landscape.tensorboard_plugin import LandscapeLoader
from tests.tensorboard_plugin.conftest import PATIENCE, ROOT, tensorboard

MODULE = (ROOT / "lightning_landscape/tensorboard_plugin/static/landscape.js").read_text(encoding="utf-8")
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
    assert server.ask(f"{ROUTE}/runs")[-1] == "healthy"
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


def test_the_javascript_never_uses_text_as_markup_or_code_and_names_no_other_host():
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|on\w+\s*=\s*[\"']|import\s"
    )
    assert not re.findall(forbidden, MODULE)
    assert set(re.findall(r"https?://[\w.]+", MODULE)) == {
        "http://www.w3.org"
    }  # an XML namespace, which browsers never load
    assert "</script" not in MODULE


@pytest.mark.slow
def test_the_javascript_is_served_with_its_content_type(server):
    import urllib.request

    with urllib.request.urlopen(f"{server.url}{ROUTE}/landscape.js", timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert answer.read().decode() == MODULE


def test_the_wheel_contains_the_javascript_and_the_entry_point(installed):
    assert (installed / "lightning_landscape/tensorboard_plugin/static/landscape.js").is_file()
    (points,) = Path(installed).glob("*.dist-info/entry_points.txt")
    assert "lightning_landscape.tensorboard_plugin:LandscapeLoader" in points.read_text(encoding="utf-8")
