"""The house, stated as data: which room may import which, and who alone knows a third party.

Data goes one way (recorder, progress, surface, probes, evidence, diagnosis, verdict, report), so nothing to the right
of an arrow is imported by what stands to its left. Imports inside functions count like any other.
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
LINES = 280


@dataclass(frozen=True)
class Room:
    """What a room may import besides the standard library and itself."""

    rooms: frozenset[str] = frozenset()
    third_party: frozenset[str] = frozenset()
    typing_only: frozenset[str] = frozenset()
    """allowed under ``if TYPE_CHECKING:`` as well: names that pass through a room without being used there"""


def room(rooms: str = "", third_party: str = "", typing_only: str = "") -> Room:
    return Room(frozenset(rooms.split()), frozenset(third_party.split()), frozenset(typing_only.split()))


NOUNS = "errors evidence"
MATHS = f"{NOUNS} surface functional"
HOUSE = {
    "errors": room(),
    "clock": room(),
    "_renamed": room(),
    "_files": room(),
    "_text": room(),
    "_thinning": room(),
    "evidence": room("_text errors"),
    "diagnosis": room(NOUNS),
    "surface": room("errors", "torch"),
    "checkpoints": room("errors surface", "torch"),
    "functional": room(f"{NOUNS} surface", "torch numpy"),  # surface for the noun `Params`
    "tracking": room(f"{NOUNS} _thinning functional"),
    "probes": room(MATHS, "torch"),
    "remedies": room(MATHS, "torch"),
    "metrics": room("errors functional", "torch torchmetrics"),
    "plots": room(f"{NOUNS} _files _text _thinning", "matplotlib numpy"),
    "reporting": room(f"{NOUNS} _files _text _thinning clock plots", "torch tensorboard numpy PIL", "matplotlib"),
    "trainer": room("errors", "torch lightning pytorch_lightning"),
    "recording": room(f"{MATHS} tracking trainer", "torch"),
    "module_surface": room(f"{MATHS} clock trainer", "torch lightning torchmetrics numpy"),
    "examination": room(
        f"{MATHS} _text checkpoints clock diagnosis module_surface probes remedies reporting tracking trainer", "torch"
    ),
    "callbacks": room(
        f"{MATHS} _renamed clock diagnosis examination plots probes recording remedies reporting tracking trainer",
        "torch lightning typing_extensions",
        "matplotlib",
    ),
    "comparison": room(f"{NOUNS} _renamed checkpoints functional module_surface surface", "torch"),
    "__main__": room(f"{NOUNS} comparison plots", "torch"),
    "tensorboard_plugin": room("", "tensorboard werkzeug"),
}
# The public names are loaded on first use, so the front door itself imports nothing but the standard library.
HOUSE["__init__"] = room(typing_only=" ".join(HOUSE))

# Drawing costs a second of imports: matplotlib is loaded when the first figure is drawn, not when training starts.
ONLY_WITHIN_FUNCTIONS = {"plots"}
# Names on a logger's own objects; whoever else uses one has learnt what a logger is.
LOGGER_VERBS = {"add_scalar", "add_image", "add_figure", "add_text", "log_metrics", "log_image", "log_text"}
LOGGER_ROOMS = {"reporting"}
LOGGERS = {"torch.utils.tensorboard", "lightning.pytorch.loggers", "pytorch_lightning.loggers", "wandb", "mlflow"}
# The interface and its silent dummy, which stand for no service.
NO_SERVICE = "lightning.pytorch.loggers.logger"


@dataclass(frozen=True)
class Import:
    module: str
    """absolute and dotted; of ``from a import b`` both ``a`` and ``a.b``, since b may be a module"""
    line: int
    typing_only: bool
    within_function: bool


def imports(tree: ast.Module, package: str) -> Iterator[Import]:
    """Every import of a module of `package` (dotted), wherever it stands."""
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


def trespasses(source: str, path: str) -> list[str]:
    """What `source`, at `path` within the package, imports against the table; one sentence each."""
    parts = path.removesuffix(".py").split("/")
    here = parts[0]
    if here not in HOUSE:
        return [f"{path}: there is no room {here!r}; add a row to HOUSE in tests/test_architecture.py"]
    tree = ast.parse(source)
    package = ".".join([PACKAGE, *parts[:-1]])
    found = {}
    for imported in imports(tree, package):
        reason = _forbidden(imported, here)
        if reason:
            found.setdefault((imported.line, reason), f"{path}:{imported.line}: {reason}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in LOGGER_VERBS and here not in LOGGER_ROOMS:
            found[node.lineno, node.attr] = f"{path}:{node.lineno}: {here} knows a logger's .{node.attr}"
    return list(found.values())


def _forbidden(imported: Import, here: str) -> str | None:
    rules = HOUSE[here]
    first, *rest = imported.module.split(".")
    typed = rules.typing_only if imported.typing_only else frozenset()
    if imported.module == "?":
        return None if here == "__init__" else f"{here} imports a name computed at run time"
    for logger in LOGGERS:
        if f"{imported.module}.".startswith(f"{logger}.") and not imported.module.startswith(NO_SERVICE):
            return f"{here} imports {logger}; loggers are told apart by what they can do, never by type"
    if first == PACKAGE:
        return _forbidden_room(imported, here, rest, rules.rooms | typed)
    if first in sys.stdlib_module_names or first in rules.third_party | typed:
        return None
    return f"{here} may not import {first}"


def _forbidden_room(imported: Import, here: str, rest: list[str], allowed: frozenset[str]) -> str | None:
    other = rest[0] if rest else "__init__"
    if other in {here, "__init__", "__version__"}:
        return None
    if other not in HOUSE:
        return f"{here} imports {other}, which is no room; import a public name from its own room"
    if other not in allowed:
        return f"{here} may not import {other}"
    if other in ONLY_WITHIN_FUNCTIONS and not imported.within_function and not imported.typing_only:
        return f"{here} imports {other} at the top; import it in the function that uses it"
    return None


def sources() -> list[Path]:
    found = sorted((ROOT / PACKAGE).rglob("*.py"))
    assert found
    return found


def test_every_room_imports_only_what_its_row_allows():
    found = [
        trespass
        for path in sources()
        for trespass in trespasses(path.read_text(encoding="utf-8"), path.relative_to(ROOT / PACKAGE).as_posix())
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
        ("callbacks/monitor.py", "from lightning_landscape import LandscapeMonitor", "which is no room"),
        ("reporting/scalars.py", "from torch.utils.tensorboard import SummaryWriter", "never by type"),
        (
            "reporting/scalars.py",
            "if TYPE_CHECKING:\n    pass\nelse:\n    import matplotlib",
            "may not import matplotlib",
        ),
        ("tensorboard_plugin/plugin.py", "from lightning_landscape.evidence import Cause", "may not import evidence"),
        ("__init__.py", "from lightning_landscape.surface import LossSurface", "__init__ may not import surface"),
        ("utils.py", "import math", "add a row to HOUSE"),
    ],
)
def test_a_trespass_is_found(path, source, reason):
    found = trespasses(source, path)
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
def test_an_allowed_import_is_no_trespass(path, source):
    assert trespasses(source, path) == []


def test_data_goes_one_way_so_the_table_has_no_cycle():
    rows = {name: set(row.rooms) for name, row in HOUSE.items()}
    while rows:
        leaves = {name for name, allowed in rows.items() if not allowed & rows.keys()}
        assert leaves, f"these rooms import one another: {sorted(rows)}"
        rows = {name: allowed for name, allowed in rows.items() if name not in leaves}


@pytest.mark.parametrize(
    ("third_party", "rooms"),
    [
        ("matplotlib", {"plots"}),
        ("lightning", {"trainer", "module_surface", "callbacks"}),
        ("tensorboard", {"reporting", "tensorboard_plugin"}),
    ],
)
def test_no_other_room_knows_it(third_party, rooms):
    assert {name for name, row in HOUSE.items() if third_party in row.third_party} == rooms


def test_a_file_fits_in_the_head():
    lines = {
        path.relative_to(ROOT / PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources()
    }
    too_long = [f"{name} has {count} lines" for name, count in lines.items() if count > LINES]
    assert not too_long, "\n".join([*too_long, "Make each a folder with the same public names."])


def test_nothing_tracked_names_a_place_on_somebodys_machine():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    place = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|opt|mnt)/\w+|\b[A-Z]:\\\\?Users\b")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in listed.split("\0")
        if name and (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if place.search(line)
    ]
    assert not found
