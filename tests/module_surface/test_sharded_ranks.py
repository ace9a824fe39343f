"""What each rank records of weights that it has only a part of is what one rank with all of them would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_landscape.tracking.progress import StepRecord
from tests.module_surface.sharded_ranks import Classifier, records_of
from tests.ranks import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.mark.distributed
@pytest.mark.filterwarnings("ignore:The `train_dataloader` does not")
def test_norms_and_movement_of_shards_are_those_of_the_whole(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.module_surface.sharded_ranks", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=PATIENCE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _, whole = records_of(Classifier(), devices=1)
    for rank in (0, 1):
        shared = [StepRecord(*record) for record in json.loads((tmp_path / f"{rank}.json").read_text())]
        assert len(shared) == len(whole) == 4
        for part, record in zip(shared, whole, strict=True):
            expected = StepRecord(*record)
            for name in ("grad_norm", "update_norm", "predicted"):
                measured, wanted = getattr(part, name), getattr(expected, name)
                assert (measured is None) is (wanted is None), name
                assert wanted is None or measured == pytest.approx(wanted, rel=1e-4), name
        assert [part.update_norm is None for part in shared] == [False, True, False, True]
