"""Two processes take every step of a probe together, or none of them takes it, and nobody waits for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]
LIMIT = 240


def run(case: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each of the two ranks reports of the run alone and of the run that was watched."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.callbacks.two_ranks", case, str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=LIMIT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        name: [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in (0, 1)]
        for name in ("alone", "watched")
    }


def assert_identical(reports: dict[str, list[dict[str, Any]]]) -> None:
    for key in ("digest", "metrics"):
        assert [report[key] for report in reports["alone"]] == [report[key] for report in reports["watched"]]


@pytest.mark.parametrize("case", ["popen", "spawn", "fork", "find_unused_parameters", "static_graph", "fsdp2"])
def test_training_is_identical_to_the_bit_and_all_ranks_read_the_same(case: str, tmp_path: Path):
    reports = run(case, tmp_path)

    assert_identical(reports)
    first, second = reports["watched"]
    assert first["readings"]
    assert first["readings"] == second["readings"]
    assert first["refusals"] == second["refusals"] == []


def test_fsdp2_loss_and_gradient_equal_those_of_copied_weights(tmp_path: Path):
    for report in run("fsdp2 copied", tmp_path)["watched"]:
        for reading in report["readings"][:1]:
            assert reading["midpoint"] == pytest.approx(reading["copied"], rel=1e-6)
            assert reading["norm"] == pytest.approx(reading["copied_norm"], rel=1e-5)
            assert reading["midpoint"] != pytest.approx(reading["here"], rel=1e-4)


@pytest.mark.parametrize("case", ["probe fails", "step fails", "fsdp2 probe fails"])
def test_what_fails_on_one_rank_is_skipped_on_all_and_training_goes_on(case: str, tmp_path: Path):
    reports = run(case, tmp_path)

    assert_identical(reports)
    healthy, failing = reports["watched"]
    assert healthy["readings"] == failing["readings"]
    assert len(healthy["refusals"]) == len(failing["refusals"]) > 0
    assert all("another rank" in said for said in healthy["refusals"])
    assert all("rank 1" in said or "out of memory" in said for said in failing["refusals"])
