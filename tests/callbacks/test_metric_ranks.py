"""All ranks know the same values of metrics, those of rank 0, and judge them alike."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranks import TIMEOUT_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.distributed
def test_all_ranks_judge_the_values_of_rank_0(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.callbacks.metric_ranks", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"m.{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["per_step"] == ["score"]
    score, accuracy, loss = first["drawn"]
    assert (score["name"], accuracy["name"], loss["name"]) == ("score", "val_acc", "val_loss")
    assert set(accuracy["value"]) == {0.0}
    assert max(loss["value"]) < 5
    assert len(score["step"]) > 80
    assert any("val_acc has not risen" in verdict for verdict in first["verdicts"])
