"""What a type checker sees of the package in a user's own file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_landscape

ROOT = Path(__file__).parents[1]
USERS_FILE = """
import lightning as L
import torch
from lightning_landscape import (
    Cause, Detector, Evidence, LandscapeMonitor, LossSurface, Probe, Remedy, Verdict, diagnose, probes, remedies,
)

def weight_norm(surface: LossSurface) -> float:
    return float(sum(weight.norm() for weight in surface.here.values()))

def never(evidence: Evidence) -> Verdict | None:
    return None

mine: Probe = weight_norm
detector: Detector = never
remedy: Remedy = remedies.Perturb()
usual = probes.EXAMINATION
monitor = LandscapeMonitor(every_n_steps=100, probes=[*usual, mine], detectors=[detector], remedies=[remedy])
trainer = L.Trainer(callbacks=[monitor])
cause: Cause | None = monitor.verdict.cause if monitor.verdict is not None else None
reveal_type(monitor)
reveal_type(monitor.report.to_markdown())
reveal_type(LandscapeMonitor.__init__)
verdict: Verdict | None = diagnose(Evidence())
"""
WRONG = """
from lightning_landscape import LandscapeMonitor
LandscapeMonitor(every_n_steps="often")
LandscapeMonitor(evry_n_steps=100)
"""


def checked(source: str, folder: Path) -> str:
    """What mypy says of a file that uses the package."""
    path = folder / "users_file.py"
    path.write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


@pytest.mark.slow
def test_a_type_checker_sees_the_public_names_and_the_arguments_of_a_monitor(tmp_path):
    said = checked(USERS_FILE, tmp_path)
    assert "error" not in said, said
    assert 'Revealed type is "lightning_landscape.callbacks.landscape.LandscapeMonitor"' in said
    assert 'Revealed type is "str"' in said or 'Revealed type is "builtins.str"' in said
    for argument in ("every_n_steps: int | None", "num_points: int", "max_batches: int", "budget: float | None"):
        assert argument in said, said
    wrong = checked(WRONG, tmp_path)
    assert 'Argument "every_n_steps" to "LandscapeMonitor" has incompatible type "str"' in wrong
    assert 'Unexpected keyword argument "evry_n_steps"' in wrong


def test_each_public_name_has_a_type():
    tree = ast.parse((ROOT / "lightning_landscape" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(lightning_landscape.__all__) - {"__version__"}
