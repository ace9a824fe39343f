"""This library executes nothing that it reads, writes no text as markup or code, and opens no network connection."""

from __future__ import annotations

import ast
import re
import socket
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from tests.faults.runs import MONITORS, Flat, fit, warnings_of

PACKAGE = Path(__file__).parents[2] / "lightning_landscape"
SOURCES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "Popen", "check_output", "loads_pickle"}
FORBIDDEN_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "subprocess"} | {
    *("socket", "ssl", "http", "urllib", "requests", "aiohttp", "httpx", "ftplib", "smtplib", "xmlrpc", "webbrowser")
}
"""modules that must not be imported, besides those in `ALLOWED`"""
ALLOWED = (
    ("checkpoints.py", "import pickle"),  # for `pickle.UnpicklingError`
    ("from_checkpoint/loading.py", "torch.load without weights_only=True"),  # where --trust asks for it
    ("command_line/named_objects.py", "import yaml"),  # for `yaml.safe_load`
)
"""the ends of a file's path and of a violation that is accepted there"""


def violations(source: str) -> list[str]:
    """Return each place in the source that could execute what it reads, or open a network connection."""
    places = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.rsplit(".", 1)[-1] in FORBIDDEN_CALLS and name not in {"re.compile", "torch.compile"}:
                places.append(f"line {node.lineno}: {name}()")
            if name in {"torch.load", "np.load", "numpy.load"}:
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                required = {"torch.load": ("weights_only", "True")}.get(name, ("allow_pickle", "False"))
                if keywords.get(required[0]) != required[1]:
                    places.append(f"line {node.lineno}: {name} without {'='.join(required)}")
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            places += [f"line {node.lineno}: import {n}" for n in names if n.split(".")[0] in FORBIDDEN_MODULES]
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle" and node.attr != "UnpicklingError":
            places.append(f"line {node.lineno}: pickle.{node.attr}")
    return places


def test_no_module_can_execute_what_it_reads_or_open_a_network_connection():
    assert SOURCES
    places = [
        f"{path.relative_to(PACKAGE).as_posix()}, {violation}"
        for path in SOURCES
        for violation in violations(path.read_text(encoding="utf-8"))
    ]
    accepted = [p for p in places if any(p.split(", ")[0].endswith(file) and p.endswith(end) for file, end in ALLOWED)]
    assert [place for place in places if place not in accepted] == []
    assert len(accepted) == len(ALLOWED), "each of them once"


def test_a_checkpoint_is_unpickled_and_yaml_read_only_in_the_ways_that_are_safe_or_asked_for():
    source = (PACKAGE / "command_line/named_objects.py").read_text(encoding="utf-8")
    assert set(re.findall(r"yaml\.\w*load\w*", source)) == {"yaml.safe_load"}
    source = (PACKAGE / "from_checkpoint/loading.py").read_text(encoding="utf-8")
    assert len(re.findall(r"weights_only=False", source)) == 1
    assert len(re.findall(r"_trusted_content\(", source)) == 2, "its definition, and one call"
    assert re.search(r"_trusted_content\(\w+\) if trusted else", source)


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
def test_each_kind_of_violation_is_found(source):
    assert violations(source)


STATIC = sorted((PACKAGE / "tensorboard_plugin" / "static").iterdir())
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\s*\(|new Function|\bon\w+\s*=\s*[\"']"
)


def test_no_text_of_the_tab_or_the_report_becomes_markup_or_code():
    assert STATIC
    for path in [*STATIC, *SOURCES]:
        assert not MARKUP.findall(path.read_text(encoding="utf-8")), path.name
    assert MARKUP.findall("node.innerHTML = name") and MARKUP.findall('<b onclick="x">')  # noqa: PT018 - checks MARKUP itself


@pytest.mark.usefixtures("only_the_last_pictures")
@pytest.mark.parametrize("name", MONITORS)
def test_no_socket_is_opened_during_a_run(name, tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError("a socket")

    loggers = [TensorBoardLogger(tmp_path / "tb"), CSVLogger(tmp_path / "csv")]
    monkeypatch.setattr(socket, "socket", refused)
    for function in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, function, refused)
    with pytest.raises(AssertionError, match="a socket"):
        socket.socket()
    monitor = MONITORS[name]()
    warnings_of(lambda: fit(Flat(), monitor, steps=60, logger=loggers))
    assert not monitor._guard.failures
    assert monitor._reporter.failures == [0, 0]


def test_the_report_in_a_notebook_allows_no_network_request():
    monitor = MONITORS["landscape"]()
    warnings_of(lambda: fit(Flat(), monitor, steps=60))
    framed = monitor.report._repr_html_()
    assert "default-src &#x27;none&#x27;" in framed
    assert 'sandbox="allow-scripts allow-downloads allow-popups"' in framed
    assert not re.search(r"https?://(?!www\.w3\.org/)", framed)
