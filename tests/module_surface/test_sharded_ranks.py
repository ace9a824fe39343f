"""With sharded weights, each rank records what a single rank with all weights records."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_landscape.tracking.step_record import StepRecord
from tests.module_surface.sharded_ranks import Classifier, records_of
from tests.ranks import TIMEOUT_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.mark.distributed
@pytest.mark.filterwarnings("ignore:The `train_dataloader` does not")
def test_norms_and_updates_of_sharded_weights_equal_those_of_whole_weights(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.module_surface.sharded_ranks", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _, whole = records_of(Classifier(), devices=1)
    for rank in (0, 1):
        of_rank = [StepRecord(*record) for record in json.loads((tmp_path / f"{rank}.json").read_text())]
        assert len(of_rank) == len(whole) == 4
        for sharded, record in zip(of_rank, whole, strict=True):
            expected = StepRecord(*record)
            for name in ("grad_norm", "update_norm", "predicted"):
                measured, correct = getattr(sharded, name), getattr(expected, name)
                assert (measured is None) is (correct is None), name
                assert correct is None or measured == pytest.approx(correct, rel=1e-4), name
        assert [record.update_norm is None for record in of_rank] == [False, True, False, True]
