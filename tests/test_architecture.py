"""The modules and subpackages of the package ("parts") import only what a table allows.

The table has no cycle: no two parts import each other, directly or through others. Imports inside functions count like
all others.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "lightning_landscape"
MAX_LINES = 280


@dataclass(frozen=True)
class Allowed:
    """What a part may import besides the standard library and itself."""

    parts: frozenset[str] = frozenset()
    third_party: frozenset[str] = frozenset()
    typing_only: frozenset[str] = frozenset()
    """allowed only under ``if TYPE_CHECKING:``, for annotations"""


def allow(parts: str = "", third_party: str = "", typing_only: str = "") -> Allowed:
    """Return the imports of a part, from names that are separated by spaces."""
    return Allowed(frozenset(parts.split()), frozenset(third_party.split()), frozenset(typing_only.split()))


BASIC = "errors evidence"
MATHS = f"{BASIC} observations trace surface functional"
ALLOWED_IMPORTS = {
    "errors": allow(),
    "clock": allow(),
    "_renamed": allow(),
    "_files": allow(),
    "_text": allow(),
    "_thinning": allow(),
    "evidence": allow("_text errors"),
    "diagnosis": allow(f"{BASIC} _text"),
    "captions": allow("evidence _text"),
    "trace": allow("", "torch"),
    "observations": allow(BASIC, "torch"),
    "run_context": allow("observations trace", "torch"),
    "surface": allow("errors run_context", "torch"),
    "checkpoints": allow("errors surface", "torch"),
    "functional": allow(f"{BASIC} surface", "torch numpy"),  # surface for the type `Params`
    "tracking": allow(f"{BASIC} _thinning functional"),
    "probes": allow(MATHS, "torch"),
    "remedies": allow(MATHS, "torch"),
    "metrics": allow("errors functional", "torch torchmetrics"),
    "plots": allow(f"{BASIC} _files _text _thinning captions", "matplotlib numpy"),
    "logs": allow(f"{BASIC} _text diagnosis functional tracking", "tensorboard"),
    "reporting": allow(
        f"{BASIC} _files _text _thinning captions clock diagnosis logs plots",
        "torch tensorboard numpy PIL rich",
        "matplotlib",
    ),
    "trainer": allow(MATHS, "torch lightning pytorch_lightning"),
    "recording": allow(f"{MATHS} tracking trainer", "torch"),
    "module_surface": allow(f"{MATHS} _text clock trainer", "torch lightning torchmetrics numpy"),
    "examination": allow(
        f"{MATHS} _files _text checkpoints clock diagnosis module_surface probes remedies reporting tracking trainer",
        "torch",
    ),
    "callbacks": allow(
        f"{MATHS} _renamed _text captions clock diagnosis examination plots probes recording remedies reporting "
        "tracking trainer",
        "torch lightning typing_extensions",
        "matplotlib",
    ),
    "comparison": allow(f"{BASIC} _renamed checkpoints functional module_surface surface", "torch"),
    "run_path": allow(f"{BASIC} checkpoints functional module_surface surface", "torch"),
    "from_checkpoint": allow(
        f"{MATHS} _text callbacks checkpoints examination module_surface probes recording reporting tracking trainer",
        "torch lightning",
        "matplotlib",
    ),
    "command_line": allow(
        f"{MATHS} _files _text checkpoints clock comparison diagnosis from_checkpoint logs module_surface plots probes "
        "reporting run_path tracking",
        "torch rich yaml",
    ),
    "__main__": allow("command_line"),
    "tensorboard_plugin": allow("", "tensorboard werkzeug"),
}
# The public names are loaded on first use, so that importing the package itself loads only the standard library.
ALLOWED_IMPORTS["__init__"] = allow(typing_only=" ".join(ALLOWED_IMPORTS))

# Importing matplotlib takes a second: it is loaded when the first figure is drawn, not when training starts.
ONLY_IN_FUNCTIONS = {"plots"}
# Methods of loggers, which only these parts may call.
LOGGER_METHODS = {"add_scalar", "add_image", "add_figure", "add_text", "log_metrics", "log_image", "log_text"}
PARTS_WITH_LOGGERS = {"reporting"}
LOGGERS = {"torch.utils.tensorboard", "lightning.pytorch.loggers", "pytorch_lightning.loggers", "wandb", "mlflow"}
# The interface of loggers and its dummy, which may be imported, because they belong to no service.
LOGGER_INTERFACE = "lightning.pytorch.loggers.logger"


@dataclass(frozen=True)
class Import:
    module: str
    """absolute and dotted; of ``from a import b`` both ``a`` and ``a.b``, since b may be a module"""
    line: int
    typing_only: bool
    within_function: bool


def imports(tree: ast.Module, package: str) -> Iterator[Import]:
    """Yield every import in the source of a module of `package` (dotted), at the top or in a function."""
    pending: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while pending:
        node, typing_only, within = pending.pop()
        for module in _imported(node, package):
            yield Import(module, getattr(node, "lineno", 0), typing_only, within)
        within = within or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        guarded = isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        body = set(map(id, node.body)) if guarded else set()
        pending += [(child, typing_only or id(child) in body, within) for child in ast.iter_child_nodes(node)]


def _imported(node: ast.AST, package: str) -> list[str]:
    """Return the dotted names that the node imports; "?" for a name that is computed at run time."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*parents, *([node.module] if node.module else [])])
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {
        "importlib.import_module",
        "import_module",
        "__import__",
    }:
        name = node.args[0] if node.args else None
        return [name.value] if isinstance(name, ast.Constant) and isinstance(name.value, str) else ["?"]
    return []


def violations(source: str, path: str) -> list[str]:
    """Return one sentence for each import in `source`, at `path` in the package, that the table does not allow."""
    components = path.removesuffix(".py").split("/")
    part = components[0]
    if part not in ALLOWED_IMPORTS:
        return [f"{path}: {part!r} is not in the table; add a row to ALLOWED_IMPORTS in tests/test_architecture.py"]
    tree = ast.parse(source)
    package = ".".join([PACKAGE, *components[:-1]])
    sentences = {}
    for imported in imports(tree, package):
        reason = _forbidden(imported, part)
        if reason:
            sentences.setdefault((imported.line, reason), f"{path}:{imported.line}: {reason}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in LOGGER_METHODS and part not in PARTS_WITH_LOGGERS:
            sentences[node.lineno, node.attr] = f"{path}:{node.lineno}: {part} uses a logger's .{node.attr}"
    return list(sentences.values())


def _forbidden(imported: Import, part: str) -> str | None:
    """Return why `part` may not import this; None if it may."""
    rules = ALLOWED_IMPORTS[part]
    first, *rest = imported.module.split(".")
    for_typing = rules.typing_only if imported.typing_only else frozenset()
    if imported.module == "?":
        return None if part == "__init__" else f"{part} imports a name computed at run time"
    for logger in LOGGERS:
        if f"{imported.module}.".startswith(f"{logger}.") and not imported.module.startswith(LOGGER_INTERFACE):
            return f"{part} imports {logger}; loggers are distinguished by their methods, never by type"
    if first == PACKAGE:
        return _forbidden_part(imported, part, rest, rules.parts | for_typing)
    if first in sys.stdlib_module_names or first in rules.third_party | for_typing:
        return None
    return f"{part} may not import {first}"


def _forbidden_part(imported: Import, part: str, rest: list[str], allowed: frozenset[str]) -> str | None:
    other = rest[0] if rest else "__init__"
    if other in {part, "__init__", "__version__"}:
        return None
    if other not in ALLOWED_IMPORTS:
        return f"{part} imports {other}, which is not in the table; import a public name from where it is defined"
    if other not in allowed:
        return f"{part} may not import {other}"
    if other in ONLY_IN_FUNCTIONS and not imported.within_function and not imported.typing_only:
        return f"{part} imports {other} at the top; import it in the function that uses it"
    return None


def sources() -> list[Path]:
    found = sorted((ROOT / PACKAGE).rglob("*.py"))
    assert found
    return found


def test_each_part_imports_only_what_its_row_allows():
    found = [
        violation
        for path in sources()
        for violation in violations(path.read_text(encoding="utf-8"), path.relative_to(ROOT / PACKAGE).as_posix())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("evidence.py", "import torch", "evidence may not import torch"),
        ("diagnosis.py", "def f():\n    import numpy", "diagnosis may not import numpy"),
        ("tracking/progress.py", "from torch import Tensor", "tracking may not import torch"),
        (
            "tracking/progress.py",
            "from lightning_landscape.probes.line import loss_line",
            "tracking may not import probes",
        ),
        ("tracking/progress.py", "from ..probes import line", "tracking may not import probes"),
        ("probes/line.py", "from ..callbacks import recorder", "probes may not import callbacks"),
        ("probes/line.py", "from .. import diagnosis", "probes may not import diagnosis"),
        ("probes/line.py", "from lightning_landscape import callbacks", "probes may not import callbacks"),
        ("probes/__init__.py", "from ..reporting import scalars", "probes may not import reporting"),
        (
            "functional/trend.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lightning",
            "lightning",
        ),
        ("functional/trend.py", "import importlib\nimportlib.import_module('scipy.stats')", "may not import scipy"),
        ("surface.py", "import importlib\nname = 'x'\nimportlib.import_module(name)", "computed at run time"),
        ("surface.py", "import lightning.pytorch as pl", "surface may not import lightning"),
        ("callbacks/monitor.py", "from matplotlib.figure import Figure", "callbacks may not import matplotlib"),
        ("callbacks/monitor.py", "from lightning_landscape.plots import save", "in the function that uses it"),
        ("callbacks/monitor.py", "from lightning.pytorch.loggers import TensorBoardLogger", "never by type"),
        ("callbacks/monitor.py", "def f(trainer):\n    trainer.logger.log_metrics({})", "a logger's .log_metrics"),
        ("callbacks/monitor.py", "from lightning_landscape import LandscapeMonitor", "which is not in the table"),
        ("reporting/scalars.py", "from torch.utils.tensorboard import SummaryWriter", "never by type"),
        (
            "reporting/scalars.py",
            "if TYPE_CHECKING:\n    pass\nelse:\n    import matplotlib",
            "may not import matplotlib",
        ),
        ("tensorboard_plugin/plugin.py", "from lightning_landscape.evidence import Cause", "may not import evidence"),
        ("__init__.py", "from lightning_landscape.surface import LossSurface", "__init__ may not import surface"),
        ("utils.py", "import math", "add a row to ALLOWED_IMPORTS"),
    ],
)
def test_an_import_that_is_not_allowed_is_found(path, source, reason):
    found = violations(source, path)
    assert len(found) == 1, found
    assert reason in found[0]
    assert found[0].startswith(path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "evidence.py",
            "from __future__ import annotations\nimport math\nfrom lightning_landscape.errors import LandscapeError",
        ),
        ("probes/line.py", "import torch\nfrom ..surface import LossSurface\nfrom .plane import plane"),
        ("module_surface/isolation.py", "from lightning.pytorch.loggers.logger import DummyLogger"),
        ("callbacks/monitor.py", "def draw():\n    from lightning_landscape import plots\n    return plots.render"),
        ("reporting/figures.py", "if TYPE_CHECKING:\n    from matplotlib.figure import Figure"),
        ("__init__.py", "if TYPE_CHECKING:\n    from lightning_landscape.callbacks import LandscapeMonitor"),
    ],
)
def test_an_allowed_import_is_not_reported(path, source):
    assert violations(source, path) == []


def test_the_table_has_no_cycle():
    rows = {name: set(row.parts) for name, row in ALLOWED_IMPORTS.items()}
    while rows:
        leaves = {name for name, allowed in rows.items() if not allowed & rows.keys()}
        assert leaves, f"these parts import one another: {sorted(rows)}"
        rows = {name: allowed for name, allowed in rows.items() if name not in leaves}


@pytest.mark.parametrize(
    ("third_party", "parts"),
    [
        ("matplotlib", {"plots"}),
        ("lightning", {"trainer", "module_surface", "callbacks", "from_checkpoint"}),
        ("tensorboard", {"logs", "reporting", "tensorboard_plugin"}),
    ],
)
def test_only_these_parts_import_the_package(third_party, parts):
    assert {name for name, row in ALLOWED_IMPORTS.items() if third_party in row.third_party} == parts


def test_no_file_has_more_than_280_lines():
    lines = {
        path.relative_to(ROOT / PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources()
    }
    too_long = [f"{name} has {count} lines" for name, count in lines.items() if count > MAX_LINES]
    assert not too_long, "\n".join([*too_long, "Make each a folder with the same public names."])


def test_no_file_contains_a_path_of_a_developers_machine():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    local_path = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|opt|mnt)/\w+|\b[A-Z]:\\\\?Users\b")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in listed.split("\0")
        if name and (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if local_path.search(line)
    ]
    assert not found
