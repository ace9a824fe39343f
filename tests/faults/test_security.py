"""Nothing that this library reads is executed, nothing that it writes runs, and it speaks to nobody."""

from __future__ import annotations

import ast
import re
import socket
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from tests.faults.runs import MONITORS, Flat, fit, said_by

PACKAGE = Path(__file__).parents[2] / "lightning_landscape"
SOURCES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "Popen", "check_output", "loads_pickle"}
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "subprocess"} | {
    *("socket", "ssl", "http", "urllib", "requests", "aiohttp", "httpx", "ftplib", "smtplib", "xmlrpc", "webbrowser")
}
"""of `pickle` the name of its error alone is used"""


def trespasses(source: str) -> list[str]:
    """What in this source could execute what it reads, or speak to somebody."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.rsplit(".", 1)[-1] in FORBIDDEN_CALLS and name not in {"re.compile", "torch.compile"}:
                found.append(f"line {node.lineno}: {name}()")
            if name in {"torch.load", "np.load", "numpy.load"}:
                safe = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                wanted = {"torch.load": ("weights_only", "True")}.get(name, ("allow_pickle", "False"))
                if safe.get(wanted[0]) != wanted[1]:
                    found.append(f"line {node.lineno}: {name} without {'='.join(wanted)}")
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"line {node.lineno}: import {n}" for n in names if n.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle" and node.attr != "UnpicklingError":
            found.append(f"line {node.lineno}: pickle.{node.attr}")
    return found


def test_no_module_can_execute_what_it_reads_or_speak_to_anybody():
    assert SOURCES
    found = [
        f"{path.relative_to(PACKAGE).as_posix()}, {trespass}"
        for path in SOURCES
        for trespass in trespasses(path.read_text(encoding="utf-8"))
        if not (path.name == "checkpoints.py" and trespass.endswith("import pickle"))  # for the name of its error
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import pickle",
        "from pickle import loads",
        "import pickle\npickle.loads(data)",
        "eval('1')",
        "exec('1')",
        "import os\nos.system('ls')",
        "import urllib.request",
        "import numpy as np\nnp.load(path)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_each_such_trespass_would_be_found(source):
    assert trespasses(source)


STATIC = sorted((PACKAGE / "tensorboard_plugin" / "static").iterdir())
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\s*\(|new Function|\bon\w+\s*=\s*[\"']"
)


def test_no_text_of_the_tab_or_the_report_becomes_markup_or_code():
    assert STATIC
    for path in [*STATIC, *SOURCES]:
        assert not MARKUP.findall(path.read_text(encoding="utf-8")), path.name
    assert MARKUP.findall("node.innerHTML = name") and MARKUP.findall('<b onclick="x">')  # noqa: PT018 - a self-test


@pytest.mark.usefixtures("only_the_last_pictures")
@pytest.mark.parametrize("name", MONITORS)
def test_no_socket_is_opened_while_a_run_is_watched(name, tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError("a socket")

    loggers = [TensorBoardLogger(tmp_path / "tb"), CSVLogger(tmp_path / "csv")]
    monkeypatch.setattr(socket, "socket", refused)
    for function in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, function, refused)
    with pytest.raises(AssertionError, match="a socket"):
        socket.socket()
    monitor = MONITORS[name]()
    said_by(lambda: fit(Flat(), monitor, steps=60, logger=loggers))
    assert not monitor._guard.failures
    assert monitor._reporter.failures == [0, 0]


def test_the_report_and_the_frame_of_a_notebook_allow_no_request():
    monitor = MONITORS["landscape"]()
    said_by(lambda: fit(Flat(), monitor, steps=60))
    framed = monitor.report._repr_html_()
    assert "default-src &#x27;none&#x27;" in framed
    assert 'sandbox="allow-scripts"' in framed
    assert not re.search(r"https?://(?!www\.w3\.org/)", framed)
